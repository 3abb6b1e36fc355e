// What an update costs in CPU, whoever spends it.
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from './database.ts';
import { load } from './load.ts';
import { operations } from './operations.ts';
import { type Measurement, takeTurns } from './row.ts';
import type { Stage } from './stage.ts';

/** Long enough for the compiler. */
const warmUpSeconds = 3;
const rounds = 3;
const pollMs = 50;
/** USER_HZ, which Linux gives to all programs (proc_pid_stat(5)). */
const ticksInSecond = 100;

export const cost: Measurement = {
  definition:
    'CPU of the service, PostgreSQL and RabbitMQ together for one PUT of 32 callers, from the request to its event handled and acknowledged; the callers do not count. An update writes three lines at level info (request started, request completed, event received) and none at warn. Floor: CPU of the same SQL from 32 callers in a bare loop, with PostgreSQL. Linux only.',
  async measure(stage) {
    await using untouched = await stage.cloneDatabase('users');
    await using floor = stage.startFloor('statements', { url: untouched.url, operation: 'update' });
    await using withLines = await startUpdates(stage, 'info');
    await using withoutLines = await startUpdates(stage, 'warn');
    await withLines.run(warmUpSeconds);
    await withoutLines.run(warmUpSeconds);
    await floor.ask({ seconds: warmUpSeconds });
    const seconds = stage.seconds / rounds;
    const { lines, none, bare } = await takeTurns(rounds, {
      lines: () => measureCost(withLines.database, () => withLines.run(seconds)),
      none: () => measureCost(withoutLines.database, () => withoutLines.run(seconds)),
      bare: () => measureCost(untouched, () => floor.ask({ seconds })),
    });
    return [
      {
        what: 'CPU of an update, to its effect',
        unit: 'ms',
        measured: lines,
        floor: { what: 'same SQL, bare loop', measured: bare },
        want: { of: 'measured', atMost: 1.3 },
      },
      { what: 'the same, LOG_LEVEL=warn', unit: 'ms', measured: none, floor: { what: 'same SQL, bare loop', measured: bare } },
    ];
  },
};

type Updates = AsyncDisposable & { readonly database: Database; run(seconds: number): Promise<void> };

async function startUpdates(stage: Stage, level: string): Promise<Updates> {
  await using starting = new AsyncDisposableStack();
  const rabbit = starting.use(await stage.createVhost());
  const database = starting.use(await stage.cloneDatabase('users'));
  const service = starting.use(await stage.startService({ DATABASE_URL: database.url, RABBITMQ_URL: rabbit.url, LOG_LEVEL: level }));
  let n = 0;
  const running = starting.move();
  return {
    database,
    async run(seconds) {
      await load({ ...stage, seconds }, service.url, () => operations.update.request(++n));
      await untilHandled(stage, database);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Milliseconds of CPU for each change that `work` makes. */
async function measureCost(database: Database, work: () => Promise<unknown>): Promise<number> {
  const before = { changes: await countChanges(database), cpuMs: await cpuMs() };
  await work();
  const after = { changes: await countChanges(database), cpuMs: await cpuMs() };
  return (after.cpuMs - before.cpuMs) / (after.changes - before.changes);
}

async function countChanges(database: Database): Promise<number> {
  const [{ changes = Number.NaN } = {}] = await database.query<{ changes: number }>(
    `select logged_position + (select count(*) from outbox) as changes from event_state where only_row`,
  );
  return Number(changes);
}

async function untilHandled({ signal }: Stage, database: Database): Promise<void> {
  for (;;) {
    const [row] = await database.query<{ handled: boolean }>(
      `select (select count(*) from outbox) = 0 and logged_position = (select count(*) from inbox) as handled from event_state where only_row`,
    );
    if (row?.handled) return;
    await sleep(pollMs, undefined, { signal });
  }
}

type Process = { readonly parent: number; readonly ticks: number };

/** Of everything that this process has started, and of what that has started, without this process. */
async function cpuMs(): Promise<number> {
  const processes = new Map<number, Process>();
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined) : undefined;
    if (stat === undefined) continue;
    // After the name of the program, which may hold blanks and parentheses: state, parent; user and system time, its own and that of
    // children who have ended, are the 14th to 17th of all fields.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const ticks = fields.slice(11, 15).reduce((sum, part) => sum + part, 0);
    processes.set(Number(name), { parent: fields[1] ?? 0, ticks });
  }
  const isOurs = (id: number): boolean => {
    const parent = processes.get(id)?.parent;
    return parent !== undefined && (parent === process.pid || isOurs(parent));
  };
  const ours = [...processes].filter(([id]) => isOurs(id));
  return (ours.reduce((sum, [, { ticks }]) => sum + ticks, 0) * 1000) / ticksInSecond;
}
