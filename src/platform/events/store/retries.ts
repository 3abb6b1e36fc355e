// Deliveries that the consumer put off. Of each subject the first has a time, those behind it wait for it to leave. Every function that
// writes is called under the lock of the subject (inbox.ts).
import type { Db, Tx } from '../../db/client.ts';
import { type Delivery, toJson } from '../contract/delivery.ts';
import type { Event } from '../contract/envelope.ts';
import { placeOf } from './inbox.ts';

/** What a row says of its event beside the message. */
type Head = {
  readonly subscription: string;
  readonly event: Pick<Event, 'event_id' | 'event_type' | 'trace_id'>;
  readonly subject: string;
  readonly version: number;
};

/** Puts it behind earlier ones of its subject, if it is not there already. */
export async function queue(tx: Tx, given: Head, delivery: Delivery): Promise<void> {
  await tx.query(
    `insert into delivery_retry (${rowColumnsSql}, attempts, retry_at)
     values (${rowValuesSql}, 0, 'infinity') on conflict (subscription, event_id) do nothing`,
    rowOf(given, delivery),
  );
}

/** Keeps an event of a type that this version does not know, ahead of later ones of its subject, for a version that does. */
export async function park(tx: Tx, given: Head, delivery: Delivery): Promise<void> {
  await tx.query(
    `insert into delivery_retry (${rowColumnsSql}, attempts, retry_at, parked_at)
     values (${rowValuesSql}, 0, 'infinity', now())
     on conflict (subscription, event_id) do update set retry_at = excluded.retry_at, parked_at = excluded.parked_at`,
    rowOf(given, delivery),
  );
}

/** Counts a failure and sets the time of the next attempt. */
export async function putOff(tx: Tx, given: Head, delivery: Delivery, delayMs: number, reason: string): Promise<void> {
  await tx.query(
    `insert into delivery_retry (${rowColumnsSql}, attempts, retry_at, reason)
     values (${rowValuesSql}, 1, now() + $10 * interval '1 ms', $11)
     on conflict (subscription, event_id) do update
     set attempts = delivery_retry.attempts + 1, retry_at = excluded.retry_at, reason = excluded.reason`,
    [...rowOf(given, delivery), delayMs, reason],
  );
}

/** Failed attempts until now; none where it does not wait. */
export async function attemptsOf(tx: Tx, { subscription, event }: Head): Promise<number> {
  const [row] = await tx.query<{ attempts: number }>('select attempts from delivery_retry where subscription = $1 and event_id = $2', [
    subscription,
    event.event_id,
  ]);
  return row?.attempts ?? 0;
}

/** Forgets one that is settled, and gives the next of its subject its turn. */
export async function leave(tx: Tx, { subscription, subject }: Place, eventId: string): Promise<void> {
  await tx.query('delete from delivery_retry where subscription = $1 and event_id = $2', [subscription, eventId]);
  await promote(tx, { subscription, subject });
}

/** Gives the first of a subject its turn, where it waits for nothing else. */
export async function promote(tx: Tx, { subscription, subject }: Place): Promise<void> {
  // By its id alone: written as a condition on `retry_at`, the other one could be looked up in an index of all that wait.
  await tx.query(
    `update delivery_retry set retry_at = now()
     where (retry_at = 'infinity' and parked_at is null) is true and subscription = $1
       and event_id = (select event_id from delivery_retry where subscription || ' ' || subject = $2 order by version, event_id limit 1)`,
    [subscription, placeOf({ subscription, subject })],
  );
}

export type Place = { readonly subscription: string; readonly subject: string };
export type Waiting = { readonly eventId: string; readonly subject: string; readonly delivery: Delivery };
type WaitingRow = Omit<Delivery, 'isHeld'> & { readonly event_id: string; readonly subject: string };
const waitingColumnsSql = 'event_id, subject, body, properties, headers';

function waitingOf({ event_id, subject, ...message }: WaitingRow): Waiting {
  return { eventId: event_id, subject, delivery: { ...message, isHeld: () => true } };
}

/** Up to `limit` deliveries whose time has come, each the first of its subject, the longest due ahead. */
export async function readDue(db: Db, subscription: string, limit: number): Promise<Waiting[]> {
  // Two ranges of one index. The second is later than any wait: the clock has been put back since.
  const rows = await db.query<WaitingRow>(
    `(select ${waitingColumnsSql} from delivery_retry
      where subscription || '' = $1 and retry_at <= now() order by retry_at limit $2)
     union all
     (select ${waitingColumnsSql} from delivery_retry
      where subscription || '' = $1 and retry_at > now() + interval '10 minutes' and retry_at < 'infinity' order by retry_at limit $2)`,
    [subscription, limit],
  );
  return rows.map(waitingOf);
}

/** Up to `limit` that are parked and of one of these types. */
export async function readParked(db: Db, subscription: string, types: readonly string[], limit: number): Promise<Waiting[]> {
  const rows = await db.query<WaitingRow>(
    `select ${waitingColumnsSql} from delivery_retry
     where (subscription = $1) is true and event_type = any ($2) and parked_at is not null order by event_type, parked_at limit $3`,
    [subscription, types, limit],
  );
  return rows.map(waitingOf);
}

/** Up to `limit` that were parked longer than `hours` ago. */
export async function readParkedLong(db: Db, subscription: string, hours: number, limit: number): Promise<Waiting[]> {
  const rows = await db.query<WaitingRow>(
    `select ${waitingColumnsSql} from delivery_retry
     where (subscription = $1) is true and parked_at < now() - $2 * interval '1 hour' limit $3`,
    [subscription, hours, limit],
  );
  return rows.map(waitingOf);
}

/** Takes a parked one out of its parking: it waits for its turn among those of its subject, by what its type says of it. */
export async function unpark(tx: Tx, { subscription, event, subject, version }: Head): Promise<void> {
  await tx.query(
    `update delivery_retry set parked_at = null, subject = $3, version = $4
     where subscription = $1 and event_id = $2 and parked_at is not null`,
    [subscription, event.event_id, subject, version],
  );
}

const rowColumnsSql = 'subscription, event_id, event_type, trace_id, subject, version, body, properties, headers';
const rowValuesSql = '$1, $2, $3, $4, $5, $6, $7, $8, $9';

function rowOf({ subscription, event, subject, version }: Head, { body, properties, headers }: Delivery) {
  return [subscription, event.event_id, event.event_type, event.trace_id, subject, version, body, toJson(properties), toJson(headers)];
}
