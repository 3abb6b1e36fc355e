// Attempts of effects that failed, kept for some days: by trace id they tell what became of a request's event.
import type { Db, Tx } from '../../db/client.ts';
import type { Subjected } from './inbox.ts';
import { timestampSql } from './outbox.ts';

export type FailedAttempt = {
  readonly subscription: string;
  readonly event_id: string;
  readonly event_type: string;
  readonly trace_id: string;
  /** 1 for the first. */
  readonly attempt: number;
  readonly reason: string;
  readonly failed_at: string;
};

export async function record(tx: Tx, { subscription, event }: Subjected, attempt: number, reason: string): Promise<void> {
  await tx.query(
    'insert into failed_attempt (subscription, event_id, event_type, trace_id, attempt, reason) values ($1, $2, $3, $4, $5, $6)',
    [subscription, event.event_id, event.event_type, event.trace_id, attempt, reason.replaceAll('\0', '')],
  );
}

/** The first `limit` of a trace id, in order. @param subscription left out: of all */
export function findByTrace(
  db: Db,
  traceId: string,
  { subscription, limit }: { readonly subscription?: string; readonly limit: number },
): Promise<FailedAttempt[]> {
  return db.query<FailedAttempt>(
    `select subscription, event_id, event_type, trace_id, attempt, reason, ${timestampSql('failed_at')} as failed_at
     from failed_attempt where trace_id = $1 and ($3::text is null or subscription = $3) order by id limit $2`,
    [traceId, limit, subscription ?? null],
  );
}

/** Removes up to `limit` that are older than `days`. @returns how many */
export async function prune(db: Db, days: number, limit: number): Promise<number> {
  const rows = await db.query(
    `delete from failed_attempt where id = any (array(
       select id from failed_attempt where failed_at < now() - $1 * interval '1 day' order by failed_at limit $2
     )) returning id`,
    [days, limit],
  );
  return rows.length;
}
