// How far the log has been published, and the events that came back from the broker. No statement here depends on what the
// planner believes of a table's size: these tables go from empty to a million rows between two runs of autovacuum.
import type { Db, Tx } from '../../db/client.ts';
import type { Place } from './cursor.ts';
import { dueSql, eachDueSql } from './due.ts';
import { columnsSql, type EventRow, type LoggedEvent, readAt, toLogged } from './log.ts';
import { timestampSql } from './outbox.ts';

/** An event of the log on its way out. */
export type Message = LoggedEvent & {
  /** Deliveries that failed before, where the broker leaves counting to the sender. */
  readonly attempts: number;
};

// The first rows of each subject of $1. A comparison of rows reads the index (subject, position) at one place; `subject = x order by
// position` might read all of the other index, where the statistics say that most rows are of one subject.
const firstOfEachSubjectSql = (limit: number) =>
  `from unnest($1::text[]) as wanted (subject)
   cross join lateral (
     select position, logged_at, subject, attempts, retry_at from event_retry
     where (subject, position) >= (wanted.subject, 0) order by subject, position limit ${limit}
   ) as retry
   where retry.subject = wanted.subject`;

/** What one round publishes. */
export type Batch = {
  /** In order for each subject. What stands behind an event that waits for a retry is left out. */
  readonly messages: readonly Message[];
  readonly retries: readonly Message[];
  readonly unpublished: Unpublished;
};

// Of a batch at most this part are retries: however many are due, they do not hold up what has just been committed.
const retryShare = 1 / 4;

/** Up to `limit` events of the log that were never tried, and a share of those that wait for a retry. */
export async function takeBatch(tx: Tx, limit: number, withRetries: boolean): Promise<Batch> {
  const retries = withRetries ? await dueRetries(tx, Math.ceil(limit * retryShare)) : [];
  const unpublished = await nextUnpublished(tx, limit);
  const free = unpublished.events.filter(({ subject }) => !unpublished.waiting.has(subject));
  return { messages: [...free, ...retries], retries, unpublished };
}

export type Outcome = { readonly published: readonly Message[]; readonly returned: readonly Message[] };

/** What became of a batch. What is in neither list of the outcome was not tried, or its confirm did not come: it is sent again. */
export async function settleBatch(tx: Tx, { retries, unpublished }: Batch, outcome: Outcome): Promise<void> {
  const published = new Set(outcome.published);
  const returned = new Set(outcome.returned);
  await forgetRetries(
    tx,
    retries.filter((message) => published.has(message)),
  );
  await putOff(tx, outcome.returned);
  await putBehind(
    tx,
    unpublished.events.filter((message) => !published.has(message) && !returned.has(message)),
  );
  if (unpublished.last !== undefined) await advance(tx, unpublished.last);
}

/** Up to `limit` events, in order: of each subject the earliest that waits, if it is due, and those behind it. */
async function dueRetries(tx: Tx, limit: number): Promise<Message[]> {
  const due = await tx.query<{ position: string; subject: string }>(eachDueSql('position, subject', limit).join(' union all '));
  if (due.length === 0) return [];
  const subjects = [...new Set(due.map(({ subject }) => subject))].slice(0, limit);
  const waiting = await tx.query<Place & { subject: string; attempts: number; due: boolean }>(
    `select retry.position, ${timestampSql('retry.logged_at')} as "loggedAt", retry.subject, retry.attempts,
       coalesce(${dueSql.join(' or ')}, false) as due
     ${firstOfEachSubjectSql(Math.ceil(limit / subjects.length))}
     order by retry.subject, retry.position`,
    [subjects],
  );
  const bySubject = [...Map.groupBy(waiting, ({ subject }) => subject).values()];

  // A time of its own behind an earlier one: that was added later (a dead letter sent again), or by an older version.
  const earliest = new Set(bySubject.map(([first]) => first?.position));
  await hold(
    tx,
    due.filter(({ position }) => !earliest.has(position)),
  );

  const free = bySubject.filter(([first]) => first?.due).flat();
  const events = new Map((await readAt(tx, free)).map((event) => [event.position, event]));
  await forgetRetries(
    tx,
    free.filter(({ position }) => !events.has(position)),
  );
  return free.flatMap(({ position, attempts }) => {
    const event = events.get(position);
    return event === undefined ? [] : [{ ...event, attempts }];
  });
}

type Unpublished = {
  /** Without internal ones. */
  readonly events: readonly Message[];
  /** The subjects of these that have an event that waits for a retry. */
  readonly waiting: ReadonlySet<string>;
  /** The last event that was looked at. */
  readonly last: LoggedEvent | undefined;
};

