// What a subscription gave up, and what RabbitMQ gave up: rows with the message as it came. To find, to give to the subscription once
// more, to erase.
import type { Db, Tx } from '../../db/client.ts';
import { type Delivery, textOf, toJson } from '../contract/delivery.ts';
import type { Subjected } from './inbox.ts';
import { timestampSql } from './outbox.ts';

export type DeadLetter = {
  readonly id: string;
  readonly subscription: string;
  /** What the sender called the message. */
  readonly messageId: string | null;
  readonly eventId: string | null;
  readonly type: string | null;
  readonly traceId: string | null;
  readonly subject: string | null;
  readonly version: string | null;
  readonly attempts: number;
  readonly reason: string;
  readonly deadAt: string;
};

/** The message itself. */
export type DeadMessage = DeadLetter & Omit<Delivery, 'isHeld'>;

const columnsSql = `id, subscription, message_id as "messageId", event_id as "eventId", event_type as type, trace_id as "traceId", subject,
  version, attempts, reason, ${timestampSql('dead_at')} as "deadAt"`;
/** Of `$1`, ids, or message ids as their senders gave them; all where it is null. */
const namedSql = '($1::text[] is null or message_id = any($1) or id::text = any($1))';

type About = Partial<Subjected> & { readonly subscription: string; readonly attempts: number; readonly reason: string };

/** Keeps a delivery that nothing will be done about, in the transaction that decides so. */
export async function bury(
  db: Db,
  { body, properties, headers }: Delivery,
  { subscription, event, subject, version, attempts, reason }: About,
): Promise<void> {
  await db.query(
    `insert into dead_letter
       (message_id, event_id, event_type, trace_id, subject, version, attempts, reason, body, properties, headers, subscription)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      textOf(properties['messageId'], event?.event_id)?.replaceAll('\0', '') ?? null,
      event?.event_id ?? null,
      event?.event_type ?? textOf(properties['type'])?.replaceAll('\0', '') ?? null,
      event?.trace_id ?? textOf(headers['trace_id'], properties['correlationId'])?.replaceAll('\0', '') ?? null,
      subject ?? null,
      version ?? null,
      attempts,
      reason.replaceAll('\0', ''),
      body,
      toJson(properties),
      toJson(headers),
      subscription,
    ],
  );
}

/** Takes a letter out, in the transaction that decides about it. @param subscription left out: whichever it is of */
export async function take(tx: Tx, id: string, subscription?: string): Promise<DeadMessage | undefined> {
  const [letter] = await tx.query<DeadMessage>(
    `delete from dead_letter where id = $1 and ($2::text is null or subscription = $2) returning ${columnsSql}, body, properties, headers`,
    [id, subscription ?? null],
  );
  return letter;
}

export type Pick = {
  /** Left out: of all. */
  readonly subscription?: string | undefined;
  /** An id. */
  readonly after?: string | undefined;
  readonly limit: number;
};

/** The next `limit` after an id, in order. */
export function list(db: Db, { subscription, after = '0', limit }: Pick): Promise<DeadLetter[]> {
  return subscription === undefined
    ? db.query<DeadLetter>(`select ${columnsSql} from dead_letter where id > $1 order by id limit $2`, [after, limit])
    : db.query<DeadLetter>(`select ${columnsSql} from dead_letter where subscription || '' = $3 and id > $1 order by id limit $2`, [
        after,
        limit,
        subscription,
      ]);
}

/** @param names ids or message ids */
export function find(db: Db, names: readonly string[]): Promise<DeadMessage[]> {
  return db.query<DeadMessage>(`select ${columnsSql}, body, properties, headers from dead_letter where ${namedSql} order by id`, [names]);
}

/** @param names ids or message ids; all where it is undefined. @returns the ids, of those that are there */
export async function findIds(db: Db, names?: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string }>(`select id from dead_letter where ${namedSql} order by id`, [names ?? null]);
  return rows.map(({ id }) => id);
}

/** @param names ids or message ids; all where it is undefined. @returns how many were erased */
export async function erase(db: Db, names?: readonly string[]): Promise<number> {
  return (await db.query(`delete from dead_letter where ${namedSql} returning id`, [names ?? null])).length;
}

/** @returns whether it was there */
export async function eraseOne(db: Db, subscription: string, id: string): Promise<boolean> {
  return (await db.query('delete from dead_letter where subscription = $1 and id = $2 returning id', [subscription, id])).length === 1;
}

/** @returns how many were erased */
export async function eraseByReason(db: Db, words: string): Promise<number> {
  return (await db.query('delete from dead_letter where strpos(reason, $1) > 0 returning id', [words])).length;
}
