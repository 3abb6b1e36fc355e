// Many users, and a log with an event for each, made by SQL: what the service would have left behind.
import { withoutIndexes } from '../harness/bulk.ts';
import { peopleSql } from '../harness/people.ts';
import { hash } from '../src/platform/security/argon2.ts';
import { recommendedCost } from '../src/platform/security/passwords.ts';
import type { Database } from './database.ts';

const usersAtOnce = 100_000;
/** One event in so many is of the type that is looked for. */
const rareEvery = 1_000_000;

/** @param say called with the progress */
export async function fill(database: Database, users: number, signal: AbortSignal, say: (words: string) => void): Promise<void> {
  // One for all: a hash for each would take hours.
  const password = await hash('correct horse battery', recommendedCost);
  await database.query(`update event_state set logged_position = $1, published_position = $1, logged_at = now(), published_at = now()`, [
    users,
  ]);
  await withoutIndexes(database.query, ['user_search', '"user"'], async () => {
    for (let from = 1; from <= users; from += usersAtOnce) {
      signal.throwIfAborted();
      const range = [from, Math.min(users, from + usersAtOnce - 1)];
      await database.query(
        `with made as (
         insert into "user" (name, surname, password, email, email_key, username, username_key, status)
         select name, surname, $3, email, email, username, username, status
         from (${peopleSql('generate_series($1::bigint, $2::bigint)')}) as people order by n
         returning id, email, username
       )
       insert into identifier (kind, value, user_id)
       select kind, value, id from made, lateral (values ('email', email), ('username', username)) as each (kind, value) where value is not null`,
        [...range, password],
      );
      await database.query(
        `insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
       select n, state.logged_at, gen_random_uuid(), case when n % $3 = $3 / 2 then 'user.deleted' else 'user.created' end, 'user:' || n,
         now(), 'bench-' || n, '00-' || md5(n::text) || '-0000000000000001-01',
         json_build_object('user_id', n, 'version', 1, 'changed', json_build_array('name', 'surname', 'password'))
       from generate_series($1::int, $2::int) as n, event_state as state`,
        [...range, Math.min(users, rareEvery)],
      );
      say(`${range[1]} of ${users} users`);
    }
  });
  for (const table of ['"user"', 'user_search', 'identifier', 'event', 'user_count_delta', 'user_count', 'user_count_sum'])
    await database.query(`vacuum (analyze) ${table}`);
}
