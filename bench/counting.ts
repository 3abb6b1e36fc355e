// What counting the users as they change costs the writes.
import { deleteUser } from '../src/features/users/commands.ts';
import { startCounting } from '../src/features/users/count.ts';
import { type Pool, startPool } from '../src/platform/db/client.ts';
import { createLogger } from '../src/platform/telemetry/logger.ts';
import { connectionSettings } from './database.ts';
import { inTurns } from './reads.ts';
import type { Measurement, Row } from './row.ts';
import type { Stage } from './stage.ts';

const callers = 16;
const insertSql = `insert into "user" (name, surname, password) select 'Name', 'Surname', 'x' from generate_series(1, $1::int)`;

export const counting: Measurement = {
  definition: `Deletes of one user as the service sends them, inserts of one user and inserts of 1,000 by SQL, from ${callers} callers in a bare loop, while the loop folds what the triggers append. Floor: the same on a table without the triggers.`,
  async measure(stage) {
    await using counted = await open(stage);
    await using bare = await open(stage);
    // Deletes would come to the end of 100,000 users within seconds.
    for (const { pool } of [counted, bare]) for (let n = 0; n < 4; n += 1) await pool.query(insertSql, [100_000]);
    await bare.pool.query('alter table "user" disable trigger user');
    await using _loop = startCounting(counted.pool, createLogger({ level: 'warn', appName: 'bench' }), () => true);
    const rows: Row[] = [];
    for (const [what, work] of Object.entries(kinds)) {
      const { measured, floor } = await inTurns(stage, {
        measured: (seconds) => repeat(counted, work, seconds),
        floor: (seconds) => repeat(bare, work, seconds),
      });
      const without = { what: 'without counting', measured: floor };
      rows.push({ what, unit: '/s', measured, floor: without, want: { of: 'ratio', atLeast: 0.95 } });
    }
    return rows;
  },
};

type Side = AsyncDisposable & { readonly pool: Pool; calls: number };

async function open(stage: Stage): Promise<Side> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await stage.cloneDatabase('users'));
  const pool = stack.use(startPool(connectionSettings(url), callers));
  const kept = stack.move();
  return { pool, calls: 0, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const kinds: Record<string, (side: Side) => Promise<unknown>> = {
  'delete, one': async (side) => {
    side.calls += 1;
    return deleteUser({ db: side.pool }, String(side.calls));
  },
  'insert, one': ({ pool }) => pool.query(insertSql, [1]),
  'insert, 1,000': ({ pool }) => pool.query(insertSql, [1000]),
};

async function repeat(side: Side, work: (side: Side) => Promise<unknown>, seconds: number): Promise<number> {
  const startedAt = performance.now();
  const isOver = () => performance.now() - startedAt > seconds * 1000;
  let count = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (!isOver()) {
        await work(side);
        count += 1;
      }
    }),
  );
  return count / ((performance.now() - startedAt) / 1000);
}
