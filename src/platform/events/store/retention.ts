// The days of the event log: a partition for each is made ahead of time, and dropped when its time is over.
import type { Db, Pool, Tx } from '../../db/client.ts';
import { relayLock } from './log.ts';

const daysAhead = 3;
/** Events that one round removes from the default partition, which holds any only after a day was not prepared in time. */
const expiredMax = 10_000;
/** How far all of the subscriptions $1 have read; null where there are none. */
const readSql = 'select min(position) from subscription where name = any($1::text[])';

/**
 * Makes the partitions of today and the next days, and drops those that are older than `days`, wholly published and read by `readers`,
 * the subscriptions that read the log. Each is a
 * transaction of its own: a day must not be missing because an old one cannot be dropped yet.
 * @returns the names of the partitions that were dropped
 */
export async function maintain(pool: Pool, days: number, readers: readonly string[] = []): Promise<string[]> {
  await alone(pool, async (tx) => {
    for (let ahead = 0; ahead <= daysAhead; ahead += 1) await makePartition(tx, ahead);
  });
  return (await alone(pool, (tx) => dropExpired(tx, days, readers))) ?? [];
}

async function alone<Result>(pool: Pool, work: (tx: Tx) => Promise<Result>): Promise<Result | undefined> {
  // With the log's writer kept out, the highest position of a partition is final, and no two instances make the same day.
  return pool.underLock(relayLock, async (tx) => {
    // A reader of an old partition may hold it for a while: better later than to make every other reader queue behind us.
    await tx.query("set local lock_timeout = '500ms'");
    return work(tx);
  });
}

async function makePartition(tx: Db, ahead: number): Promise<void> {
  // Where the default partition has taken events of that day already, they stay there; the day needs none of its own.
  await tx.query(
    `do $$
     declare
       day date := (now() at time zone 'UTC')::date + ${ahead};
       name text := 'event_' || to_char(day, 'YYYYMMDD');
     begin
       if not exists (select from pg_class where relname = name and pg_table_is_visible(oid)) and not exists (
         select from event_default where logged_at >= day::timestamp at time zone 'UTC' and logged_at < (day + 1)::timestamp at time zone 'UTC'
       ) then
         execute format('create table %I partition of event for values from (%L) to (%L)',
           name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
       end if;
     end $$`,
  );
}

async function dropExpired(tx: Tx, days: number, readers: readonly string[]): Promise<string[]> {
  const partitions = await tx.query<{ name: string }>(
    `select relname as name from pg_inherits join pg_class on pg_class.oid = inhrelid
     where inhparent = 'event'::regclass and relname ~ '^event_\\d{8}$'
       and to_date(right(relname, 8), 'YYYYMMDD') < (now() at time zone 'UTC')::date - $1::int
     order by relname`,
    [days],
  );
  const dropped: string[] = [];
  for (const { name } of partitions) {
    const [last] = await tx.query<{ position: string | null; unpublished: boolean; unread: boolean }>(
      `select max(position) as position,
         coalesce(max(position) > (select published_position from event_state where only_row), false)
           or coalesce(max(position) >= (select position from event_retry order by position limit 1), false) as unpublished,
         coalesce(max(position) > (${readSql}), false) as unread
       from ${name}`,
      [readers],
    );
    // What never reached the broker or a subscription is kept, and with it all that came later.
    if (last?.unpublished || last?.unread) break;
    if (last?.position != null) await tx.query('update event_state set expired_position = $1 where only_row', [last.position]);
    await tx.query(`drop table ${name}`);
    dropped.push(name);
  }
  await tx.query(
    `with gone as (
       delete from event_default
       where position = any(array(
         select position from (select position, logged_at from event_default order by position limit ${expiredMax}) as oldest
         where logged_at < now() - ($1 + 1) * interval '1 day' and position <= (select published_position from event_state where only_row)
           and position < coalesce((select position from event_retry order by position limit 1), position + 1)
           and position <= coalesce((${readSql.replace('$1', '$2')}), position)
       ))
       returning position
     )
     update event_state set expired_position = greatest(expired_position, (select max(position) from gone))
     where only_row and exists (select from gone)`,
    [days, readers],
  );
  return dropped;
}
