// How far the log has been published, and the events that came back from the broker.
import type { Db, Tx } from '../db/client.ts';
import type { Message } from './broker.ts';
import { columnsSql, type LoggedEvent, readAfter, toLogged } from './log.ts';
import { timestampSql } from './outbox.ts';

// Later than any wait can be: the clock has been put back since, by as much as a day perhaps.
const retryIsDueSql = `(retry_at <= now() or retry_at > now() + interval '61 seconds')`;

export type Due = { readonly outbox: boolean; readonly log: boolean; readonly retries: boolean };

/** What waits: in the outbox, unpublished in the log, for a retry whose time has come. */
export async function readDue(db: Db): Promise<Due> {
  const [row] = await db.query<Due>(
    `select exists (select from outbox) as outbox,
       exists (select from event_state where published_position < logged_position) as log,
       exists (select from event_retry where ${retryIsDueSql}) as retries`,
  );
  return row ?? { outbox: false, log: false, retries: false };
}

/** Events whose retry is due, in order; of each subject only those ahead of the first that is not due. */
export async function dueRetries(tx: Tx, limit: number): Promise<Message[]> {
  const rows = await tx.query<Parameters<typeof toLogged>[0] & { attempts: number }>(
    `with blocked as (select subject, min(position) as position from event_retry where not ${retryIsDueSql} group by subject)
     select ${columnsSql}, retry.attempts
     from event_retry as retry
     left join blocked using (subject)
     join event on event.position = retry.position and event.logged_at = retry.logged_at
     where retry.position < coalesce(blocked.position, retry.position + 1)
     order by retry.position
     limit $1`,
    [limit],
  );
  return rows.map((row) => ({ ...toLogged(row), attempts: row.attempts }));
}

/** The next events of the log that were never tried, and which of their subjects have an event that waits for a retry. */
export async function nextUnpublished(tx: Tx, limit: number): Promise<{ events: Message[]; waiting: ReadonlySet<string> }> {
  const [state] = await tx.query<{ position: string; at: string; retrying: boolean }>(
    `select published_position as position, ${timestampSql('published_at')} as at, exists (select from event_retry) as retrying
     from event_state where published_position < logged_position`,
  );
  if (state === undefined) return { events: [], waiting: new Set() };
  const events = (await readAfter(tx, { position: state.position, loggedAt: state.at }, limit)).map((event) => ({ ...event, attempts: 0 }));
  if (!state.retrying) return { events, waiting: new Set() };
  const waiting = await tx.query<{ subject: string }>('select distinct subject from event_retry where subject = any($1)', [
    events.map(({ subject }) => subject),
  ]);
  return { events, waiting: new Set(waiting.map(({ subject }) => subject)) };
}

/** Everything up to `last` was published or stands in event_retry from now on. */
export async function advance(tx: Tx, { position, loggedAt }: LoggedEvent): Promise<void> {
  await tx.query('update event_state set published_position = $1, published_at = $2', [position, loggedAt]);
}

export async function forgetRetries(tx: Tx, events: readonly Message[]): Promise<void> {
  if (events.length > 0)
    await tx.query('delete from event_retry where position = any($1::bigint[])', [events.map(({ position }) => position)]);
}

/**
 * Puts events off. Tried ones wait 1 s after the first failure, twice as long after each further one, at most a minute;
 * untried ones only wait for those ahead of them.
 */
export async function putOff(tx: Tx, events: readonly Message[], how: 'tried' | 'untried'): Promise<void> {
  if (events.length === 0) return;
  await tx.query(
    `insert into event_retry (position, logged_at, subject, attempts, retry_at)
     select position, logged_at, subject, attempts,
       case when $5 then now() + least(60, 2 ^ least(attempts - 1, 6)) * interval '1 second' else now() end
     from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[]) as given (position, logged_at, subject, attempts)
     on conflict (position) do update set attempts = excluded.attempts, retry_at = excluded.retry_at`,
    [
      events.map(({ position }) => position),
      events.map(({ loggedAt }) => loggedAt),
      events.map(({ subject }) => subject),
      events.map(({ attempts }) => (how === 'tried' ? attempts + 1 : attempts)),
      how === 'tried',
    ],
  );
}

export type Backlog = { readonly depth: number; readonly oldestSeconds: number; readonly deadRows: number };

/** What waits to be published, wherever it stands, and the dead rows of the tables that it passes through. */
export async function measureBacklog(db: Db): Promise<Backlog> {
  const [row] = await db.query<{ depth: string; oldest: number; dead: string }>(
    `select
       (select count(*) from outbox) + (select logged_position - published_position from event_state) + (select count(*) from event_retry) as depth,
       coalesce(extract(epoch from now() - least(
         (select min(occurred_at) from outbox),
         (select occurred_at from event, event_state where position = published_position + 1 and event.logged_at >= published_at limit 1),
         (select min(occurred_at) from event join event_retry using (position, logged_at))
       )), 0)::float8 as oldest,
       (select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables where relname in ('outbox', 'event_retry', 'event_state')) as dead`,
  );
  return { depth: Number(row?.depth ?? 0), oldestSeconds: Math.max(0, row?.oldest ?? 0), deadRows: Number(row?.dead ?? 0) };
}
