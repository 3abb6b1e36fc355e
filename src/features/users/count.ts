// The number of users without counting the table. Triggers append what each statement changes, by block of a thousand ids, to
// user_count_delta; a loop folds that into user_count and user_count_sum. Whoever reads adds both, in the snapshot of its statement.
import type { Pool } from '../../platform/db/client.ts';
import { type Loop, startLoop } from '../../platform/runtime/loop.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { createOutages } from '../../platform/telemetry/outages.ts';

/** Common table expressions: `sums` has the users of each hundred blocks, `counted` the number of all. */
export const totalSql = `delta as materialized (
    select block, sum(delta)::int as n from user_count_delta group by block
  ), sums as materialized (
    -- At most 100,000; the sum of an int is a bigint, and no slow numeric.
    select blocks, sum(n)::int as n
    from (select blocks, count::int as n from user_count_sum union all select block / 100, n from delta) as each group by blocks
  ), counted as materialized (
    select coalesce(sum(n), 0)::bigint as total from sums
  )`;

/**
 * Further ones, behind `totalSql`: `place` has the first id of the block in which the user stands that has so many before it, and how
 * many of these are ahead of the block; no row where there are fewer users.
 * @param offsetSql how many, such as `$1::bigint`
 */
export const placeSql = (offsetSql: string) => `passed_sums as (
    select blocks, n, sum(n) over (order by blocks) - n as passed from sums
  ), place_of_sum as materialized (
    select blocks, passed from passed_sums where passed <= ${offsetSql} and ${offsetSql} < passed + n
  ), passed_blocks as (
    select block, n, passed + sum(n) over (order by block) - n as passed
    from (
      select block, passed, sum(n)::int as n
      from (
        select block, passed, count::int as n from place_of_sum join user_count on block >= blocks * 100 and block < blocks * 100 + 100
        union all
        select block, passed, n from place_of_sum join delta on block / 100 = blocks
      ) as each group by block, passed
    ) as block
  ), place as materialized (
    select block * 1000 as id, passed from passed_blocks where passed <= ${offsetSql} and ${offsetSql} < passed + n
  )`;

// "user" in ASCII. One at a time over all instances: two would meet on the rows of the last block.
const foldLock = { key: 1970496882 };

const foldSql = `with taken as (
    delete from user_count_delta where ctid = any(array(select ctid from user_count_delta limit $1)) returning block, status, delta
  ), changed as materialized (
    select block, status, sum(delta) as n from taken group by block, status
  ), blocks as (
    insert into user_count (block, status, count) select block, status, n from changed where n <> 0 order by block, status
    on conflict (block, status) do update set count = user_count.count + excluded.count
  ), sums as (
    insert into user_count_sum (blocks, status, count)
    select block / 100, status, sum(n) from changed group by 1, 2 having sum(n) <> 0 order by 1, 2
    on conflict (blocks, status) do update set count = user_count_sum.count + excluded.count
  )
  select (select count(*) from taken)::int as taken, array(select distinct block from changed where n < 0)::text[] as shrunk`;

// Ids are never given out again, so an empty block stays empty.
const forgetSql = [
  'delete from user_count where block = any($1::bigint[]) and count = 0',
  'delete from user_count_sum where blocks = any(select block / 100 from unnest($1::bigint[]) as block) and count = 0',
];

const foldedMax = 10_000;
const pauseMs = { busy: 250, shortest: 1000, longest: 5000 };
/** From so many on, readers would feel what is not folded yet. */
const many = 500;

/**
 * Counts the table anew, as after a restore of data alone, which the triggers count a second time. Writers wait meanwhile.
 * @param pool without a limit for statements
 */
export async function recount(pool: Pool): Promise<void> {
  await pool.inTransaction(async (tx) => {
    await tx.query('set local statement_timeout = 0');
    await tx.query('lock table "user" in share mode');
    await tx.query('truncate user_count, user_count_sum, user_count_delta');
    await tx.query(`insert into user_count (block, status, count) select id / 1000, status, count(*) from "user" group by 1, 2`);
    await tx.query(
      'insert into user_count_sum (blocks, status, count) select block / 100, status, sum(count) from user_count group by 1, 2',
    );
  });
}

/** @returns how many changes it folded; undefined where another instance does */
export async function foldCounts(pool: Pool, max = foldedMax): Promise<number | undefined> {
  return pool.underLock(foldLock, async (tx) => {
    const [row] = await tx.query<{ taken: number; shrunk: string[] }>(foldSql, [max]);
    if (row !== undefined && row.shrunk.length > 0) for (const sql of forgetSql) await tx.query(sql, [row.shrunk]);
    return row?.taken ?? 0;
  });
}

/** @param isReady whether the tables are there and filled */
export function startCounting(pool: Pool, log: Logger, isReady: () => boolean): Loop {
  const words = { lost: 'User counts cannot be folded; lists get slower', back: 'User counts are folded again' };
  const outages = createOutages(log, 'users', words, 'back');
  return startLoop(async () => {
    if (!isReady()) return pauseMs.shortest;
    try {
      const folded = (await foldCounts(pool)) ?? 0;
      outages.back();
      if (folded === foldedMax) return 0;
      if (folded === 0) return pauseMs.longest;
      return folded < many ? pauseMs.shortest : pauseMs.busy;
    } catch (error) {
      // Nothing is lost: what is not folded stays where readers add it.
      outages.lost((error as Error).message);
      return pauseMs.longest;
    }
  });
}
