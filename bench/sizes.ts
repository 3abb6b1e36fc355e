// What a request costs by the number of users: the same requests on tables of several sizes, in turns.

import { formatCursor, parseCursor } from '../src/platform/events/store/cursor.ts';
import { formatKeyCursor } from '../src/platform/http/cursor.ts';
import type { Database } from './database.ts';
import { fill } from './fill.ts';
import { createCaller, load, pace } from './load.ts';
import { explain } from './plans.ts';
import { type Measurement, median, quantile, type Row, takeTurns } from './row.ts';
import { growthMib, p99Beside, p99OfOthers, readSnapshot } from './snapshot.ts';
import type { Service, Stage } from './stage.ts';

const warmUpSeconds = 1;
const paths = {
  'GET by id': ({ users }: Size) => Array.from({ length: 200 }, (_, n) => `/users/${1 + ((n * 7919) % users)}`),
  'page 1 of 10': () => ['/users/?page=1&per_page=10'],
  'page 1 of 100': () => ['/users/?page=1&per_page=100'],
  'middle page of 10': ({ users }: Size) => [`/users/?page=${users / 20}&per_page=10`],
  'middle page of 100': ({ users }: Size) => [`/users/?page=${users / 200}&per_page=100`],
  'last page of 10': ({ users }: Size) => [`/users/?page=${users / 10}&per_page=10`],
  'last page of 100': ({ users }: Size) => [`/users/?page=${users / 100}&per_page=100`],
  'first 100 by cursor': () => ['/users/?limit=100'],
  '100 by cursor, middle': ({ users }: Size) => [`/users/?limit=100&after=${formatKeyCursor('users', String(users / 2))}`],
  '100 by cursor, last': ({ users }: Size) => [`/users/?limit=100&after=${formatKeyCursor('users', String(users - 100))}`],
  'events, middle': ({ users, eventsAfter }: Size) => [`/events/?limit=100&after=${eventsAfter(users / 2)}`],
  'events of a user': ({ users }: Size) => Array.from({ length: 200 }, (_, n) => `/events/?user_id=${1 + ((n * 7919) % users)}`),
  'events of a rare type': () => ['/events/?types=user.deleted&limit=1'],
} as const;
type Name = keyof typeof paths;

type Size = {
  readonly users: number;
  readonly database: Database;
  readonly service: Service;
  /** A cursor behind so many events. */
  eventsAfter(position: number): string;
};

/**
 * @param sizes numbers of users, the smallest first, which the others are compared with
 * @param onPlans is given the plans of all statements, where they are asked for
 */
export function bySize(sizes: readonly number[], onPlans?: (text: string) => void): Measurement {
  return {
    definition: `The same requests at ${sizes.map(words).join(', ')} users and as many events, in turns: answers a second on 32 connections, then the p99 at a fixed rate, half of the least of these rates. Floor: the smallest.`,
    async measure(stage) {
      await using stack = new AsyncDisposableStack();
      const all: Size[] = [];
      for (const users of sizes) all.push(await prepare(stage, stack, users));
      const rows: Row[] = [];
      for (const name of Object.keys(paths) as Name[]) rows.push(...(await compare(stage, all, name)));
      rows.push(...(await compareSnapshots(stage, all)));
      if (onPlans !== undefined) onPlans(await explainAll(stage, all));
      return rows;
    },
  };
}

async function prepare(stage: Stage, stack: AsyncDisposableStack, users: number): Promise<Size> {
  const database: Database = stack.use(await stage.cloneDatabase('empty'));
  await fill(database, users, stage.signal, (done) => process.stderr.write(`\r${done}   `));
  const service = stack.use(await stage.startService({ DATABASE_URL: database.url, RUN: 'api', RATE_LIMIT_PER_MINUTE: '0' }));
  const response = await fetch(`${service.url}/events/?limit=1`);
  const { next } = (await response.json()) as { next: string };
  const cursor = parseCursor(next);
  if (cursor === undefined) throw new Error(`${next} is no cursor`);
  return { users, database, service, eventsAfter: (position) => formatCursor({ ...cursor, position: String(position) }) };
}

