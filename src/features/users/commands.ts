// Changing users. Each change, its identifiers and its event are one statement, and so one transaction and one round trip.

import type { Db, Pool } from '../../platform/db/client.ts';
import { appendSql, appendValues } from '../../platform/events/store/outbox.ts';
import { Problem } from '../../platform/problem.ts';
import type { Caller } from '../../platform/runtime/turns.ts';
import { isHash, type Passwords } from '../../platform/security/passwords.ts';
import { raiseNextId } from './adoption.ts';
import { created, deleted, kind, updated } from './events.ts';
import { type FieldName, fieldNames, fieldOf, fields } from './fields.ts';
import { type Confusables, claiming, identifierKinds, identifiers, type Keys, keyColumns, keysOf, keyValues } from './identifiers.ts';
import { problems as own } from './problems.ts';
import { columnNames, columnsSql, stateJsonSql, stateSql, type UserRow, userNotFound, userOf } from './queries.ts';
import { isIdTaken, refusalOf } from './refusals.ts';
import type { NewUser, User, UserChange } from './schemas.ts';

export type CommandParts = {
  readonly db: Db;
  readonly passwords: Passwords;
  /** Whether events carry the user, or only its id and version. */
  readonly eventPayload: Payload;
  readonly confusables: Confusables;
};
type Payload = 'full' | 'id';

function dataSql(changed: string, payload: Payload): string {
  return `json_build_object('user_id', id, 'version', version, 'changed', ${changed}${payload === 'full' ? `, 'user', ${stateJsonSql}` : ''})`;
}

/** A text is made once, so that looking up what was prepared for it costs nothing. */
function eachPayload(make: (payload: Payload) => string): Readonly<Record<Payload, string>> {
  return { full: make('full'), id: make('id') };
}

/** After an instant, and now if that is later: it never runs back, whatever the clock does, and never leaves the years of the API. */
function laterSql(instant: string): string {
  return `least(greatest(now(), ${instant} + interval '1 microsecond'), timestamptz '9999-12-31 23:59:59.999999+00')`;
}

/** What a statement writes: the fields, and the forms of identifiers beside them. */
const written: readonly string[] = [...fieldNames, ...keyColumns];
const typeOf = (column: string) => (column in fields ? fieldOf(column as FieldName).column : 'text');
/** The parameters of these columns, from `first` on. */
const numbered = (first: number) => new Map(written.map((column, n) => [column, `$${first + n}::${typeOf(column)}`]));
const list = (columns: readonly string[], prefix = '') => columns.map((name) => `${prefix}${name}`).join(', ');

/** In the order of the parameters. What is absent is null. */
function valuesOf(given: UserChange, keys: Keys): unknown[] {
  const value = (name: FieldName) => {
    const one = given[name] ?? null;
    return one !== null && fieldOf(name).column === 'jsonb' ? JSON.stringify(one) : one;
  };
  return [...fieldNames.map(value), ...keyValues(keys)];
}

const pairs = (prefix: string) => identifierKinds.map((kind) => `('${kind}', ${prefix}${identifiers[kind].column})`).join(', ');
/** Adds the identifiers of the user in `from`. In the order of their kinds, in which everybody waits for others who add the same. */
const claimSql = (from: string) => `insert into identifier (kind, value, user_id)
       select kind, value, id from ${from}, lateral (values ${pairs(`${from}.`)}) as each (kind, value) where value is not null order by kind`;

const createSql = eachPayload((payload) => {
  const parameters = numbered(1);
  const next = parameters.size + 1;
  return `with created as (
       insert into "user" (${list(written)}) values (${[...parameters.values()].join(', ')})
       returning ${list(columnNames)}, ${list(keyColumns)}
     ), claimed as (${claimSql('created')}
     ), event as (${appendSql('created', { kind, id: 'id', occurredAt: 'created_at', data: dataSql(`to_json($${next}::text[])`, payload) }, next + 1)})
     select ${stateSql}, null as last_login_at from created`;
});

