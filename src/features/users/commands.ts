// Changing users. Each change and its event are one statement, and so one transaction and one round trip.

import type { Db, Pool } from '../../platform/db/client.ts';
import { appendSql, appendValues, timestampSql } from '../../platform/events/store/outbox.ts';
import { Problem } from '../../platform/problem.ts';
import type { Caller } from '../../platform/runtime/turns.ts';
import { isHash, type Passwords } from '../../platform/security/passwords.ts';
import { raiseNextId } from './adoption.ts';
import { created, deleted, kind, updated } from './events.ts';
import { type FieldName, fieldNames, shownNames } from './fields.ts';
import { problems as own } from './problems.ts';
import { columnsSql, type UserRow, userNotFound, userOf } from './queries.ts';
import { isIdTaken, refusalOf } from './refusals.ts';
import type { NewUser, User, UserChange } from './schemas.ts';

export type CommandParts = {
  readonly db: Db;
  readonly passwords: Passwords;
  /** Whether events carry the user, or only its id and version. */
  readonly eventPayload: Payload;
};
type Payload = 'full' | 'id';

function dataSql(changed: string, payload: Payload): string {
  const user = `json_build_object('id', id, ${shownNames.map((name) => `'${name}', ${name}`).join(', ')},
    'created_at', ${timestampSql('created_at')}, 'updated_at', ${timestampSql('updated_at')})`;
  return `json_build_object('user_id', id, 'version', version, 'changed', ${changed}${payload === 'full' ? `, 'user', ${user}` : ''})`;
}

/** A text is made once, so that looking up what was prepared for it costs nothing. */
function eachPayload(make: (payload: Payload) => string): Readonly<Record<Payload, string>> {
  return { full: make('full'), id: make('id') };
}

/** After an instant, and now if that is later: it never runs back, whatever the clock does, and never leaves the years of the API. */
function laterSql(instant: string): string {
  return `least(greatest(now(), ${instant} + interval '1 microsecond'), timestamptz '9999-12-31 23:59:59.999999+00')`;
}

/** One statement that writes. @throws a problem where the table has a rule against it */
async function execute<Row extends object>(db: Db, text: string, values: readonly unknown[], id?: string): Promise<Row[]> {
  try {
    return await db.query<Row>(text, values);
  } catch (error) {
    throw await refusalOf(db, error, id);
  }
}

/** Each with the number of its parameter. */
const numbered = (first: number, text: (name: FieldName, parameter: string) => string) =>
  fieldNames.map((name, n) => text(name, `$${first + n}`)).join(', ');
const list = (prefix = '') => fieldNames.map((name) => `${prefix}${name}`).join(', ');
const shown = (prefix = '') => shownNames.map((name) => `${prefix}${name}`).join(', ');

const createSql = eachPayload((payload) => {
  const given = fieldNames.map((name) => `case when ${name} is not null then '${name}' end`).join(', ');
  const data = dataSql(`to_json(array_remove(array[${given}], null))`, payload);
  return `with created as (
       insert into "user" (${list()}) values (${numbered(1, (_, parameter) => parameter)})
       returning id, ${list()}, version, created_at, updated_at
     ), event as (${appendSql('created', { kind, id: 'id', occurredAt: 'created_at', data }, fieldNames.length + 1)})
     select ${columnsSql} from created`;
});

export async function createUser(
  { db, passwords, eventPayload }: CommandParts & { readonly db: Pool },
  user: NewUser,
  caller?: Caller,
): Promise<User> {
  const values = valuesOf({ ...user, password: await passwords.hash(user.password, caller) });
  const insert = () => db.query<UserRow>(createSql[eventPayload], [...values, ...appendValues(created)]);
  try {
    const [row] = await insert().catch(async (error: unknown) => {
      // Somebody wrote users past the sequence: it goes on after them.
      if (!(await isIdTaken(db, error))) throw error;
      await raiseNextId(db, '1');
      return insert();
    });
    if (row === undefined) throw takenAway();
    return userOf(row);
  } catch (error) {
    throw await refusalOf(db, error);
  }
}

/** In the order of the parameters. What is absent is null. */
const valuesOf = (given: UserChange) => fieldNames.map((name) => given[name] ?? null);

