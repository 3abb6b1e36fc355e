// The inbox: events that were handled, each written in the transaction of its effect, so that a second delivery finds it and does
// nothing, and so that the effects of a subject come in the order of its versions.
import type { Db, Tx } from '../db/client.ts';
import type { Event } from './envelope.ts';
import { type LoggedEvent, readSubject } from './log.ts';

/** An event with what it tells of. */
export type Subjected = { readonly event: Event; readonly subject: string; readonly version: number };

// Nothing of the subject waits, and this event was not given up. Each looks for the first row in the order of its index: a planner that
// believes that every row is of this subject would else read the table.
const freeSql = `(select version from delivery_retry where subject = $3 order by version limit 1) is null
  and not exists (select from dead_letter where dead_letter.event_id = $1 and redriven_at is null)`;
const lastSql = '(select version from inbox where subject = $3 order by version desc limit 1)';
/** The inbox keeps ids for `inboxDays`; the rest is for clocks that differ. */
const sinceSql = `(select greatest(complete_since, now() - interval '6 days') from inbox_state where only_row)`;
export const inboxDays = 7;

const valuesOf = ({ event, subject, version }: Subjected) => [event.event_id, event.trace_id, subject, version];

/**
 * Takes an event whose turn it plainly is: the one after the last that was handled, or the only one of its subject for days.
 * @returns false where that does not show at a glance; `lock` and `readState` tell more
 */
export async function claimNext(db: Db, given: Subjected): Promise<boolean> {
  const insert = 'insert into inbox (event_id, trace_id, subject, version) select $1::uuid, $2, $3, $4::bigint';
  const after = 'on conflict (event_id) do nothing returning event_id';
  const next = await db.query(`${insert} where ${freeSql} and coalesce(${lastSql}, 0) = $4::bigint - 1 ${after}`, valuesOf(given));
  if (next.length === 1 || given.version === 1) return next.length === 1;
  const only = await db.query(
    `${insert} where ${freeSql} and ${lastSql} is null
       and (select position from event where subject = $3 and event_id <> $1::uuid and logged_at >= ${sinceSql}
            order by position desc limit 1) is null ${after}`,
    valuesOf(given),
  );
  return only.length === 1;
}

/** Takes an event, whatever was handled before. A transaction under way that takes the same one is waited for. @returns false if it was taken before */
export async function claim(tx: Db, given: Subjected): Promise<boolean> {
  const rows = await tx.query(
    `insert into inbox (event_id, trace_id, subject, version) values ($1, $2, $3, $4)
     on conflict (event_id) do nothing returning event_id`,
    valuesOf(given),
  );
  return rows.length === 1;
}

/** Until the transaction ends, no other one decides about events of this subject. `claimNext` needs no lock: it takes only the very next. */
export async function lockSubject(tx: Tx, subject: string): Promise<void> {
  // "inbx" in ASCII.
  await tx.query('select pg_advisory_xact_lock(1768841848, hashtext($1))', [subject]);
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
    `select exists (select from inbox where event_id = $1) as handled,
       exists (select from dead_letter where event_id = $1 and redriven_at is null) as dead,
       ${lastSql.replace('$3', '$2')} as last,
       (select retry_at <= now() or (retry_at > now() + interval '10 minutes' and retry_at < 'infinity')
        from delivery_retry where event_id = $1) as due,
       coalesce((select version from delivery_retry where subject = $2 and event_id <> $1 order by version limit 1) < $3, false) as behind`,
    [given.event.event_id, given.subject, given.version],
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
  const [row] = last === undefined ? await tx.query<{ since: string }>(`select ${sinceSql}::text as since`) : [];
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
     where (select true from inbox where inbox.event_id = given.event_id) is null
       and (select true from dead_letter where dead_letter.event_id = given.event_id and redriven_at is null limit 1) is null`,
    [earlier.map(({ event }) => event.event_id)],
  );
  const wanted = new Set(unsettled.map(({ event_id }) => event_id));
  return earlier.filter(({ event }) => wanted.has(event.event_id)).reverse();
}

/** Removes up to `limit` ids of events handled longer ago than `days`. @returns how many */
export async function prune(db: Db, days: number, limit: number): Promise<number> {
  const rows = await db.query(
    `delete from inbox where event_id = any (array(
       select event_id from inbox where handled_at < now() - $1 * interval '1 day' order by handled_at limit $2
     )) returning event_id`,
    [days, limit],
  );
  return rows.length;
}
