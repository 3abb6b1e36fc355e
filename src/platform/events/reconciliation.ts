// Holds the log against the inbox: an event that was published and never handled shows here, whatever became of the queue that had it.
import type { Db } from '../db/client.ts';
import type { Place } from './store/cursor.ts';
import { type LoggedEvent, readAfter } from './store/log.ts';
import { timestampSql } from './store/outbox.ts';
import { advance } from './subscriptions.ts';

export type Unsettled = {
  /** How many events of the log were looked at. */
  readonly looked: number;
  /** Those that were neither handled nor given up, and do not wait for anything, in order. */
  readonly unsettled: readonly LoggedEvent[];
  /** Notes that all of these are settled now. */
  advance(): Promise<void>;
};

/**
 * Finds what was published longer than `graceMs` ago, by where the log stood then: a clock of the database may be put forward and back,
 * and times in the log with it.
 */
export function createReconciliation(db: Db, subscription: string, graceMs: number): (limit: number) => Promise<Unsettled> {
  const published: { readonly at: number; readonly position: bigint }[] = [];

  /** How far the log was published `graceMs` ago; undefined where nobody looked then. */
  function pastOf(position: bigint): bigint | undefined {
    const now = performance.now();
    published.push({ at: now, position });
    while (published[1] !== undefined && published[1].at <= now - graceMs) published.shift();
    const [first] = published;
    return first !== undefined && first.at <= now - graceMs ? first.position : undefined;
  }

  return async (limit) => {
    const [state] = await db.query<{ position: string; at: string; published: string }>(
      `select position, ${timestampSql('subscription.logged_at')} as at, published_position as published
       from subscription, event_state where name = $1 and only_row`,
      [subscription],
    );
    const until = state && pastOf(BigInt(state.published));
    if (state === undefined || until === undefined || until <= BigInt(state.position)) return nothing;
    return findUnsettled(db, subscription, { position: state.position, loggedAt: state.at }, until, limit);
  };
}

const nothing: Unsettled = { looked: 0, unsettled: [], advance: async () => {} };

async function findUnsettled(db: Db, subscription: string, after: Place, until: bigint, limit: number): Promise<Unsettled> {
  const events = (await readAfter(db, after, limit)).filter(({ position }) => BigInt(position) <= until);
  const last = events.at(-1);
  if (last === undefined) return nothing;
  const rows = await db.query<{ event_id: string }>(
    // A lookup for each, whatever the planner believes of the tables' sizes: scalar subqueries are not made into joins.
    `select event_id from unnest($1::uuid[], $2::bigint[]) as given (event_id, position)
     where (select true from inbox where subscription = $3 and inbox.event_id = given.event_id) is null
       and (select true from delivery_retry where subscription = $3 and delivery_retry.event_id = given.event_id) is null
       and (select true from dead_letter where subscription = $3 and dead_letter.event_id = given.event_id limit 1) is null
       and (select true from event_retry where event_retry.position = given.position) is null`,
    [events.map(({ event }) => event.event_id), events.map(({ position }) => position), subscription],
  );
  const wanted = new Set(rows.map(({ event_id }) => event_id));
  return {
    looked: events.length,
    unsettled: events.filter(({ event }) => wanted.has(event.event_id)),
    advance: () => advance(db, subscription, last),
  };
}
