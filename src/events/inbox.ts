// The inbox: ids of events that were handled, each written in the transaction of the effect, so that a second delivery
// finds it and does nothing.
import type { Db, Tx } from '../db/client.ts';
import type { Event } from './envelope.ts';

/** @returns false where the event was handled before; a delivery under way elsewhere is waited for */
export async function claim(tx: Tx, event: Event): Promise<boolean> {
  const rows = await tx.query(
    'insert into inbox (event_id, trace_id) values ($1, $2) on conflict (event_id) do nothing returning event_id',
    [event.event_id, event.trace_id],
  );
  return rows.length === 1;
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
