// A table of the LiteStar service holds passwords as they were typed; they are replaced by their hashes. The migrations that
// adopt such a table leave an index over the passwords that are no hash, and a list of those that only begin like one: when both
// are gone, the work is done.
import type { Db, Pool } from '../../platform/db/client.ts';
import { isHash, type Passwords } from '../../platform/security/passwords.ts';
import { passwordLengthMax } from './fields.ts';

const index = 'user_password_plaintext';
const lookalikes = 'user_password_lookalike';
const batchSize = 200;
/** Few enough for the queue of any machine; requests of a service in the same process keep their place in it. */
const atOnce = 16;
/**
 * UTF-16 units of the longest password that the API takes, in any form (see x-normalize). Nobody can give a longer one again, and
 * to normalise 1 MiB of combining marks takes minutes.
 */
const typedUnitsMax = passwordLengthMax * 8;

/** Whether passwords may still stand in the table as they were typed. */
export async function hasPlaintextPasswords(db: Db): Promise<boolean> {
  const [row] = await db.query<{ pending: boolean }>('select coalesce(to_regclass($1), to_regclass($2)) is not null as pending', [
    index,
    lookalikes,
  ]);
  return row?.pending === true;
}

/** How many of the passwords that are to be hashed begin like a hash. */
export async function countLookalikes(db: Db): Promise<number> {
  const [found] = await db.query<{ exists: boolean }>('select to_regclass($1) is not null as exists', [lookalikes]);
  if (!found?.exists) return 0;
  const [row] = await db.query<{ count: string }>(`select count(*) from ${lookalikes} join "user" using (id)`);
  return Number(row?.count);
}

type Typed = { readonly id: string; readonly password: string };

/**
 * Works through the table in batches and may be ended and run again at any time: each user is done or not done. It is no
 * change of the user: version and updated_at stay, and no event is written.
 * @param onProgress told the number of passwords hashed so far
 * @returns how many were hashed
 */
export async function hashPlaintextPasswords(db: Db, passwords: Passwords, onProgress: (done: number) => void): Promise<number> {
  let done = 0;

  async function hashAll(batch: readonly Typed[]): Promise<void> {
    const waiting = batch[Symbol.iterator]();
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (const { id, password } of waiting) {
          const hash = await passwords.hash(password.length > typedUnitsMax ? password : password.normalize('NFC'));
          // Not where somebody has changed the password meanwhile.
          await db.query('update "user" set password = $2 where id = $1 and password = $3', [id, hash, password]);
        }
      }),
    );
    done += batch.length;
    if (batch.length > 0) onProgress(done);
  }

  for (;;) {
    // The same condition as that of the index, so that a batch costs no more than its rows.
    const batch = await db.query<Typed>(`select id, password from "user" where password not like '$argon2id$%' order by id limit $1`, [
      batchSize,
    ]);
    if (batch.length === 0) break;
    await hashAll(batch);
  }
  await db.query(`drop index if exists ${index}`);
  const [left] = await db.query<{ exists: boolean }>('select to_regclass($1) is not null as exists', [lookalikes]);
  while (left?.exists) {
    const batch = await db.query<{ id: string; password: string | null }>(
      `select listed.id, password from ${lookalikes} as listed left join "user" using (id) order by listed.id limit $1`,
      [batchSize],
    );
    if (batch.length === 0) break;
    // Deleted users, and those who got a hash since, have nothing to be done for.
    await hashAll(batch.filter((row): row is Typed => row.password !== null && !isHash(row.password)));
    await db.query(`delete from ${lookalikes} where id = any($1)`, [batch.map(({ id }) => id)]);
  }
  await db.query(`drop table if exists ${lookalikes}`);
  return done;
}

/**
 * Lets ids go on from `nextId`, or from where they stand, or after the highest that is there: whichever is higher.
 * @returns the id that the next user gets
 */
export async function raiseNextId(pool: Pool, nextId: string): Promise<string> {
  return pool.inTransaction(async (tx) => {
    // Nobody draws an id between the look and the change.
    await tx.query('lock table "user" in share row exclusive mode');
    const [sequence] = await tx.query<{ name: string }>(`select pg_get_serial_sequence('"user"', 'id') as name`);
    const [row] = await tx.query<{ next: string }>(
      `select setval($1::regclass, greatest(
         $2::bigint, (select max(id) + 1 from "user"), case when is_called then last_value + 1 else last_value end
       ), false) as next from ${sequence?.name}`,
      [sequence?.name, nextId],
    );
    return row?.next ?? nextId;
  });
}
