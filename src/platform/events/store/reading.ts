// Reading the log by a cursor. A reading and the bounds of the log are of one snapshot: a reader whose events have expired, or
// whose log was replaced by a backup, is refused; it never goes on past what it has missed.

import type { Db } from '../../db/client.ts';
import { DatabaseUnavailableError } from '../../db/unavailable.ts';
import { Problem } from '../../problem.ts';
import { createSlots } from '../../runtime/slots.ts';
import { problems as own } from '../contract/problems.ts';
import { type Cursor, isBefore } from './cursor.ts';
import { columnsSql, type EventRow, type LoggedEvent, toLogged } from './log.ts';
import { timestampSql } from './outbox.ts';

export type Filter = { readonly subject?: string | undefined; readonly types?: readonly string[] | undefined };

/**
 * Events after a cursor, and the cursor after them; at the end of the log that is the end. There may be none though others follow:
 * those that were looked at were internal, or not what the filter lets through.
 */
export type Reading = { readonly events: readonly LoggedEvent[]; readonly next: Cursor; readonly end: Cursor };

/** How many positions one reading looks at, so that a filter by type that lets little through costs no more than one that lets all. */
const positionsMax = 20_000;
const positionMax = '9223372036854775807';
const beginning = '1970-01-01T00:00:00.000000Z';

type StateRow = { end_position: string; end_logged_at: string; expired_position: string; epoch: string; restored: boolean };

const stateSql = `logged_position as end_position, ${timestampSql('logged_at')} as end_logged_at, expired_position, epoch,
  restored_at is not null as restored`;

function endOf({ end_position, end_logged_at, epoch }: StateRow): Cursor {
  return { position: end_position, loggedAt: end_logged_at, epoch };
}

export async function readEnd(db: Db): Promise<Cursor> {
  const [row] = await db.query<StateRow>(`select ${stateSql} from event_state where only_row`);
  if (row === undefined) throw new Error('event_state has lost its row');
  return endOf(row);
}

/**
 * The next public events after a cursor, in order: up to `limit` of those that the filter lets through, among the next `positionsMax`.
 * @param after left out: from the oldest event that is kept
 * @throws cursor_expired
 */
export async function readLog(db: Db, after: Cursor | undefined, limit: number, filter: Filter = {}): Promise<Reading> {
  const from = 'coalesce($1::bigint, state.expired_position)';
  const values: unknown[] = [after?.position ?? null, after?.loggedAt ?? beginning, limit];
  const conditions = ['logged_at >= $2', 'not internal'];
  let order = 'position';
  let lookedMax: number | undefined;
  if (filter.subject !== undefined && filter.types === undefined) {
    // One range of the index (subject, position), from a cursor to the end: its rows are those that are wanted. Written with `=`, it
    // might be read by position, where the statistics say that most events are of one subject.
    const subject = `$${values.push(filter.subject)}::text`;
    conditions.push(`(subject, position) > (${subject}, ${from})`, `(subject, position) <= (${subject}, ${positionMax})`);
    order = 'subject, position';
  } else {
    // Positions are dense: without a filter no more of them are looked at than are taken, whatever the plan.
    lookedMax = filter.types === undefined ? limit : positionsMax;
    conditions.push(`position > ${from}`, `position <= ${from} + $${values.push(lookedMax)}::bigint`);
    if (filter.subject !== undefined) conditions.push(`subject = $${values.push(filter.subject)}`);
    if (filter.types !== undefined) conditions.push(`event_type = any($${values.push(filter.types)})`);
  }
  const rows = await db.query<StateRow & (EventRow | { position: null })>(
    `select state.*, found.*
     from (select ${stateSql} from event_state where only_row) as state
     left join lateral (
       select ${columnsSql} from event where ${conditions.join(' and ')} order by ${order} limit $3
     ) as found on true
     order by found.position`,
    values,
  );
  const [state] = rows;
  if (state === undefined) throw new Error('event_state has lost its row');
  const end = endOf(state);
  const cursor = after ?? { position: state.expired_position, loggedAt: beginning, epoch: state.epoch };
  refuseExpired(cursor, state, end);

  const events = rows.filter((row): row is StateRow & EventRow => row.position !== null).map(toLogged);
  const last = events.at(-1);
  if (last !== undefined && events.length === limit) return { events, next: { ...placeOf(last), epoch: end.epoch }, end };
  if (lookedMax === undefined) return { events, next: end, end };
  const lookedAt = (BigInt(cursor.position) + BigInt(lookedMax)).toString();
  if (!isBefore(lookedAt, end.position)) return { events, next: end, end };
  return { events, next: { position: lookedAt, loggedAt: last?.loggedAt ?? cursor.loggedAt, epoch: end.epoch }, end };
}

