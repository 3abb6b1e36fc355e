// The inbox: events that were handled, each written in the transaction of its effect, so that a second delivery finds it and does
// nothing, and so that the effects of a subject come in the order of its versions.
import DataLoader from 'dataloader';
import type { Db, Tx } from '../../db/client.ts';
import { DatabaseUnavailableError } from '../../db/unavailable.ts';
import type { Event } from '../contract/envelope.ts';
import { type LoggedEvent, readSubject } from './log.ts';

/** An event that a subscription has, with what it tells of. */
export type Subjected = {
  readonly subscription: string;
  readonly event: Event;
  readonly subject: string;
  readonly version: number;
};

// Nothing of the subject waits, and this event was not given up. Each looks for the first row in the order of its index, for each event
// by itself: a planner that believes that every row is of this subject would else read the table.
const placeSql = `$1::text || ' ' || given.subject`;
const freeSql = `(select version from delivery_retry where subscription || ' ' || subject = ${placeSql} order by version limit 1) is null
  and (select true from dead_letter where subscription = $1 and dead_letter.event_id = given.event_id limit 1) is null`;
const lastSql = `(select version from inbox where subscription || ' ' || inbox.subject = ${placeSql} order by version desc limit 1)`;
/** The inbox keeps ids for so long, and what is older than `sinceDays` is not asked for. */
export const inboxDays = 7;
export const sinceDays = 6;
const sinceSql = `(select greatest(complete_since, now() - interval '${sinceDays} days') from subscription where name = $1)`;
/** A retry that is due later than any can be: the clock has been put back since. */
export const retryMinutesMax = 10;
const claimsMax = 100;

const insertSql =
  'insert into inbox (subscription, event_id, trace_id, subject, version) select $1::text, event_id, trace_id, subject, version from';
const onceSql = 'on conflict (subscription, event_id) do nothing returning event_id';
const givenSql = 'unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[]) as given (event_id, trace_id, subject, version)';

/** The one after the last that was handled. */
const nextSql = `${insertSql} ${givenSql} where ${freeSql} and coalesce(${lastSql}, 0) = given.version - 1 ${onceSql}`;
/**
 * Where none is known, the only one of its subject in the log of these days. A statement of its own: who waits to change the table of the
 * log would else stop every event, and inside one process the relay's transaction, which that change waits for, waits for the event.
 */
const onlySql = `${insertSql} ${givenSql} where ${freeSql} and ${lastSql} is null
  and (select position from event where event.subject = given.subject and event.event_id <> given.event_id and logged_at >= ${sinceSql}
       order by position desc limit 1) is null ${onceSql}`;

/** A subject within a subscription, as the indexes have it. */
export const placeOf = ({ subscription, subject }: Pick<Subjected, 'subscription' | 'subject'>) => `${subscription} ${subject}`;

/** As PostgreSQL gives it back. */
const idOf = ({ event }: Subjected) => event.event_id.toLowerCase();

/** Of one subscription. */
const valuesOf = (given: readonly Subjected[]) => [
  given[0]?.subscription,
  given.map(({ event }) => event.event_id),
  given.map(({ event }) => event.trace_id),
  given.map(({ subject }) => subject),
  given.map(({ version }) => version),
];

/**
 * Takes an event whose turn it plainly is: the one after the last that was handled, or the only one of its subject for days.
 * @returns false where that does not show at a glance; `lockSubject` and `readState` tell more
 */
export async function claimNext(db: Db, given: Subjected): Promise<boolean> {
  return (await claimEach(db, [given])).has(idOf(given));
}

/** As `claimNext`, for an event that has no effect in its transaction: those that come in one turn of the event loop share a statement. */
export function createClaims(db: Db): (given: Subjected) => Promise<boolean> {
  // What comes while one is under way shares the next: the busier it is, the less it costs.
  let underWay: Promise<unknown> = Promise.resolve();

  async function claimAll(all: readonly Subjected[]): Promise<(boolean | Error)[]> {
    try {
      const taken = new Set(await claimEach(db, all));
      // Should an id come twice, it is taken once.
      return all.map((one) => taken.delete(idOf(one)));
    } catch (error) {
      if (error instanceof DatabaseUnavailableError || all.length === 1) throw error;
      // One that PostgreSQL does not take is the trouble of that one.
      const each = await Promise.allSettled(all.map((one) => claimEach(db, [one])));
      return each.map((settled) => (settled.status === 'fulfilled' ? settled.value.size === 1 : (settled.reason as Error)));
    }
  }

  const loader = new DataLoader<Subjected, boolean>(
    (all) => {
      const claiming = claimAll(all);
      underWay = claiming.catch(() => {});
      return claiming;
    },
    { cache: false, maxBatchSize: claimsMax, batchScheduleFn: (dispatch) => void underWay.then(() => setImmediate(dispatch)) },
  );
  return (given) => loader.load(given);
}

/** Of one subject at most one. @returns the ids of those that were taken */
async function claimEach(db: Db, all: readonly Subjected[]): Promise<ReadonlySet<string>> {
  // In one order everywhere: an instance that takes the same events meanwhile waits for this one, and not the other way round too.
  const given = all.toSorted((one, other) => (idOf(one) < idOf(other) ? -1 : 1));
  const next = await insert(db, nextSql, given);
  const others = given.filter((one) => one.version > 1 && !next.has(idOf(one)));
  return others.length === 0 ? next : next.union(await insert(db, onlySql, others));
}

