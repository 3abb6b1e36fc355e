// Reading users.

import DataLoader from 'dataloader';
import type { Db } from '../../platform/db/client.ts';
import { timestampSql } from '../../platform/events/store/outbox.ts';
import { Problem } from '../../platform/problem.ts';
import { placeSql, totalSql } from './count.ts';
import { fieldOf, type ShownName, shownNames } from './fields.ts';
import type { IdentifierKind } from './identifiers.ts';
import { problems as own } from './problems.ts';
import type { User, UserState } from './schemas.ts';

const instants = ['created_at', 'updated_at', ...shownNames.filter((name) => fieldOf(name).column === 'timestamptz')];
/** Of the table "user", what `stateSql` reads. */
export const columnNames = ['id', ...shownNames, 'version', 'created_at', 'updated_at'];
/** The columns of a user as events and snapshots show it; the password is never among them. */
export const stateSql = columnNames.map((name) => (instants.includes(name) ? `${timestampSql(name)} as ${name}` : name)).join(', ');
/** The same as one JSON object. */
export const stateJsonSql = `json_build_object(${columnNames.map((name) => `'${name}', ${instants.includes(name) ? timestampSql(name) : name}`).join(', ')})`;
/**
 * The same as the API shows it, from what has these columns. A subquery, since a join of the last sign-ins may be planned as one of all.
 * @param id of the user, such as `"user".id`
 */
export const columnsSql = (id: string) =>
  `${stateSql}, (select ${timestampSql('last_login_at')} from user_login where user_id = ${id}) as last_login_at`;

/** Rows of `stateSql` and `columnsSql`: the driver gives int8 as a string. */
type OfState<State> = Omit<State, 'id' | 'version'> & { readonly id: string; readonly version: string };
export type StateRow = OfState<UserState>;
export type UserRow = OfState<User>;

export function stateOf(row: StateRow): UserState {
  const shown: Partial<Record<ShownName, unknown>> = {};
  for (const name of shownNames) shown[name] = row[name];
  return {
    id: Number(row.id),
    ...(shown as Pick<UserState, ShownName>),
    version: Number(row.version),
    created_at: row.created_at,
    updated_at: row.updated_at,
  };
}

export function userOf(row: UserRow): User {
  return { ...stateOf(row), last_login_at: row.last_login_at };
}

export function userNotFound(id: string): Problem {
  return new Problem(own.user_not_found, `User with id ${id} not found`);
}

const byIdSql = `select ${columnsSql('"user".id')} from "user" where id = any($1::bigint[])`;

/** More ids than one turn ever brings; the statement stays short all the same. */
const readersMax = 200;

/**
 * Reads by id. What is asked for in one turn of the event loop is one statement, begun after the last of them: a round trip
 * to the server costs many times what a row does. Nothing is kept for later readers.
 *
 * @returns a function that rejects with user_not_found
 */
export function createUserReader(db: Db): (id: string) => Promise<User> {
  const loader = new DataLoader<string, UserRow | undefined>(
    async (ids) => {
      const rows = await db.query<UserRow>(byIdSql, [ids]);
      const byId = new Map(rows.map((row) => [row.id, row]));
      return ids.map((id) => byId.get(id));
    },
    { cache: false, maxBatchSize: readersMax, batchScheduleFn: setImmediate },
  );
  return async (id) => {
    const row = await loader.load(id);
    if (row === undefined) throw userNotFound(id);
    return userOf(row);
  };
}

export async function findUser(db: Db, id: string): Promise<User | undefined> {
  const [row] = await db.query<UserRow>(byIdSql, [[id]]);
  return row === undefined ? undefined : userOf(row);
}

const byIdentifierSql = `select ${columnsSql('"user".id')} from "user"
   where id = (select user_id from identifier where kind = $1 and value = $2)`;

/** @param key in the form that `identifier` has */
export async function findUserBy(db: Db, kind: IdentifierKind, key: string): Promise<User | undefined> {
  const [row] = await db.query<UserRow>(byIdentifierSql, [kind, key]);
  return row === undefined ? undefined : userOf(row);
}

const ownersSql =
  'select user_id from identifier where (kind, value) in (select kind, value from unnest($1::text[], $2::text[]) as wanted (kind, value))';

/** The ids of those who have these, as many as there are. @param names kinds and keys in the form that `identifier` has */
export async function findOwners(db: Db, names: readonly (readonly [IdentifierKind, string])[]): Promise<string[]> {
  const rows = await db.query<{ user_id: string }>(ownersSql, [names.map(([kind]) => kind), names.map(([, key]) => key)]);
  return rows.map(({ user_id }) => user_id);
}

/** In the order of the ids; without those who are gone. */
export async function findUsersInOrder(db: Db, ids: readonly string[]): Promise<User[]> {
  const rows = ids.length === 0 ? [] : await db.query<UserRow>(byIdSql, [ids]);
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.flatMap((id) => byId.get(id) ?? []).map(userOf);
}

/** In order of id, each once. @param names kinds and keys in the form that `identifier` has */
export async function findUsers(db: Db, ids: readonly number[], names: readonly (readonly [IdentifierKind, string])[]): Promise<User[]> {
  const owners = names.length === 0 ? [] : await findOwners(db, names);
  const wanted = new Set([...ids.map(String), ...owners]);
  const rows = await db.query<UserRow>(byIdSql, [[...wanted]]);
  return rows.map(userOf).sort((one, other) => one.id - other.id);
}

const pageSql = (place: string, rows: string) => `with ${totalSql}${place}
   select total, ${columnsSql('page.id')}
   from counted left join lateral (select ${columnNames.join(', ')} from "user" ${rows}) as page on true
   order by id`;
const firstPageSql = pageSql('', 'order by id limit $1');
// Within the block that the page begins in, at most a thousand users are skipped.
const listSql = pageSql(
  `, ${placeSql('(($2::bigint - 1) * $1)')}`,
  `where id >= (
     select id from "user" where id >= (select place.id from place) order by id limit 1 offset (select ($2::bigint - 1) * $1 - passed from place)
   ) order by id limit $1`,
);

type Row = { total: string } & (UserRow | { id: null });
const isUser = (row: Row): row is { total: string } & UserRow => row.id !== null;

const afterSql = `select ${columnsSql('"user".id')} from "user" where id > $1::bigint order by id limit $2`;
const countedAfterSql = pageSql('', 'where id > $1::bigint order by id limit $2');

type Slice = { readonly users: User[]; readonly total: number | undefined; readonly isLast: boolean };

/** The users behind an id in order of id, and with `count` the number of all, both of the same moment. */
export async function listUsersAfter(db: Db, id: string, limit: number, count: boolean): Promise<Slice> {
  // One more, which says whether there are others.
  const rows = await db.query<Row>(count ? countedAfterSql : afterSql, [id, limit + 1]);
  const users = rows.filter(isUser).map(userOf);
  return { users: users.slice(0, limit), total: count ? Number(rows[0]?.total) : undefined, isLast: users.length <= limit };
}

/** One page in order of id, and the number of all users, both of the same moment. */
export async function listUsers(db: Db, page: number, perPage: number): Promise<{ users: User[]; total: number }> {
  const rows = await (page === 1 ? db.query<Row>(firstPageSql, [perPage]) : db.query<Row>(listSql, [perPage, page]));
  // An empty page is one row that has only the total.
  return { users: rows.filter(isUser).map(userOf), total: Number(rows[0]?.total) };
}
