// Reading users.
import type { Db } from '../db/client.ts';
import { timestampSql } from '../events/outbox.ts';
import { Problem } from '../problem.ts';
import type { User } from './schemas.ts';

/** The columns of a user as the API shows it; the password is never among them. */
export const columnsSql = `id, name, surname, ${timestampSql('created_at')} as created_at, ${timestampSql('updated_at')} as updated_at`;

/** A row of `columnsSql`: the driver gives int8 as a string. */
export type UserRow = Omit<User, 'id'> & { readonly id: string };

export function userOf({ id, name, surname, created_at, updated_at }: UserRow): User {
  return { id: Number(id), name, surname, created_at, updated_at };
}

export function userNotFound(id: string): Problem {
  return new Problem('user_not_found', `User with id ${id} not found`);
}

/** @throws user_not_found */
export async function getUser(db: Db, id: string): Promise<User> {
  const [row] = await db.query<UserRow>(`select ${columnsSql} from "user" where id = $1`, [id]);
  if (row === undefined) throw userNotFound(id);
  return userOf(row);
}

/** One page in order of id, and the number of all users, both of the same moment. */
export async function listUsers(db: Db, page: number, perPage: number): Promise<{ users: User[]; total: number }> {
  const rows = await db.query<{ total: string } & (UserRow | { id: null })>(
    `select total, page.*
     from (select count(*) as total from "user") as counted
     left join lateral (select ${columnsSql} from "user" order by "user".id limit $1 offset ($2::bigint - 1) * $1) as page on true
     order by page.id`,
    [perPage, page],
  );
  // An empty page is one row that has only the total.
  return { users: rows.filter((row): row is { total: string } & UserRow => row.id !== null).map(userOf), total: Number(rows[0]?.total) };
}
