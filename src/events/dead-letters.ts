// What the consumer gave up, and what RabbitMQ gave up: rows with the message as it came. To find, to send to the consumer once more, to
// erase.
import type { Db, Pool } from '../db/client.ts';
import { type Delivery, textOf, toJson } from './delivery.ts';
import * as inbox from './inbox.ts';
import * as retries from './retries.ts';

export type DeadLetter = {
  /** What the sender called the message, or its number here where it has no name. */
  readonly id: string;
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

const columnsSql = `coalesce(message_id, id::text) as id, event_type as type, trace_id as "traceId", subject, version, attempts, reason,
  to_char(dead_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "deadAt"`;
/** Of `$1`, names as `list` shows them; all where it is null. */
const namedSql = '($1::text[] is null or message_id = any($1) or id::text = any($1))';

type About = Partial<inbox.Subjected> & { readonly attempts: number; readonly reason: string };

/** Keeps a delivery that nothing will be done about, in the transaction that decides so. */
export async function bury(
  db: Db,
  { body, properties, headers }: Delivery,
  { event, subject, version, attempts, reason }: About,
): Promise<void> {
  await db.query(
    `insert into dead_letter (message_id, event_id, event_type, trace_id, subject, version, attempts, reason, body, properties, headers)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
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
    ],
  );
}

export function list(db: Db): Promise<DeadLetter[]> {
  return db.query<DeadLetter>(`select ${columnsSql} from dead_letter order by dead_letter.id`);
}

export function find(db: Db, names: readonly string[]): Promise<DeadMessage[]> {
  return db.query<DeadMessage>(
    `select ${columnsSql}, body, properties, headers from dead_letter where ${namedSql} order by dead_letter.id`,
    [names],
  );
}

/** @param names all where it is undefined. @returns how many were erased */
export async function erase(db: Db, names?: readonly string[]): Promise<number> {
  return (await db.query(`delete from dead_letter where ${namedSql} returning id`, [names ?? null])).length;
}

/** @returns how many were erased */
export async function eraseByReason(db: Db, words: string): Promise<number> {
  return (await db.query('delete from dead_letter where strpos(reason, $1) > 0 returning id', [words])).length;
}

/** How a letter is given to the consumer again: resolves to what was left out of it, rejects with the reason where it cannot be. */
export type Send = (letter: Omit<Delivery, 'isHeld'>) => Promise<readonly string[]>;

export type Redriven = { readonly id: string; readonly leftOut: readonly string[]; readonly failed?: string };

/**
 * Gives letters to the consumer again, with all attempts before them. One that cannot be sent stays, and the others go on.
 * @param names all where it is undefined
 * @param send left out: the letter waits in the database for the consumer, without a broker
 */
export async function redrive(pool: Pool, names: readonly string[] | undefined, send: Send | undefined): Promise<Redriven[]> {
  // Those of now: what is given up again meanwhile has a number of its own.
  const letters = await pool.query<{ number: string }>(`select id as number from dead_letter where ${namedSql} order by id`, [
    names ?? null,
  ]);
  const redriven: Redriven[] = [];
  for (const { number } of letters) {
    const [letter] = await pool.query<DeadMessage & { event_id: string | null }>(
      // Marked first: the consumer takes it only from then on.
      `update dead_letter set redriven_at = now() where id = $1 returning ${columnsSql}, event_id, body, properties, headers`,
      [number],
    );
    if (letter === undefined) continue;
    try {
      const leftOut = send === undefined ? await requeue(pool, letter) : await send(letter);
      await pool.query('delete from dead_letter where id = $1', [number]);
      redriven.push({ id: letter.id, leftOut });
    } catch (error) {
      await pool.query('update dead_letter set redriven_at = null where id = $1', [number]);
      redriven.push({ id: letter.id, leftOut: [], failed: (error as Error).message });
    }
  }
  return redriven;
}

async function requeue(pool: Pool, letter: DeadMessage & { readonly event_id: string | null }): Promise<string[]> {
  const { event_id, type, traceId, subject, version, body, properties, headers } = letter;
  if (event_id === null || type === null || traceId === null || subject === null || version === null)
    throw new Error('it is no event of ours');
  const event = { event_id, event_type: type, trace_id: traceId };
  await pool.inTransaction(async (tx) => {
    await inbox.lockSubject(tx, subject);
    await retries.park(tx, { event, subject, version: Number(version) }, { body, properties, headers, isHeld: () => true });
    await retries.promote(tx, subject);
  });
  return [];
}