async function compare({ rounds, seconds, signal }: Stage, sizes: readonly Size[], name: Name): Promise<Row[]> {
  const requests = (size: Size) => paths[name](size).map((path) => ({ method: 'GET' as const, path }));
  const rateOf = (size: Size, during: number) => load({ signal, seconds: during }, size.service.url, requests(size));
  for (const size of sizes) await rateOf(size, warmUpSeconds);
  const rates = await takeTurns(
    rounds,
    byUsers(sizes, (size) => rateOf(size, seconds / rounds)),
  );
  const [smallest] = sizes;
  const perSecond = Math.min(...sizes.map(({ users }) => median(rates[String(users)] ?? []))) / 2;
  const times = await takeTurns(
    rounds,
    byUsers(sizes, async (size) => {
      using caller = createCaller(size.service.url);
      const all = requests(size);
      const taken = await pace({ signal, seconds: seconds / rounds, perSecond }, (n) =>
        caller.call(all[n % all.length] ?? { method: 'GET', path: '/' }),
      );
      return quantile(taken, 0.99);
    }),
  );
  const rowsOf = (unit: '/s' | 'ms', of: Record<string, number[]>, what: string, want: Row['want']) =>
    sizes.map(
      ({ users }): Row => ({
        what: `${what}, ${words(users)}`,
        unit,
        point: { line: name, users },
        measured: of[String(users)] ?? [],
        floor: { what: `${words(smallest?.users ?? 0)} users`, measured: of[String(smallest?.users)] ?? [] },
        ...(users !== smallest?.users && want && { want }),
      }),
    );
  return [...rowsOf('/s', rates, name, { of: 'ratio', atLeast: 0.5 }), ...rowsOf('ms', times, `${name}, p99`, { of: 'ratio', atMost: 2 })];
}

async function explainAll(stage: Stage, sizes: readonly Size[]): Promise<string> {
  const parts: string[] = [];
  for (const size of sizes) {
    const asked = Object.values(paths).map((path) => path(size)[0] ?? '/');
    parts.push(`== ${words(size.users)} users ==`, await explain(stage, size.database, asked));
  }
  return parts.join('\n');
}

/** A snapshot is read for the time of a round, from its beginning: all of ten million would take minutes. */
async function compareSnapshots({ rounds, seconds, signal }: Stage, sizes: readonly Size[]): Promise<Row[]> {
  const run = { signal, seconds: seconds / rounds };
  const sides = byUsers(sizes, ({ service }) => readSnapshot(service.url, run));
  await takeTurns(1, sides);
  const grown = await takeTurns(
    1,
    byUsers(sizes, ({ service }) => growthMib(service, { signal, seconds })),
  );
  const rates = await takeTurns(rounds, sides);
  const idle = await takeTurns(
    rounds,
    byUsers(sizes, ({ service }) => p99OfOthers(service.url, run)),
  );
  const beside = await takeTurns(
    rounds,
    byUsers(sizes, ({ service }) => p99Beside(service.url, run)),
  );
  const [smallest] = sizes;
  const floor = { what: `${words(smallest?.users ?? 0)} users`, measured: rates[String(smallest?.users)] ?? [] };
  return sizes.flatMap(({ users }): Row[] => {
    const key = String(users);
    const of = (values: Record<string, number[]>) => values[key] ?? [];
    return [
      {
        what: `users of a snapshot, ${words(users)}`,
        unit: '/s',
        point: { line: 'users of a snapshot', users },
        measured: of(rates),
        floor,
        want: { of: 'measured', atLeast: 50_000 },
      },
      {
        what: `GET by id, p99 beside it, ${words(users)}`,
        unit: 'ms',
        measured: of(beside),
        floor: { what: 'without it', measured: of(idle) },
        want: { of: 'ratio', atMost: 1.5 },
      },
      {
        what: `RSS grows while it is read, ${words(users)}`,
        unit: 'MiB',
        measured: of(grown),
        floor: { what: 'at the smallest', measured: grown[String(smallest?.users)] ?? [] },
        want: { of: 'measured', atMost: 50 },
      },
    ];
  });
}

function byUsers<Result>(sizes: readonly Size[], work: (size: Size) => Promise<Result>): Record<string, () => Promise<Result>> {
  return Object.fromEntries(sizes.map((size) => [String(size.users), () => work(size)]));
}

/** 10,000,000 as 10m. */
function words(users: number): string {
  if (users % 1_000_000 === 0) return `${users / 1_000_000}m`;
  return users % 1000 === 0 ? `${users / 1000}k` : String(users);
}