/** The next events of the log that were never tried. */
async function nextUnpublished(tx: Tx, limit: number): Promise<Unpublished> {
  const rows = await tx.query<EventRow & { first_waiting: string | null }>(
    `select ${columnsSql}, (
       select retry.subject from event_retry as retry where (retry.subject, retry.position) >= (event.subject, 0)
       order by retry.subject, retry.position limit 1
     ) as first_waiting
     from (select published_position, published_at from event_state where only_row and published_position < logged_position) as state
     cross join lateral (
       select * from event
       where position > state.published_position and position <= state.published_position + $1 and logged_at >= state.published_at
       order by position limit $1
     ) as event
     order by event.position`,
    [limit],
  );
  const looked = rows.map((row) => ({ ...toLogged(row), attempts: 0 }));
  const waiting = rows.filter(({ subject, first_waiting }) => first_waiting === subject).map(({ subject }) => subject);
  return { events: looked.filter(({ internal }) => !internal), waiting: new Set(waiting), last: looked.at(-1) };
}

/** Everything up to `last` was published, stands in event_retry from now on, or is internal. */
async function advance(tx: Tx, { position, loggedAt }: LoggedEvent): Promise<void> {
  await tx.query('update event_state set published_position = $1, published_at = $2 where only_row', [position, loggedAt]);
}

/** What is behind them is due then. */
async function forgetRetries(tx: Tx, events: readonly { readonly position: string }[]): Promise<void> {
  if (events.length > 0)
    await tx.query('delete from event_retry where position = any($1::bigint[])', [events.map(({ position }) => position)]);
}

/** Events that came back: 1 s after the first failure, twice as long after each further one, at most a minute. */
async function putOff(tx: Tx, events: readonly Message[]): Promise<void> {
  if (events.length === 0) return;
  await tx.query(
    `insert into event_retry (position, logged_at, subject, attempts, retry_at)
     select position, logged_at, subject, attempts, now() + least(60, 2 ^ least(attempts - 1, 6)) * interval '1 second'
     from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[]) as given (position, logged_at, subject, attempts)
     on conflict (position) do update set attempts = excluded.attempts, retry_at = excluded.retry_at`,
    [
      events.map(({ position }) => position),
      events.map(({ loggedAt }) => loggedAt),
      events.map(({ subject }) => subject),
      events.map(({ attempts }) => attempts + 1),
    ],
  );
}

/** Events that were not tried: each waits for those of its subject that are ahead of it, and is due where there are none. */
async function putBehind(tx: Tx, events: readonly LoggedEvent[]): Promise<void> {
  if (events.length === 0) return;
  await tx.query(
    `insert into event_retry (position, logged_at, subject, attempts, retry_at)
     select position, logged_at, subject, 0, null
     from unnest($1::bigint[], $2::timestamptz[], $3::text[]) as given (position, logged_at, subject)`,
    [events.map(({ position }) => position), events.map(({ loggedAt }) => loggedAt), events.map(({ subject }) => subject)],
  );
}

async function hold(tx: Tx, behind: readonly { readonly position: string }[]): Promise<void> {
  if (behind.length > 0)
    await tx.query('update event_retry set retry_at = null where position = any($1::bigint[])', [behind.map(({ position }) => position)]);
}

export type Backlog = { readonly depth: number; readonly oldestSeconds: number; readonly deadRows: number };

// A million rows are not counted for a gauge: beyond this it shows what autovacuum last estimated.
const countedMax = 100_000;
const countSql = (table: string) =>
  `(select case when count(*) < ${countedMax} then count(*) else greatest(count(*), (select reltuples::bigint from pg_class where oid = '${table}'::regclass)) end
    from (select from ${table} limit ${countedMax}) as counted)`;

/** What waits to be published, wherever it stands, and the dead rows of the tables that it passes through. */
export async function measureBacklog(db: Db): Promise<Backlog> {
  const [row] = await db.query<{ depth: string; oldest: number; dead: string }>(
    `select
       ${countSql('outbox')} + (select logged_position - published_position from event_state where only_row) + ${countSql('event_retry')} as depth,
       coalesce(extract(epoch from now() - least(
         (select occurred_at from outbox order by position limit 1),
         (select occurred_at from event
          where position = (select published_position + 1 from event_state where only_row) and logged_at >= (select published_at from event_state where only_row)),
         (select occurred_at from event
          where position = (select position from event_retry order by position limit 1)
            and logged_at = (select logged_at from event_retry order by position limit 1))
       )), 0)::float8 as oldest,
       (select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables where relname in ('outbox', 'event_retry', 'event_state')) as dead`,
  );
  return { depth: Number(row?.depth ?? 0), oldestSeconds: Math.max(0, row?.oldest ?? 0), deadRows: Number(row?.dead ?? 0) };
}
