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
const paging = {
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

const sorts = ['-id', 'created_at', 'updated_at', 'name', 'surname', 'email', 'username'];
const search = (text: string) => () => [`/users/?q=${encodeURIComponent(text)}&limit=10`];
const finding = {
  'GET by id': paging['GET by id'],
  'by email': ({ emails }: Size) => emails,
  'status of many': () => ['/users/?status=active&limit=100'],
  'status of few': () => ['/users/?status=suspended&limit=100'],
  ...Object.fromEntries(
    sorts.flatMap((sort) => [
      [`sort ${sort}, first`, () => [`/users/?sort=${sort}&limit=100`]],
      [`sort ${sort}, by cursor`, ({ middles }: Size) => [`/users/?sort=${sort}&limit=100&after=${middles[sort]}`]],
    ]),
  ),
  'sort surname, row 10,000': ({ users }: Size) => [`/users/?sort=surname&per_page=100&page=${Math.min(100, users / 100)}`],
  'q of 1 letter, many': search('a'),
  'q of 1 letter, few': search('芳'),
  'q of 1 letter, none': search('ж'),
  'q of 3 letters, many': search('ann'),
  'q of 3 letters, few': search('zov'),
  'q of 3 letters, none': search('xqj'),
  'q of 8 letters, many': search('andersso'),
  'q of 8 letters, few': search('p77@comp'),
  'q of 8 letters, none': search('nobodyis'),
} as const satisfies Readonly<Record<string, (size: Size) => readonly string[]>>;

export const tables = { paging, finding } as const;
type Paths = Readonly<Record<string, (size: Size) => readonly string[]>>;

type Size = {
  readonly users: number;
  readonly database: Database;
  readonly service: Service;
  /** Paths of some users by their emails. */
  readonly emails: readonly string[];
  /** A cursor far into the list, by the sort. */
  readonly middles: Readonly<Record<string, string>>;
  /** A cursor behind so many events. */
  eventsAfter(position: number): string;
};

/**
 * @param sizes numbers of users, the smallest first, which the others are compared with
 * @param onPlans is given the plans of all statements, where they are asked for
 */
export function bySize(sizes: readonly number[], table: keyof typeof tables, onPlans?: (text: string) => void): Measurement {
  const paths: Paths = tables[table];
  return {
    definition: `The same requests at ${sizes.map(words).join(', ')} users and as many events, in turns: answers a second on 32 connections, then the p99 at a fixed rate, half of the least of these rates. Floor: the smallest.`,
    async measure(stage) {
      await using stack = new AsyncDisposableStack();
      const all: Size[] = [];
      for (const users of sizes) all.push(await prepare(stage, stack, users, table));
      const rows: Row[] = [];
      for (const [name, pathsOf] of Object.entries(paths)) rows.push(...(await compare(stage, all, name, pathsOf)));
      if (table === 'paging') rows.push(...(await compareSnapshots(stage, all)));
      if (onPlans !== undefined) onPlans(await explainAll(stage, all, paths));
      return rows;
    },
  };
}

async function prepare(stage: Stage, stack: AsyncDisposableStack, users: number, table: keyof typeof tables): Promise<Size> {
  const database: Database = stack.use(await stage.cloneDatabase('empty'));
  await fill(database, users, stage.signal, (done) => process.stderr.write(`\r${done}   `));
  const service = stack.use(await stage.startService({ DATABASE_URL: database.url, RUN: 'api', RATE_LIMIT_PER_MINUTE: '0' }));
  const response = await fetch(`${service.url}/events/?limit=1`);
  const { next } = (await response.json()) as { next: string };
  const cursor = parseCursor(next);
  if (cursor === undefined) throw new Error(`${next} is no cursor`);
  const emails = await database.query<{ email: string }>('select email from "user" where id % ($1::int / 200) = 1', [users]);
  const middles = table === 'finding' ? await readMiddles(service.url, users) : {};
  return {
    users,
    database,
    service,
    middles,
    emails: emails.map(({ email }) => `/users/by-email/${email}`),
    eventsAfter: (position) => formatCursor({ ...cursor, position: String(position) }),
  };
}

/** By sort, a cursor up to 300,000 users into the list, a thousand at a time. */
async function readMiddles(url: string, users: number): Promise<Record<string, string>> {
  const middles: Record<string, string> = {};
  for (const sort of sorts) {
    let after: string | undefined;
    for (let pages = Math.min(users / 1000 - 1, 300); pages > 0; pages -= 1) {
      const response = await fetch(`${url}/users/?sort=${sort}&limit=1000&fields=id${after === undefined ? '' : `&after=${after}`}`);
      ({ next: after } = (await response.json()) as { next: string });
    }
    middles[sort] = after ?? '';
  }
  return middles;
}

async function compare({ rounds, seconds, signal }: Stage, sizes: readonly Size[], name: string, pathsOf: Paths[string]): Promise<Row[]> {
  const requests = (size: Size) => pathsOf(size).map((path) => ({ method: 'GET' as const, path }));
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

async function explainAll(stage: Stage, sizes: readonly Size[], paths: Paths): Promise<string> {
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