/** A trigger that gives null, or a rule, has made nothing of a statement. */
function takenAway(): Problem {
  return new Problem(own.user_rejected, 'The table "user" does not take the change (a trigger or rule takes it away).');
}

/** Fields that are absent or null keep their value; where nothing changes, nothing is written. @throws user_not_found */
export async function updateUser(parts: CommandParts, id: string, change: UserChange, caller?: Caller): Promise<User> {
  const { db, passwords } = parts;
  const password = change.password ?? undefined;
  if (password === undefined) return userOf(await write(parts, id, change, {}));
  // A password that is the present one is no change, and for a user who is not there nothing is hashed.
  const [present] = await db.query<{ password: string }>('select password from "user" where id = $1', [id]);
  if (present === undefined) throw userNotFound(id);
  if (await matches(passwords, present.password, password, caller)) {
    const row = await write(parts, id, change, { keptHash: present.password });
    // Somebody replaced the password meanwhile: it is to be this one again.
    if (!row.outdated) return userOf(row);
  }
  return userOf(await write(parts, id, change, { newHash: await passwords.hash(password, caller) }));
}

/** What is no hash, or one that cannot be verified, matches no password. */
async function matches(passwords: Passwords, stored: string, password: string, caller: Caller | undefined): Promise<boolean> {
  if (!isHash(stored)) return false;
  return passwords.verify(stored, password, caller).catch((error: unknown) => {
    if (error instanceof Problem) throw error;
    return false;
  });
}

// `old` holds the row's lock and so its latest version, even where this statement had to wait for another writer: what is compared and
// what is returned are of the same moment. `u` is at first as the statement's snapshot has it, and must not be compared with.
const updateSql = eachPayload(
  (payload) =>
    `with old as (
       select id, ${list()}, created_at, updated_at, coalesce(password <> $2, false) as outdated
       from "user" where id = $1 for update
     ), changed as (
       update "user" as u
       set ${numbered(3, (name, parameter) => `${name} = coalesce(${parameter}, u.${name})`)},
         version = u.version + 1, updated_at = ${laterSql('u.updated_at')}
       from old
       where u.id = old.id and not old.outdated
         and (${list('old.')}) is distinct from (${numbered(3, (name, parameter) => `coalesce(${parameter}, old.${name})`)})
       returning u.id, ${shown('u.')}, u.version, u.created_at, u.updated_at, array_remove(array[
         ${fieldNames.map((name) => `case when u.${name} is distinct from old.${name} then '${name}' end`).join(', ')}], null) as fields
     ), event as (${appendSql('changed', { kind, id: 'id', occurredAt: 'updated_at', data: dataSql('to_json(fields)', payload) }, fieldNames.length + 3)})
     select ${columnsSql}, false as outdated from changed
     union all
     select ${columnsSql}, outdated from old where not exists (select from changed)`,
);

/** With `keptHash`, writes nothing where the user has another by now: the row is then `outdated`. @throws user_not_found */
async function write(
  { db, eventPayload }: CommandParts,
  id: string,
  change: UserChange,
  { newHash, keptHash }: { newHash?: string; keptHash?: string },
): Promise<UserRow & { outdated: boolean }> {
  const [row] = await execute<UserRow & { outdated: boolean }>(
    db,
    updateSql[eventPayload],
    [id, keptHash ?? null, ...valuesOf({ ...change, password: newHash ?? null }), ...appendValues(updated)],
    id,
  );
  if (row === undefined) throw userNotFound(id);
  return row;
}

// now() is when this statement began, which may be before the last change that it waited for.
const deleteSql = `with deleted as (
       delete from "user" where id = $1
       returning id, version + 1 as version, ${laterSql('updated_at')} as deleted_at
     ), event as (${appendSql('deleted', { kind, id: 'id', occurredAt: 'deleted_at', data: `json_build_object('user_id', id, 'version', version)` }, 2)})
     select id from deleted`;

/** @throws user_not_found */
export async function deleteUser({ db }: CommandParts, id: string): Promise<void> {
  const rows = await execute(db, deleteSql, [id, ...appendValues(deleted)], id);
  if (rows.length > 0) return;
  const [kept] = await db.query('select from "user" where id = $1', [id]);
  throw kept === undefined ? userNotFound(id) : takenAway();
}