export function placeOf({ position, loggedAt }: LoggedEvent) {
  return { position, loggedAt };
}

function refuseExpired({ position, loggedAt, epoch }: Cursor, { expired_position, restored }: StateRow, end: Cursor): void {
  const refuse = (reason: string): never => {
    throw new Problem(own.cursor_expired, `${reason} Take a new snapshot from /users/snapshot and go on from its cursor.`);
  };
  // A cursor from before the epochs is of the first one.
  if (epoch === undefined ? restored : epoch !== end.epoch) refuse('The log was restored from a backup after this cursor was given out.');
  if (isBefore(position, expired_position)) refuse('Events after this cursor have expired.');
  // As after a restore that nobody told of: waiting until the log gets there would skip what is written meanwhile.
  if (isBefore(end.position, position) || end.loggedAt < loggedAt) refuse('This cursor is beyond the end of the log.');
}

/** Whether a filter lets an event through, as the conditions of `readLog` do. */
export function matches({ subject, types }: Filter, logged: LoggedEvent): boolean {
  return (subject === undefined || subject === logged.subject) && (types === undefined || types.includes(logged.event.event_type));
}

export type Reader = {
  /** As `readLog`. Who waits for a connection at the same cursor as another shares its reading. */
  read(after: Cursor | undefined, limit: number, filter?: Filter): Promise<Reading>;
};

/** So that with a second try a reader still has its answer within three seconds. */
const againMsMax = 1200;

/** @param statementsMax how many connections of `db` it may use at once; other readers wait, however many they are */
export function createReader(db: Db, statementsMax: number): Reader {
  const slots = createSlots(statementsMax);
  const queued = new Map<string, Promise<Reading>>();
  let failure: { readonly at: number; readonly error: unknown } | undefined;

  async function start(queuedAt: number, ...[after, limit, filter]: Parameters<Reader['read']>): Promise<Reading> {
    // A database that did not answer those ahead would make each one behind wait as long again.
    if (failure !== undefined && failure.at > queuedAt) throw failure.error;
    try {
      return await readTwice(after, limit, filter);
    } catch (error) {
      if (error instanceof DatabaseUnavailableError) failure = { at: performance.now(), error };
      throw error;
    }
  }

  // A connection that was lost, or that a busy machine could not make in time, is no outage yet.
  async function readTwice(...wanted: Parameters<Reader['read']>): Promise<Reading> {
    const startedAt = performance.now();
    try {
      return await readLog(db, ...wanted);
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError) || performance.now() - startedAt > againMsMax) throw error;
      return readLog(db, ...wanted);
    }
  }

  return {
    read(...wanted) {
      const key = JSON.stringify(wanted);
      const shared = queued.get(key);
      if (shared !== undefined) return shared;
      const queuedAt = performance.now();
      const reading = slots.run(async () => {
        // Not before the entry is there.
        await undefined;
        // From here on a reading may miss what a new reader asks for.
        queued.delete(key);
        return start(queuedAt, ...wanted);
      });
      queued.set(key, reading);
      return reading;
    },
  };
}
