// Faults of PostgreSQL.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster.ts';
import type { Fault, Turn } from '../fault.ts';
import { during } from '../weather.ts';
import { halfOpen, reset, sliced, slow, toPostgres } from './ways.ts';

/** Resolves with the time from now to the first answer to a change that was asked for after now. */
async function untilWrites({ load, now }: Cluster, turn: Turn, secondsMax: number): Promise<void> {
  const from = load.attempts.length;
  const startedAt = now();
  const again = () =>
    load.attempts
      .slice(from)
      .find((attempt) => attempt.kind !== 'read' && attempt.outcome === 'acknowledged' && attempt.startedAt > startedAt);
  let first = again();
  for (; first === undefined; first = again()) await sleep(20, undefined, { signal: turn.signal });
  const words = `writes again after ${((first.endedAt - startedAt) / 1000).toFixed(1)} s`;
  turn.say(words);
  if (first.endedAt - startedAt > secondsMax * 1000) turn.late(`${words}; ${secondsMax} s are promised`);
}

export const postgresFaults: readonly Fault[] = [
  {
    name: 'backend-kill',
    what: 'kill -9 of one backend: PostgreSQL ends all sessions and recovers from its log',
    claims: ['postgres'],
    seconds: [4, 4],
    async run(cluster, turn) {
      const { database } = cluster;
      const rows = await database.query<{ pid: number }>(
        `select pid from pg_stat_activity where datname = current_database() and application_name like 'rollcall-%' order by pid`,
      );
      // The server has just named it as its own.
      const { pid } = turn.random.pick(rows);
      process.kill(pid, 'SIGKILL');
      turn.say(`killed backend ${pid}, one of ${rows.length}`);
      await untilWrites(cluster, turn, 3);
      await turn.hold(2, 2);
    },
  },
  {
    name: 'postgres-kill',
    what: 'kill -9 of the postmaster, then a new start',
    claims: ['postgres'],
    seconds: [5, 5],
    async run(cluster, turn) {
      await cluster.postgres.kill();
      await cluster.postgres.start();
      turn.say('killed the postmaster, and started another');
      await untilWrites(cluster, turn, 5);
      await turn.hold(2, 2);
    },
  },
  {
    name: 'postgres-restart',
    what: 'a fast restart under load',
    claims: ['postgres'],
    seconds: [5, 5],
    async run(cluster, turn) {
      await cluster.postgres.stop();
      await cluster.postgres.start();
      turn.say('restarted PostgreSQL');
      await untilWrites(cluster, turn, 5);
      await turn.hold(2, 2);
    },
  },
  {
    name: 'postgres-stopped',
    what: 'stopped for 60 s',
    claims: ['postgres'],
    seconds: [11, 61],
    async run(cluster, turn) {
      await during(
        toPostgres.networks(cluster),
        (network) => network.refuse(),
        async () => {
          await cluster.postgres.stop();
          turn.say('stopped PostgreSQL');
          await turn.hold(60, 10);
          await cluster.postgres.start();
        },
      );
    },
  },
  halfOpen(toPostgres, { leastSeconds: 7, fullSeconds: 30 }),
  slow(toPostgres, 100, { leastSeconds: 5, fullSeconds: 20 }),
  sliced(toPostgres, { leastSeconds: 4, fullSeconds: 20 }),
  reset(toPostgres, { leastSeconds: 5, fullSeconds: 20 }),
  {
    name: 'disk-full',
    what: "PostgreSQL's disk is full for 15 s",
    claims: ['postgres'],
    seconds: [10, 17],
    whyNot: async ({ postgres }) => postgres.noSmallDisk,
    async run({ postgres, load }, turn) {
      const enough = new AbortController();
      const from = load.attempts.length;
      turn.say('filling the disk');
      const filling = postgres.fillDisk(AbortSignal.any([enough.signal, turn.signal]));
      for (let times = 0; times < 3; times += 1) {
        await turn.hold(5, 2.5);
        // The log goes on into a new file, for which there is no room.
        await postgres.switchWal().catch(() => {});
      }
      enough.abort();
      const mebibytes = (await filling) / 2 ** 20;
      await postgres.freeDisk();
      const failed = load.attempts.slice(from).filter(({ outcome }) => outcome === 'unknown');
      turn.say(
        `freed its ${mebibytes.toFixed(0)} MiB; ${failed.length} change(s) failed, and PostgreSQL ${postgres.running ? 'runs' : 'gave up and is started again'}`,
      );
      await postgres.start();
      await turn.hold(2, 2);
    },
  },
  {
    name: 'slow-transaction',
    what: 'changes whose transactions stay open after they drew their position, between fast ones; a lock on a row that others want',
    claims: ['postgres'],
    seconds: [6, 6],
    async run({ load, instances, database }, turn) {
      const { random } = turn;
      const attempts: ReturnType<typeof load.attempt>[] = [];
      // The last is longer than the service waits: it says 503, and the change is made all the same.
      for (const [round, ms] of [700, 1000, 1200, 2600].entries()) {
        const userId = load.pickUser(random);
        const name = `slow ${ms} ${round} ${random.between(0, 1e9)}`;
        attempts.push(load.attempt('slow', random.pick(instances), { kind: 'update', userId, name }));
        await sleep(50, undefined, { signal: turn.signal });
        // They wait for the row, while the clients' changes of other users go past.
        for (let n = 0; n < 3; n += 1) attempts.push(load.attempt('behind', random.pick(instances), { kind: 'update', userId }));
        await turn.hold(0.5, 0.5);
      }
      const lock = await database.hold('select from "user" where id = $1 for update', [load.pickUser(random)]);
      await turn.hold(1, 1);
      await lock.release();
      const acknowledged = (await Promise.all(attempts)).filter(({ outcome }) => outcome === 'acknowledged');
      turn.say(`${attempts.length} slow changes and changes behind them, ${acknowledged.length} acknowledged`);
    },
  },
];