/** @throws already_taken, user_conflict, user_rejected */
export async function createUser(
  { db, passwords, eventPayload, confusables }: CommandParts & { readonly db: Pool },
  user: NewUser,
  caller?: Caller,
): Promise<User> {
  const given: UserChange = { ...defaults, ...withoutNull(user), password: await passwords.hash(user.password, caller) };
  const keys = keysOf(given, confusables);
  const changed = fieldNames.filter((name) => (user[name] ?? null) !== null);
  const insert = () => db.query<UserRow>(createSql[eventPayload], [...valuesOf(given, keys), changed, ...appendValues(created)]);
  try {
    const [row] = await claiming(db, keys, undefined, () =>
      insert().catch(async (error: unknown) => {
        // Somebody wrote users past the sequence: it goes on after them.
        if (!(await isIdTaken(db, error))) throw error;
        await raiseNextId(db, '1');
        return insert();
      }),
    );
    if (row === undefined) throw takenAway();
    return userOf(row);
  } catch (error) {
    throw await refusalOf(db, error);
  }
}

const defaults = Object.fromEntries(
  fieldNames.flatMap((name) => (fieldOf(name).byDefault === undefined ? [] : [[name, fieldOf(name).byDefault]])),
) as UserChange;
export const withoutNull = (given: UserChange): UserChange =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));

/** A trigger that gives null, or a rule, has made nothing of a statement. */
function takenAway(): Problem {
  return new Problem(own.user_rejected, 'The table "user" does not take the change (a trigger or rule takes it away).');
}

/**
 * Fields that are in `change` get its values, null included; where nothing changes, nothing is written.
 * @param versions one of which the user must have; undefined for any
 * @throws user_not_found, version_mismatch, already_taken, user_conflict, user_rejected
 */
export async function updateUser(
  parts: CommandParts,
  id: string,
  change: UserChange,
  versions?: readonly number[],
  caller?: Caller,
): Promise<User> {
  const { db, passwords } = parts;
  const password = change.password ?? undefined;
  if (password === undefined) return userOf(await write(parts, id, change, versions, {}));
  // A password that is the present one is no change, and for a user who is not there nothing is hashed.
  const [present] = await db.query<{ password: string; version: string }>('select password, version from "user" where id = $1', [id]);
  if (present === undefined) throw userNotFound(id);
  if (versions !== undefined && !versions.includes(Number(present.version))) throw versionMismatch(id);
  if (await matches(passwords, present.password, password, caller)) {
    const row = await write(parts, id, change, versions, { keptHash: present.password });
    // Somebody replaced the password meanwhile: it is to be this one again.
    if (!row.outdated) return userOf(row);
  }
  return userOf(await write(parts, id, change, versions, { newHash: await passwords.hash(password, caller) }));
}

/** What is no hash, or one that cannot be verified, matches no password. */
async function matches(passwords: Passwords, stored: string, password: string, caller: Caller | undefined): Promise<boolean> {
  if (!isHash(stored)) return false;
  return passwords.verify(stored, password, caller).catch((error: unknown) => {
    if (error instanceof Problem) throw error;
    return false;
  });
}

const matchesSql = (versions: string) => `(${versions}::bigint[] is null or version = any(${versions}::bigint[]))`;

/** The field from which the form of an identifier is made; any other column is its own. */
const sourceOf = (column: string) => identifierKinds.map((kind) => identifiers[kind]).find((one) => one.column === column)?.field ?? column;

