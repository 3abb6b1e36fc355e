// The inbox: ids of events that were handled, each written in the transaction of the effect, so that a second delivery
// finds it and does nothing.
import type { Db } from '../db/client.ts';
import type { Event } from './envelope.ts';

export type Claim = 'first' | 'duplicate' | 'stale';

/**
 * Takes an event, in the caller's transaction where there is one. 'duplicate': it was handled before. 'stale': a later version
 * of its subject was, as when this one failed and waited meanwhile. A delivery of the same event under way elsewhere is waited
 * for.
 */
export async function claim(db: Db, event: Event, subject: string, version: number): Promise<Claim> {
  const rows = await db.query(
    `insert into inbox (event_id, trace_id, subject, version)
     select $1, $2, $3, $4::bigint where not exists (select from inbox where subject = $3 and version >= $4::bigint)
     on conflict (event_id) do nothing
     returning event_id`,
    [event.event_id, event.trace_id, subject, version],
  );
  if (rows.length === 1) return 'first';
  const known = await db.query('select from inbox where event_id = $1', [event.event_id]);
  return known.length === 1 ? 'duplicate' : 'stale';
}

/** Removes up to `limit` ids of events handled longer ago than `days`. @returns how many */
export async function prune(db: Db, days: number, limit: number): Promise<number> {
  const rows = await db.query(
    `delete from inbox where event_id in (
       select event_id from inbox where handled_at < now() - $1 * interval '1 day' order by handled_at limit $2
     ) returning event_id`,
    [days, limit],
  );
  return rows.length;
}