async function insert(db: Db, text: string, given: readonly Subjected[]): Promise<Set<string>> {
  const rows = await db.query<{ event_id: string }>(text, valuesOf(given));
  return new Set(rows.map(({ event_id }) => event_id));
}

/** Takes an event, whatever was handled before. A transaction under way that takes the same one is waited for. @returns false if it was taken before */
export async function claim(tx: Db, given: Subjected): Promise<boolean> {
  const rows = await tx.query(`${insertSql} ${givenSql} ${onceSql}`, valuesOf([given]));
  return rows.length === 1;
}

/** Until the transaction ends, no other one decides about events of this subject. `claimNext` needs no lock: it takes only the very next. */
export async function lockSubject(tx: Tx, { subscription, subject }: Pick<Subjected, 'subscription' | 'subject'>): Promise<void> {
  // "inbx" in ASCII.
  await tx.query('select pg_advisory_xact_lock(1768841848, hashtext($1))', [placeOf({ subscription, subject })]);
}

export type State = {
  readonly handled: boolean;
  /** Given up, and not on its way once more. */
  readonly dead: boolean;
  /** The last version of the subject that was handled, if any is known. */
  readonly last: number | undefined;
  /** Whether this event waits, and whether its time has come. */
  readonly waiting: 'due' | 'not due' | undefined;
  /** Whether an earlier version of the subject waits. */
  readonly behind: boolean;
};

/** Under the lock of the subject. */
export async function readState(tx: Tx, given: Subjected): Promise<State> {
  const [row] = await tx.query<{ handled: boolean; dead: boolean; last: string | null; due: boolean | null; behind: boolean }>(
    `select exists (select from inbox where subscription = $4 and event_id = $1) as handled,
       exists (select from dead_letter where subscription = $4 and event_id = $1) as dead,
       (select version from inbox where subscription || ' ' || subject = $2 order by version desc limit 1) as last,
       (select retry_at <= now() or (retry_at > now() + interval '${retryMinutesMax} minutes' and retry_at < 'infinity')
        from delivery_retry where subscription = $4 and event_id = $1) as due,
       coalesce(
         (select version from delivery_retry where subscription || ' ' || subject = $2 and event_id <> $1 order by version limit 1) < $3,
         false) as behind`,
    [given.event.event_id, placeOf(given), given.version, given.subscription],
  );
  const { handled = false, dead = false, last = null, due = null, behind = false } = row ?? {};
  return {
    handled,
    dead,
    last: last === null ? undefined : Number(last),
    waiting: due === null ? undefined : due ? 'due' : 'not due',
    behind,
  };
}

const pageSize = 200;
const pagesMax = 50;

/**
 * Events of the subject before the given one that stand in the log and were neither handled nor given up, in order: they were not
 * delivered, or come later than this one.
 * @param read makes of an event of the log what a handler takes; undefined for one that has no handler
 */
export async function findMissing<Read extends Subjected>(
  tx: Tx,
  given: Subjected,
  last: number | undefined,
  read: (logged: LoggedEvent) => Read | undefined,
): Promise<Read[]> {
  const earlier: Read[] = [];
  // Without a last version, time tells what the inbox would know.
  const [row] = last === undefined ? await tx.query<{ since: string }>(`select ${sinceSql}::text as since`, [given.subscription]) : [];
  for (let pages = 0, before: string | undefined, isFirst = false; pages < pagesMax && !isFirst; pages += 1) {
    const page = await readSubject(tx, given.subject, { before, since: row?.since, limit: pageSize });
    const known = page.map(read).filter((one) => one !== undefined);
    earlier.push(...known.filter(({ version }) => version < given.version && version > (last ?? 0)));
    before = page.at(-1)?.position;
    isFirst = page.length < pageSize || known.some(({ version }) => version <= (last ?? 0));
  }
  if (earlier.length === 0) return [];
  const unsettled = await tx.query<{ event_id: string }>(
    // A lookup for each, whatever the planner believes of the tables' sizes: scalar subqueries are not made into joins.
    `select event_id from unnest($1::uuid[]) as given (event_id)
     where (select true from inbox where subscription = $2 and inbox.event_id = given.event_id) is null
       and (select true from dead_letter
            where subscription = $2 and dead_letter.event_id = given.event_id limit 1) is null`,
    [earlier.map(({ event }) => event.event_id), given.subscription],
  );
  const wanted = new Set(unsettled.map(({ event_id }) => event_id));
  return earlier.filter(({ event }) => wanted.has(event.event_id)).reverse();
}

/** Removes up to `limit` ids of events handled longer ago than `days`. @returns how many */
export async function prune(db: Db, days: number, limit: number): Promise<number> {
  const rows = await db.query(
    `delete from inbox where ctid = any (array(
       select ctid from inbox where handled_at < now() - $1 * interval '1 day' order by handled_at limit $2
     )) returning event_id`,
    [days, limit],
  );
  return rows.length;
}
