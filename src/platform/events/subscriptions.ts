// Subscriptions: who does something about events, each by its name, with an inbox, retries and dead letters of its own. One is fed by the
// queue, as the proof of the whole path; the others read the log from a place of their own.
import type { Db, Tx } from '../db/client.ts';
import type { Event, EventDefinition } from './contract/envelope.ts';
import type { Place } from './store/cursor.ts';

/** What a feature does about one type of event. */
export type Reaction = {
  /** Its effect on the database, in the transaction of the inbox row. */
  effect?(tx: Tx, event: Event): Promise<void>;
  /** What the event tells of: its kind, the name and value of its id, and the version that the event made. */
  about(event: Event): { readonly kind: string; readonly name: string; readonly id: string | number; readonly version: number };
  /** Whether the effect of a later version contains that of an earlier one: one that comes too late is then dropped, and counted. */
  readonly laterContainsEarlier?: boolean;
};

export type Subscription = {
  /** Stays as it is: its rows are found by it. */
  readonly name: string;
  /** `queue`: what RabbitMQ delivers from the queue of that name, or the relay inside the process. `log`: it reads the event log. */
  readonly source: 'queue' | 'log';
  /** By type of event; it leaves alone those of other types. */
  readonly reactions: Readonly<Record<string, Reaction>>;
};

/** @returns what keeps these from starting, in words: two of one name, a reaction to no event, an internal event that nobody gets */
export function subscriptionIssues(subscriptions: readonly Subscription[], definitions: readonly EventDefinition[]): string[] {
  const types = new Map(definitions.map((definition) => [definition.type, definition]));
  const names = subscriptions.map(({ name }) => name);
  const fromLog = subscriptions.filter(({ source }) => source === 'log');
  return [
    ...names.filter((name, n) => names.indexOf(name) !== n).map((name) => `Two subscriptions have the name "${name}".`),
    ...subscriptions.flatMap(({ name, source, reactions }) =>
      Object.keys(reactions).flatMap((type) => {
        const definition = types.get(type);
        if (definition === undefined) return [`The subscription "${name}" waits for ${type}, which is no type of event.`];
        if (source === 'queue' && definition.audience === 'internal')
          return [`The subscription "${name}" waits for ${type}, which is internal and reaches no queue: let it read the log.`];
        return [];
      }),
    ),
    ...definitions
      .filter(({ audience, type }) => audience === 'internal' && fromLog.every(({ reactions }) => reactions[type] === undefined))
      .map(({ type }) => `The event ${type} is internal, and no subscription that reads the log has a reaction to it.`),
  ];
}

/** Writes down subscriptions that are new: they begin at the end of the log as it is now. */
export async function register(db: Db, subscriptions: readonly Subscription[]): Promise<void> {
  await db.query(
    `insert into subscription (name, complete_since, position, logged_at)
     select name, now(), logged_position, logged_at from unnest($1::text[]) as given (name), event_state where only_row
     on conflict (name) do nothing`,
    [subscriptions.map(({ name }) => name)],
  );
}

/** Notes that everything up to a place in the log is settled. */
export async function advance(db: Db, subscription: string, { position, loggedAt }: Place): Promise<void> {
  await db.query('update subscription set position = $2, logged_at = $3 where name = $1 and position < $2', [
    subscription,
    position,
    loggedAt,
  ]);
}

export type SubscriptionState = {
  readonly name: string;
  readonly source: Subscription['source'];
  /** Committed events that it has yet to settle; those that wait for a retry not among them. */
  readonly backlog: number;
  /** Age of the oldest of them. */
  readonly lagSeconds: number;
  /** Events that failed and will be tried again, and those behind them. */
  readonly retries: number;
  /** Events of a type that no version that runs has known until now. */
  readonly parked: number;
  readonly deadLetters: number;
};

/** Rows that are counted one by one; of more, the number is an estimate from above. */
const countedMax = 10_000;

type StateRow = {
  name: string;
  outbox: string;
  outbox_at: Date | null;
  unread: string;
  unread_at: Date | null;
  unsettled: string | null;
  unsettled_at: Date | null;
  retries: string;
  parked: string;
  dead: string;
  now: Date;
};

/** The state of each, by one statement. What the queue holds shows in the log: published, and not in the inbox. */
export async function readStates(db: Db, subscriptions: readonly Subscription[]): Promise<SubscriptionState[]> {
  const counted = (table: string, condition: string) =>
    `(select count(*) from (select from ${table} where subscription = s.name and ${condition} limit ${countedMax}) as counted)`;
  const rows = await db.query<StateRow>(
    `select s.name, clock_timestamp() as now,
       (select count(*) from (select from outbox limit ${countedMax}) as counted) as outbox,
       (select occurred_at from outbox order by position limit 1) as outbox_at,
       state.logged_position - s.position as unread,
       (select occurred_at from event where position = s.position + 1 and logged_at >= s.logged_at limit 1) as unread_at,
       unsettled.count as unsettled, unsettled.at as unsettled_at,
       ${counted('delivery_retry', 'parked_at is null')} as retries,
       ${counted('delivery_retry', 'parked_at is not null')} as parked,
       ${counted('dead_letter', 'true')} as dead
     from subscription as s
     join event_state as state on state.only_row
     left join lateral (
       select count(*) as count, min(occurred_at) as at from (
         select occurred_at from event
         where position > s.position and position <= s.position + ${countedMax} and logged_at >= s.logged_at and not internal
           and (select true from inbox where subscription = s.name and inbox.event_id = event.event_id) is null
           and (select true from delivery_retry where subscription = s.name and delivery_retry.event_id = event.event_id) is null
           and (select true from dead_letter where subscription = s.name and dead_letter.event_id = event.event_id limit 1) is null
       ) as found
     ) as unsettled on s.name = any ($2) and state.logged_position - s.position <= ${countedMax}
     where s.name = any ($1) order by s.name`,
    [subscriptions.map(({ name }) => name), subscriptions.filter(({ source }) => source === 'queue').map(({ name }) => name)],
  );
  return rows.map((row) => {
    const isExact = row.unsettled !== null;
    const waiting = Number(isExact ? row.unsettled : row.unread);
    const oldest = [isExact ? row.unsettled_at : row.unread_at, row.outbox_at].filter((at) => at !== null);
    const lagMs = Math.max(0, ...oldest.map((at) => row.now.getTime() - at.getTime()));
    return {
      name: row.name,
      source: subscriptions.find(({ name }) => name === row.name)?.source ?? 'log',
      backlog: waiting + Number(row.outbox),
      lagSeconds: lagMs / 1000,
      retries: Number(row.retries),
      parked: Number(row.parked),
      deadLetters: Number(row.dead),
    };
  });
}
