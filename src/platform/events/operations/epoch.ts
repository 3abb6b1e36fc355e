// The epoch of the log, which its cursors carry. A log that comes from a backup gives out the same positions once more, for other
// events: it needs another epoch.
import type { Db } from '../../db/client.ts';

export async function replaceEpoch(db: Db): Promise<void> {
  await db.query('update event_state set epoch = default, restored_at = now() where only_row');
}
