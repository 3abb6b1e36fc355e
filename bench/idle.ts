// What a service asks of its database while nobody asks anything of it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from './database.ts';
import type { Measurement } from './row.ts';

/** A connection without work tells what it counted only after 10 s (PostgreSQL, pgstat.c, PGSTAT_IDLE_INTERVAL): the start is not measured. */
const settleSeconds = 11;
const countedSeconds = 10;

export const idle: Measurement = {
  definition: `Transactions that PostgreSQL counted in the database of a service that nobody asked anything (pg_stat_database.xact_commit), over ${countedSeconds} s. Floor: the same in the same seconds, of a service without RabbitMQ.`,
  async measure(stage) {
    await using rabbit = await stage.createVhost();
    await using withRabbit = await stage.cloneDatabase('empty');
    await using without = await stage.cloneDatabase('empty');
    // Its own questions count there, and nowhere else.
    await using observer = await stage.cloneDatabase('empty');
    await using _service = await stage.startService({ DATABASE_URL: withRabbit.url, RABBITMQ_URL: rabbit.url });
    await using _inProcess = await stage.startService({ DATABASE_URL: without.url });

    const count = async () => ({
      at: performance.now(),
      measured: await countTransactions(observer, withRabbit),
      floor: await countTransactions(observer, without),
    });
    await sleep(settleSeconds * 1000, undefined, { signal: stage.signal });
    const before = await count();
    await sleep(countedSeconds * 1000, undefined, { signal: stage.signal });
    const after = await count();
    const perSecond = (side: 'measured' | 'floor') => ((after[side] - before[side]) * 1000) / (after.at - before.at);
    return [
      {
        what: 'transactions while idle',
        unit: '/s',
        measured: [perSecond('measured')],
        floor: { what: 'without RabbitMQ', measured: [perSecond('floor')] },
        want: { of: 'measured', atMost: 2 },
      },
    ];
  },
};

async function countTransactions(observer: Database, { url }: Database): Promise<number> {
  const [{ commits = Number.NaN } = {}] = await observer.query<{ commits: number }>(
    'select xact_commit::float8 as commits from pg_stat_database where datname = $1',
    [new URL(url).pathname.slice(1)],
  );
  return commits;
}
