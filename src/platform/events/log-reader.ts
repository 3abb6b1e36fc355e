// Reads the log for one subscription, from where it stands: one reader is active over all instances, and its place moves on only past
// what is settled. An event that is read twice finds itself in the inbox.
import type { Pool } from '../db/client.ts';
import { createSlots } from '../runtime/slots.ts';
import type { Place } from './store/cursor.ts';
import { type LoggedEvent, readAfter } from './store/log.ts';
import { timestampSql } from './store/outbox.ts';
import { advance } from './subscriptions.ts';

/** Events that are settled beside each other; each takes a connection. */
export const settledAtOnce = 4;
/**
 * No further event of a round is started after this. PostgreSQL ends the transaction that holds the lock if an effect takes long after
 * it; then another instance reads the same events, and the inbox has those that are settled.
 */
const roundMs = 3000;

export type LogReader = {
  /** Takes the next `limit` events of the log. @returns how many; 0 also where another instance reads */
  readOnce(limit: number): Promise<number>;
};

/**
 * @param locks for the transaction that holds the lock for as long as a round takes: no connection that `settle` waits for
 * @param settle resolves to false where the event is not settled, since the service stops
 */
export function createLogReader(locks: Pool, subscription: string, settle: (logged: LoggedEvent) => Promise<boolean>): LogReader {
  // "subs" in ASCII.
  const lock = { key: 1937072755, name: subscription };
  return {
    async readOnce(limit) {
      const read = await locks.underLock(lock, async (tx) => {
        const [place] = await tx.query<Place>(
          `select position, ${timestampSql('logged_at')} as "loggedAt" from subscription where name = $1`,
          [subscription],
        );
        if (place === undefined) return 0;
        const events = await readAfter(tx, place, limit);
        const settled = await settleEach(events, settle);
        // Up to the first that is not; what is settled behind it is found in the inbox when it is read again.
        const unsettled = events.findIndex((logged) => !settled.has(logged));
        const last = events.at(unsettled === -1 ? -1 : unsettled - 1);
        if (unsettled !== 0 && last !== undefined) await advance(tx, subscription, last);
        return events.length;
      });
      return read ?? 0;
    },
  };
}

/** Those of one subject in order, others beside each other. @returns those that are settled */
async function settleEach(
  events: readonly LoggedEvent[],
  settle: (logged: LoggedEvent) => Promise<boolean>,
): Promise<ReadonlySet<LoggedEvent>> {
  const settled = new Set<LoggedEvent>();
  const slots = createSlots(settledAtOnce);
  const startedAt = performance.now();
  async function settleInOrder(ofSubject: readonly LoggedEvent[]): Promise<void> {
    for (const logged of ofSubject) {
      if (performance.now() - startedAt > roundMs || !(await settle(logged))) return;
      settled.add(logged);
    }
  }
  const bySubject = Map.groupBy(events, ({ subject }) => subject);
  await Promise.all([...bySubject.values()].map((ofSubject) => slots.run(() => settleInOrder(ofSubject))));
  return settled;
}
