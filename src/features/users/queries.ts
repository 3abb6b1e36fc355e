// Reading users.

import DataLoader from 'dataloader';
import type { Db } from '../../platform/db/client.ts';
import { timestampSql } from '../../platform/events/store/outbox.ts';
import { Problem } from '../../platform/problem.ts';
import { placeSql, totalSql } from './count.ts';
import { type ShownName, shownNames } from './fields.ts';
import { problems as own } from './problems.ts';
import type { User } from './schemas.ts';

const shownSql = shownNames.join(', ');
/** The columns of a user as the API shows it; the password is never among them. */
export const columnsSql = `id, ${shownSql}, ${timestampSql('created_at')} as created_at, ${timestampSql('updated_at')} as updated_at`;

/** A row of `columnsSql`: the driver gives int8 as a string. */
export type UserRow = Omit<User, 'id'> & { readonly id: string };

export function userOf(row: UserRow): User {
  const shown: Partial<Record<ShownName, string | null>> = {};
  for (const name of shownNames) shown[name] = row[name];
  return { id: Number(row.id), ...(shown as Pick<User, ShownName>), created_at: row.created_at, updated_at: row.updated_at };
}

export function userNotFound(id: string): Problem {
  return new Problem(own.user_not_found, `User with id ${id} not found`);
}

const byIdSql = `select ${columnsSql} from "user" where id = any($1::bigint[])`;

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

const pageSql = (place: string, rows: string) => `with ${totalSql}${place}
   select total, ${columnsSql}
   from counted left join lateral (select id, ${shownSql}, created_at, updated_at from "user" ${rows}) as page on true
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

const afterSql = `select ${columnsSql} from "user" where id > $1::bigint order by id limit $2`;
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
