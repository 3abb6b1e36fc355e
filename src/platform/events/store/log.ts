// The event log: every event at its position, dense and in order, in a partition for each day. Only the active relay writes
// it, one transaction at a time, so whoever has read up to a position has missed nothing before it.
import type { Db, Tx } from '../../db/client.ts';
import type { Event } from '../contract/envelope.ts';
import type { Place } from './cursor.ts';
import { eachDueSql } from './due.ts';
import { timestampSql } from './outbox.ts';

export type LoggedEvent = Place & {
  /** What it tells of, as `user:7`; events of one subject stay in order. */
  readonly subject: string;
  readonly traceparent: string;
  /** For subscriptions of this service alone. */
  readonly internal: boolean;
  readonly event: Event;
};

/**
 * The lock ("outb" in ASCII) that makes a transaction the active relay until its end: one at a time over all instances. Positions are
 * dense and in order of commit only because of it.
 */
export const relayLock = { key: 1869968482 };

// Of an older instance that runs beside this one, which knows users only.
const namespacedSql = `case when subject ~ '^[0-9]+$' then 'user:' || subject else subject end`;

/** What a round finds: events that were moved to the log, and whether there are unpublished ones in it and retries that are due. */
export type Found = { readonly moved: number; readonly unpublished: boolean; readonly retries: boolean };

/**
 * Moves up to `limit` events from the outbox to the end of the log, and looks what waits to be published. Under `relayLock`. A user's
 * events keep their order: a later one can only be seen here when the one before it was committed.
 */
export async function sequence(tx: Tx, limit: number): Promise<Found> {
  // An array and no `in`: as a join it would be planned by the statistics, which call the outbox empty until autovacuum has been here.
  const [row] = await tx.query<Found>(
    `with moved as (
       delete from outbox where position = any(array(select position from outbox order by position limit $1)) returning *
     ), state as (
       update event_state
       set logged_position = logged_position + (select count(*) from moved), logged_at = greatest(now(), logged_at)
       where only_row and exists (select from moved)
       returning logged_position - (select count(*) from moved) as before, logged_at
     ), logged as (
       insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data, internal)
       select state.before + row_number() over (order by moved.position), state.logged_at,
         event_id, event_type, ${namespacedSql}, occurred_at, trace_id, traceparent, data, internal
       from moved, state
     ), counted as (
       select count(*)::int as moved from moved
     )
     select moved, moved > 0 or exists (select from event_state where only_row and published_position < logged_position) as unpublished,
       coalesce(${eachDueSql('retry_at', 1).join(', ')}) is not null as retries
     from counted`,
    [limit],
  );
  return row ?? { moved: 0, unpublished: false, retries: false };
}

export type EventRow = Event & { position: string; logged_at: string; subject: string; traceparent: string; internal: boolean };

/** Columns of a row that `toLogged` reads. */
export const columnsSql = `event.position, ${timestampSql('event.logged_at')} as logged_at, event.subject, event.traceparent, event.internal, event.event_id,
  event.event_type, event.trace_id, event.data, ${timestampSql('event.occurred_at')} as occurred_at`;

export function toLogged<Row extends EventRow>({ position, logged_at, subject, traceparent, internal, ...row }: Row): LoggedEvent {
  const { event_id, event_type, occurred_at, trace_id, data } = row;
  return { position, loggedAt: logged_at, subject, traceparent, internal, event: { event_id, event_type, occurred_at, trace_id, data } };
}

/** The events at these places, in order; what is no longer kept is left out. */
export async function readAt(db: Db, places: readonly Place[]): Promise<LoggedEvent[]> {
  const times = places.map(({ loggedAt }) => loggedAt).sort();
  const rows = await db.query<EventRow>(
    `select ${columnsSql} from event where position = any($1::bigint[]) and logged_at between $2 and $3 order by position`,
    [places.map(({ position }) => position), times[0], times.at(-1)],
  );
  return rows.map(toLogged);
}

/** The next `limit` events after a place that cannot have expired, in order, internal ones among them. */
export async function readAfter(db: Db, { position, loggedAt }: Place, limit: number): Promise<LoggedEvent[]> {
  const rows = await db.query<EventRow>(
    `select ${columnsSql} from event
     where position > $1 and position <= $1::bigint + $3 and logged_at >= $2 order by position limit $3`,
    [position, loggedAt, limit],
  );
  return rows.map(toLogged);
}

/** The latest events of a subject, the last ahead: before a position and from a time on, where they are given. */
export async function readSubject(
  db: Db,
  subject: string,
  { before, since, limit }: { readonly before?: string | undefined; readonly since?: string | undefined; readonly limit: number },
): Promise<LoggedEvent[]> {
  const values: unknown[] = [subject, limit];
  const conditions = ['subject = $1'];
  if (before !== undefined) conditions.push(`position < $${values.push(before)}`);
  if (since !== undefined) conditions.push(`logged_at >= $${values.push(since)}`);
  const rows = await db.query<EventRow>(
    `select ${columnsSql} from event where ${conditions.join(' and ')} order by position desc limit $2`,
    values,
  );
  return rows.map(toLogged);
}
