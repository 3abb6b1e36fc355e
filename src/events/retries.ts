// Deliveries that the consumer put off. Of each subject the first has a time, those behind it wait for it to leave. Every function that
// writes is called under the lock of the subject (inbox.ts).
import type { Db, Tx } from '../db/client.ts';
import { type Delivery, toJson } from './delivery.ts';
import type { Event } from './envelope.ts';

/** What a row says of its event beside the message. */
type Head = {
  readonly event: Pick<Event, 'event_id' | 'event_type' | 'trace_id'>;
  readonly subject: string;
  readonly version: number;
};

/** Puts it behind earlier ones of its subject, if it is not there already. */
export async function park(tx: Tx, given: Head, delivery: Delivery): Promise<void> {
  await tx.query(
    `insert into delivery_retry (event_id, event_type, trace_id, subject, version, attempts, retry_at, body, properties, headers)
     values ($1, $2, $3, $4, $5, 0, 'infinity', $6, $7, $8) on conflict (event_id) do nothing`,
    rowOf(given, delivery),
  );
}

/** Counts a failure and sets the time of the next attempt. */
export async function putOff(tx: Tx, given: Head, delivery: Delivery, delayMs: number, reason: string): Promise<void> {
  await tx.query(
    `insert into delivery_retry (event_id, event_type, trace_id, subject, version, attempts, retry_at, body, properties, headers, reason)
     values ($1, $2, $3, $4, $5, 1, now() + $9 * interval '1 ms', $6, $7, $8, $10)
     on conflict (event_id) do update
     set attempts = delivery_retry.attempts + 1, retry_at = excluded.retry_at, reason = excluded.reason`,
    [...rowOf(given, delivery), delayMs, reason],
  );
}

/** Failed attempts until now; none where it does not wait. */
export async function attemptsOf(tx: Tx, eventId: string): Promise<number> {
  const [row] = await tx.query<{ attempts: number }>('select attempts from delivery_retry where event_id = $1', [eventId]);
  return row?.attempts ?? 0;
}

/** Forgets one that is settled, and gives the next of its subject its turn. */
export async function leave(tx: Tx, eventId: string, subject: string): Promise<void> {
  await tx.query('delete from delivery_retry where event_id = $1', [eventId]);
  await promote(tx, subject);
}

/** Gives the first of a subject its turn, where it waits for nothing else. */
export async function promote(tx: Tx, subject: string): Promise<void> {
  // By its id alone: written as a condition on `retry_at`, the other one could be looked up in an index of all that wait.
  await tx.query(
    `update delivery_retry set retry_at = now()
     where (retry_at = 'infinity') is true
       and event_id = (select event_id from delivery_retry where subject = $1 order by version, event_id limit 1)`,
    [subject],
  );
}

export type Due = { readonly eventId: string; readonly subject: string; readonly delivery: Delivery };
type DueRow = Omit<Delivery, 'isHeld'> & { readonly event_id: string; readonly subject: string };

/** Up to `limit` deliveries whose time has come, each the first of its subject, the longest due ahead. */
export async function readDue(db: Db, limit: number): Promise<Due[]> {
  const columns = 'event_id, subject, body, properties, headers';
  // Two ranges of one index. The second is later than any wait: the clock has been put back since.
  const rows = await db.query<DueRow>(
    `(select ${columns} from delivery_retry where retry_at <= now() order by retry_at limit $1)
     union all
     (select ${columns} from delivery_retry
      where retry_at > now() + interval '10 minutes' and retry_at < 'infinity' order by retry_at limit $1)`,
    [limit],
  );
  return rows.map(({ event_id, subject, ...message }) => ({ eventId: event_id, subject, delivery: { ...message, isHeld: () => true } }));
}

function rowOf({ event, subject, version }: Head, { body, properties, headers }: Delivery) {
  return [event.event_id, event.event_type, event.trace_id, subject, version, body, toJson(properties), toJson(headers)];
}