// `old` holds the row's lock and so its latest version, even where this statement had to wait for another writer: what is compared and
// what is returned are of the same moment. `u` is at first as the statement's snapshot has it, and must not be compared with.
const updateSql = eachPayload((payload) => {
  const parameters = numbered(5);
  const next = 5 + parameters.size;
  const isGiven = (column: string) => `'${sourceOf(column)}' = any($4::text[])`;
  const isNew = (column: string) => `(${isGiven(column)} and ${parameters.get(column)} is distinct from ${column})`;
  const wanted = written.map((column) => {
    const end = column in fields ? fieldOf(column as FieldName).endsWith : undefined;
    const ended = end === undefined ? '' : `when ${isNew(end)} and not ${isGiven(column)} then null `;
    return `case ${ended}when ${isGiven(column)} then ${parameters.get(column)} else ${column} end as ${column}`;
  });
  const changes = fieldNames.map((name) => `case when wanted.${name} is distinct from old.${name} then '${name}' end`);
  const kinds = identifierKinds.map((kind) => `('${kind}', old.${identifiers[kind].column}, changed.${identifiers[kind].column})`);
  const moved = `changed join old using (id), lateral (values ${kinds.join(', ')}) as each (kind, left_behind, value)
       where left_behind is distinct from value`;
  return `with old as (
       select ${list(columnNames)}, password, ${list(keyColumns)}, ${laterSql('updated_at')} as later,
         coalesce(password <> $2, false) as outdated, not ${matchesSql('$3')} as stale
       from "user" where id = $1 for update
     ), wanted as (
       select id, ${wanted.join(', ')} from old where not outdated and not stale
     ), compared as (
       select wanted.*, old.version, old.later, array_remove(array[${changes.join(', ')}], null) as fields from wanted join old using (id)
     ), changed as (
       update "user" as u
       set ${written.map((column) => `${column} = compared.${column}`).join(', ')}, version = compared.version + 1, updated_at = compared.later
       from compared
       where u.id = $1 and u.id = compared.id and compared.fields <> '{}'
       returning ${list([...columnNames, ...keyColumns], 'u.')}, compared.fields
     ), freed as (
       delete from identifier where (kind, value) in (select kind, left_behind from ${moved} and left_behind is not null) and user_id = $1
     ), claimed as (
       insert into identifier (kind, value, user_id) select kind, value, id from ${moved} and value is not null order by kind
     ), event as (${appendSql('changed', { kind, id: 'id', occurredAt: 'updated_at', data: dataSql('to_json(fields)', payload) }, next)})
     select ${columnsSql('$1')}, false as outdated, false as stale from changed
     union all
     select ${columnsSql('$1')}, outdated, stale from old where not exists (select from changed)`;
});

type Written = UserRow & { readonly outdated: boolean; readonly stale: boolean };

/** With `keptHash`, writes nothing where the user has another by now: the row is then `outdated`. @throws as `updateUser` */
async function write(
  { db, eventPayload, confusables }: CommandParts,
  id: string,
  change: UserChange,
  versions: readonly number[] | undefined,
  { newHash, keptHash }: { newHash?: string; keptHash?: string },
): Promise<Written> {
  const { password: _, ...others } = change;
  const given: UserChange = { ...others, ...(newHash !== undefined && { password: newHash }) };
  const keys = keysOf(given, confusables);
  const values = [id, keptHash ?? null, versions ?? null, Object.keys(given), ...valuesOf(given, keys), ...appendValues(updated)];
  try {
    const [row] = await claiming(db, keys, id, () => db.query<Written>(updateSql[eventPayload], values));
    if (row === undefined) throw userNotFound(id);
    if (row.stale) throw versionMismatch(id);
    return row;
  } catch (error) {
    throw await refusalOf(db, error, id);
  }
}

// now() is when this statement began, which may be before the last change that it waited for.
const deleteSql = `with old as (
       select id, version, ${laterSql('updated_at')} as later, not ${matchesSql('$2')} as stale from "user" where id = $1 for update
     ), deleted as (
       delete from "user" as u using old where u.id = $1 and u.id = old.id and not old.stale
       returning u.id, old.version + 1 as version, old.later as deleted_at, ${list(
         identifierKinds.map((one) => identifiers[one].column),
         'u.',
       )}
     ), freed as (
       delete from identifier where (kind, value) in (select kind, value from deleted, lateral (values ${pairs('deleted.')}) as each (kind, value) where value is not null) and user_id = $1
     ), event as (${appendSql('deleted', { kind, id: 'id', occurredAt: 'deleted_at', data: `json_build_object('user_id', id, 'version', version)` }, 3)})
     select stale, exists (select from deleted) as done from old`;

/**
 * @param versions one of which the user must have; undefined for any
 * @throws user_not_found, version_mismatch, user_referenced, user_rejected
 */
export async function deleteUser({ db }: Pick<CommandParts, 'db'>, id: string, versions?: readonly number[]): Promise<void> {
  const values = [id, versions ?? null, ...appendValues(deleted)];
  const [row] = await db.query<{ stale: boolean; done: boolean }>(deleteSql, values).catch(async (error: unknown) => {
    throw await refusalOf(db, error, id);
  });
  if (row === undefined) throw userNotFound(id);
  if (row.stale) throw versionMismatch(id);
  if (!row.done) throw takenAway();
}

export function versionMismatch(id: string): Problem {
  return new Problem(own.version_mismatch, `User with id ${id} has been changed since, and has another version than If-Match asks for.`);
}
