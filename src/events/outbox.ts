// The outbox: events committed with their change, waiting for the relay. A row leaves only after the broker's confirm.
import { randomUUIDv7 } from 'node:crypto';
import * as context from '../context.ts';
import type { Db, Tx } from '../db/client.ts';
import type { Event } from './envelope.ts';

/** Formats a timestamptz as the API and the events show it. */
export function timestampSql(expression: string): string {
  return `to_char(${expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/**
 * The part of a writing statement that appends its event: `with changed as (update ... returning ...), event as (<this>)`.
 * It must read the RETURNING of the change in the same statement: then the row's lock is held when the position is
 * drawn, and positions follow the order of commits for each subject.
 * @param from the change's name in the `with` list; no row there, no event
 * @param columns SQL expressions over `from`; `data` is of type json
 * @param first the number of the first of the four parameters that `appendValues` gives
 */
export function appendSql(from: string, columns: { subject: string; occurredAt: string; data: string }, first: number): string {
  return `insert into outbox (event_id, event_type, trace_id, traceparent, subject, occurred_at, data)
    select $${first}::uuid, $${first + 1}, $${first + 2}, $${first + 3}, ${columns.subject}, ${columns.occurredAt}, ${columns.data} from ${from}`;
}

export function appendValues(eventType: string): [eventId: string, eventType: string, traceId: string, traceparent: string] {
  const { traceId, traceparent } = context.current() ?? context.createContext(undefined, undefined);
  return [randomUUIDv7(), eventType, traceId, traceparent];
}

export type OutboxRow = {
  readonly position: string;
  readonly subject: string;
  readonly traceparent: string;
  /** How often it was tried and came back. */
  readonly attempts: number;
  readonly event: Event;
};

/** Whether an event waits whose time has come. */
export async function isDue(db: Db): Promise<boolean> {
  const [row] = await db.query<{ due: boolean }>('select exists (select from outbox where retry_at is null or retry_at <= now()) as due');
  return row?.due === true;
}

/**
 * Takes part in publishing for the rest of the transaction: true for one transaction at a time over all instances, so
 * that no two relays send events of one user side by side.
 */
export async function lockRelay(tx: Tx): Promise<boolean> {
  // "outb" in ASCII.
  const [row] = await tx.query<{ locked: boolean }>('select pg_try_advisory_xact_lock(1869968482) as locked');
  return row?.locked === true;
}

/** The next events in order, without those behind an event of the same subject that waits for its retry. */
export async function nextBatch(tx: Tx, limit: number): Promise<OutboxRow[]> {
  const rows = await tx.query<Omit<OutboxRow, 'event'> & Event>(
    `select position, subject, traceparent, attempts, event_id, event_type, trace_id, data, ${timestampSql('occurred_at')} as occurred_at
     from outbox
     where (retry_at is null or retry_at <= now())
       and not exists (
         select from outbox as held
         where held.subject = outbox.subject and held.retry_at > now() and held.position < outbox.position
       )
     order by position
     limit $1`,
    [limit],
  );
  return rows.map(({ position, subject, traceparent, attempts, event_id, event_type, occurred_at, trace_id, data }) => ({
    position,
    subject,
    traceparent,
    attempts,
    event: { event_id, event_type, occurred_at, trace_id, data },
  }));
}

export async function remove(tx: Tx, positions: readonly string[]): Promise<void> {
  if (positions.length > 0) await tx.query('delete from outbox where position = any($1::bigint[])', [positions]);
}

/** Puts events off: 1 s after the first failure, twice as long after each further one, at most a minute. */
export async function putOff(tx: Tx, positions: readonly string[]): Promise<void> {
  if (positions.length === 0) return;
  await tx.query(
    `update outbox
     set attempts = attempts + 1, retry_at = now() + least(60, 2 ^ least(attempts, 6)) * interval '1 second'
     where position = any($1::bigint[])`,
    [positions],
  );
}

export async function measure(db: Db): Promise<{ depth: number; oldestSeconds: number }> {
  const [row] = await db.query<{ depth: string; oldest: number }>(
    'select count(*) as depth, coalesce(extract(epoch from now() - min(occurred_at)), 0)::float8 as oldest from outbox',
  );
  return { depth: Number(row?.depth ?? 0), oldestSeconds: Math.max(0, row?.oldest ?? 0) };
}
