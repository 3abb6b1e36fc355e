// Passwords that a table of the LiteStar service holds as they were typed are replaced by their hashes. The migration that
// adopts such a table makes an index over them; when the index is gone, the work is done.
import type { Db } from '../db/client.ts';
import type { Passwords } from '../security/passwords.ts';

const index = 'user_password_plaintext';
const batchSize = 200;

/** Whether passwords may still stand in the table as they were typed. */
export async function hasPlaintextPasswords(db: Db): Promise<boolean> {
  const [row] = await db.query<{ pending: boolean }>('select to_regclass($1) is not null as pending', [index]);
  return row?.pending === true;
}

/**
 * Works through the table in batches and may be ended and run again at any time: each user is done or not done. It is no
 * change of the user: version and updated_at stay, and no event is written.
 * @param onProgress told the number of passwords hashed so far
 * @returns how many were hashed
 */
export async function hashPlaintextPasswords(db: Db, passwords: Passwords, onProgress: (done: number) => void): Promise<number> {
  let done = 0;
  for (;;) {
    // The same condition as that of the index, so that a batch costs no more than its rows.
    const rows = await db.query<{ id: string; password: string }>(
      `select id, password from "user" where password not like '$argon2id$%' order by id limit $1`,
      [batchSize],
    );
    if (rows.length === 0) break;
    await Promise.all(
      rows.map(async ({ id, password }) => {
        const hash = await passwords.hash(password.normalize('NFC'));
        // Not where somebody has changed the password meanwhile.
        await db.query('update "user" set password = $2 where id = $1 and password = $3', [id, hash, password]);
      }),
    );
    done += rows.length;
    onProgress(done);
  }
  await db.query(`drop index if exists ${index}`);
  return done;
}
