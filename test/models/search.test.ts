// Searching by each of its ways: the first look, the going through and the index find the same users, in the same order.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { countMatches, findMatches, type Match, type Search } from '../../src/features/users/search.ts';
import { type Pool, startPool } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { readMigrations } from '../../src/platform/db/migrations.ts';
import { codeVersion } from '../../src/platform/runtime/version.ts';
import { createDatabase, patienceMs, type TestDatabase } from '../support/database.ts';

const users = 600;
const everybody = { looked: users + 1, fetching: 0 };

suite('searching users', () => {
  let database: TestDatabase;
  let pool: Pool;
  before(async () => {
    database = await createDatabase();
    const parts = ['ann', 'anna', 'bert', 'Ä', 'иван', '李', 'o’neil', '%_', 'a\\\\b']
      .map((part) => `'${part.replaceAll("'", "''")}'`)
      .join(', ');
    await database.query(
      `insert into "user" (name, surname, password, status, username, username_key)
       select part[1 + n % 9] || case when n % 3 = 0 then '' else n::text end, part[1 + n / 7 % 9], 'x',
         case when n % 50 = 0 then 'suspended' else 'active' end, u, u
       from generate_series(1, ${users}) as n, lateral (values (array[${parts}])) as parts (part),
         lateral (select case when n % 4 = 0 then 'u' || n end) as named (u)`,
    );
    await database.query('vacuum analyze user_search');
    pool = startPool({ url: database.url, applicationName: 'test', connectTimeoutMs: patienceMs, statementTimeoutMs: patienceMs }, 2);
  });
  after(async () => {
    await pool[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const texts = fc.constantFrom(
    'a',
    'an',
    'ann',
    'anna',
    'ANN BERT',
    'ä',
    'ива',
    '李',
    'eil',
    '%',
    '_',
    '\\',
    'u40',
    'u',
    'nobody',
    '12',
    'ber',
    'n1',
  );
  const searches: fc.Arbitrary<Search> = fc.record({
    q: texts,
    status: fc.constantFrom(undefined, 'active', 'suspended'),
    sort: fc.constantFrom(undefined, { isDescending: false }, { isDescending: true }),
  });

  test('finds the same with and without the index, in pages of any size', async () => {
    const bounds = fc.record({ looked: fc.integer({ min: 1, max: 20 }), fetching: fc.constantFrom(0, 3, 10_000) });
    await fc.assert(
      fc.asyncProperty(searches, bounds, fc.integer({ min: 1, max: 200 }), async (search, few, limit) => {
        const all = await findMatches(pool, search, undefined, users, everybody);
        const found: Match[] = [];
        for (let last: Match | undefined, page: Match[] | undefined; page === undefined || page.length === limit; last = page.at(-1)) {
          page = await findMatches(pool, search, last, limit, few);
          found.push(...page);
          assert.ok(found.length <= users);
        }
        assert.deepEqual(found, all);
        assert.equal(await countMatches(pool, search), all.length);
      }),
      { numRuns: 100 },
    );
  });

  test('finds a text wherever it stands, as it is and not as a pattern', async () => {
    const found = async (q: string) => (await findMatches(pool, { q, status: undefined, sort: undefined }, undefined, users)).length;
    const counted = async (sql: string) =>
      Number((await database.query<{ n: string }>(`select count(*) as n from "user" where ${sql}`))[0]?.n);
    assert.equal(await found('o’neil'), await counted("name like '%o’neil%' or surname like '%o’neil%'"));
    assert.equal(await found('%_'), await counted(String.raw`name like '\%\_%' or surname like '\%\_%'`));
    assert.equal(await found('\\'), 0);
    assert.equal(await found('nna'), await counted("name like '%nna%' or surname like '%nna%'"));
  });
});

suite('the migration that begins to list', () => {
  test('takes in users who were there before while others change them, and goes on where it was interrupted', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const settings = { url: database.url, applicationName: 'test', connectTimeoutMs: patienceMs, statementTimeoutMs: patienceMs };
    await using pool = startPool(settings, 3);
    const all = await readMigrations();
    await migrate(settings, { code: { migrations: all.filter(({ version }) => version < 13), codeVersion } });
    await database.query(`insert into "user" (name, surname, password) select 'Ä' || n, 'B', 'x' from generate_series(1, 30000) as n`);
    let working = true;
    const change = async (seed: number) => {
      for (let n = seed; working; n += 1) {
        await pool.query(`insert into "user" (name, surname, password) values ($1, 'New', 'x')`, [`N${n}`]);
        await pool.query(`update "user" set surname = $2 where id = any($1::bigint[])`, [
          [(n * 7919) % 30_000, (n * 104_729) % 30_000],
          `S${n}`,
        ]);
        await pool.query('delete from "user" where id = any($1::bigint[])', [[(n * 611) % 30_000, (n * 977) % 30_000]]);
      }
    };
    const changing = [change(1), change(10_000)];
    const interrupt = new AbortController();
    const interrupted = migrate(settings, { signal: interrupt.signal });
    const begun = () => database.query('select from user_search_start where id > 0').catch(() => []);
    while ((await begun()).length === 0);
    interrupt.abort();
    await assert.rejects(interrupted);
    await migrate(settings);
    working = false;
    await Promise.all(changing);
    const different = await database.query(
      `select u.id, s.user_id from "user" as u full join user_search as s on s.user_id = u.id
       where u.id is null or s.user_id is null
         or s is distinct from user_search_row(u.id, u.status, u.created_at, u.name, u.surname, u.email, u.username)`,
    );
    assert.deepEqual(different, []);
  });
});
