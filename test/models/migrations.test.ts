// The schema: how it comes about, how it is guarded, and how the table of the LiteStar service becomes ours.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { describeSchema } from '../../scripts/schema.ts';
import { hashPlaintextPasswords, hasPlaintextPasswords } from '../../src/features/users/adoption.ts';
import { startPool } from '../../src/platform/db/client.ts';
import { MigrationError, migrate, migrationStatus } from '../../src/platform/db/migrate.ts';
import { isOlder, parseMigration, readMigrations } from '../../src/platform/db/migrations.ts';
import { codeVersion } from '../../src/platform/runtime/version.ts';
import { isHash, startPasswords } from '../../src/platform/security/passwords.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { cheapCost, startService } from '../support/service.ts';

const settings = ({ url }: TestDatabase) => ({ url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 });

suite('migrations', { concurrency: true }, () => {
  test('twenty concurrent starts apply each migration once', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const results = await Promise.all(Array.from({ length: 20 }, () => migrate(settings(database))));
    const applied = (await migrationStatus(settings(database))).map(({ name }) => name);
    assert.deepEqual(results.flat().sort(), applied);
    assert.ok(applied.length >= 2);
  });

  test('the schema after all migrations is the committed schema.sql', async () => {
    await using database = await createDatabase();
    assert.equal(await describeSchema(database.url), readFileSync(new URL('../../schema.sql', import.meta.url), 'utf8'));
  });

  test('dead letters from before 0.2 keep their bytes, and older events are not handled again', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(
      'create table schema_migration (version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())',
    );
    for (const { version, name, sql, checksum } of (await readMigrations()).slice(0, 3)) {
      await database.query(sql);
      await database.query('insert into schema_migration (version, name, checksum) values ($1, $2, $3)', [version, name, checksum]);
    }
    const id = crypto.randomUUID();
    await database.query(
      `insert into dead_letter (event_id, event_type, trace_id, attempts, reason, body, position, logged_at, subject)
       values ($1, 'user.created', 't', 5, 'it was full', '{ "a": 9007199254740993 }', 1, now(), '7')`,
      [id],
    );
    await database.query('update event_state set logged_position = 5, published_position = 4');
    await migrate(settings(database));
    const letters = await database.query('select message_id, event_id, body, properties, headers, subject from dead_letter');
    const body = Buffer.from('{ "a": 9007199254740993 }');
    assert.deepEqual(letters, [{ message_id: id, event_id: id, body, properties: {}, headers: {}, subject: 'user:7' }]);
    assert.deepEqual(await database.query('select name, position from subscription'), [{ name: 'rollcall.user_events', position: '4' }]);
  });

  test('a schema that is newer than the code is refused', async () => {
    await using database = await createDatabase();
    await database.query(`insert into schema_migration (version, name, checksum) values (9999, '9999_future.sql', 'x')`);
    await assert.rejects(
      migrate(settings(database)),
      (error: Error) => error instanceof MigrationError && /9999_future\.sql/.test(error.message),
    );
  });

  test('a schema that is newer than the code, and compatible with it, is accepted', async () => {
    await using database = await createDatabase();
    const [code = ''] = /\d+\.\d+\.\d+/.exec(codeVersion) ?? [];
    await database.query(`insert into schema_migration (version, name, checksum, oldest_code) values (9999, '9999_future.sql', 'x', $1)`, [
      code,
    ]);
    assert.deepEqual(await migrate(settings(database)), []);
    await using service = await startService({}, { database });
    assert.equal((await service.call('GET', '/users/')).status, 200);
    await database.query(`update schema_migration set oldest_code = '999.0.0' where version = 9999`);
    await assert.rejects(migrate(settings(database)), /needs at least version 999\.0\.0 of the code, and this is \d/);
  });

  test('each migration from 10 on states the oldest code that runs on it', async () => {
    const silent = (await readMigrations()).filter(({ version, oldestCode }) => version >= 10 && oldestCode === undefined);
    assert.deepEqual(
      silent.map(({ name }) => name),
      [],
    );
  });

  test('versions are compared numerically', () => {
    const pairs: [string, string, boolean][] = [
      ['0.9.0', '0.10.0', true],
      ['0.10.0', '0.9.0', false],
      ['1.0.0', '1.0.0', false],
      ['1.0.0-rc.1', '1.0.0', false],
      ['1.2.3', '2.0.0', true],
      ['1.2.3', '1.2.4', true],
    ];
    for (const [version, than, isOne] of pairs) assert.equal(isOlder(version, than), isOne, `${version} < ${than}`);
  });

  test('a migration in steps resumes after an interruption', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const sql = (broken: boolean) => `-- Counts.
-- oldest code: 0.1.0
-- step
create table counted (n integer, half integer);
insert into counted select n from generate_series(1, 250) as n;
-- step, repeated
update counted set half = n / 2 where n = any (array(select n from counted where half is null limit 100));
-- step, alone
drop index concurrently if exists counted_n_idx;
create unique index concurrently counted_n_idx on counted (${broken ? 'half' : 'n'});
-- step
alter table counted add primary key using index counted_n_idx;
`;
    const code = (broken: boolean) => ({ migrations: [parseMigration('0001_counted.sql', sql(broken))], codeVersion: '0.1.0' });
    // Halves come twice: the index is left behind invalid, as after a kill.
    await assert.rejects(migrate(settings(database), { code: code(true) }), /its steps before that are kept/);
    assert.deepEqual(await database.query('select step from schema_migration_step order by step'), [{ step: 0 }, { step: 1 }]);
    assert.deepEqual(await database.query('select count(*)::int as n from counted where half is null'), [{ n: 0 }]);
    const both = await Promise.all([1, 2, 3].map(() => migrate(settings(database), { code: code(false) })));
    assert.deepEqual(both.flat(), ['0001_counted.sql']);
    assert.deepEqual(await database.query('select indisvalid as valid from pg_index where indrelid = $1::regclass', ['counted']), [
      { valid: true },
    ]);
    assert.deepEqual(await database.query('select version, oldest_code from schema_migration'), [{ version: 1, oldest_code: '0.1.0' }]);
    assert.deepEqual(await database.query('select from schema_migration_step'), []);
  });

  test('an index that takes long is made while others start and look', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query('create table slow (n integer)');
    const sql = '-- step\ncreate table quick ();\n-- step, alone\ncreate index concurrently slow_n_idx on slow (n);\n';
    const code = { migrations: [parseMigration('0001_slow.sql', sql)], codeVersion };
    const writer = await database.hold('insert into slow values (1)');
    const first = migrate(settings(database), { code });
    await database.waitingForLock();
    const second = migrate({ ...settings(database), applicationName: 'second' }, { code });
    // A table that the first had locked would be waited for with a snapshot, and the index waits for snapshots.
    await database.until(`select from pg_stat_activity where application_name = 'second' and query = 'rollback'`);
    await writer.release();
    assert.deepEqual((await Promise.all([first, second])).flat(), ['0001_slow.sql']);
  });

  test('a migration file that was changed after it was applied is noticed', async () => {
    await using database = await createDatabase();
    await database.query(`update schema_migration set checksum = 'x' where version = 1`);
    await assert.rejects(migrate(settings(database)), /0001_users\.sql was changed/);
  });

  test('a foreign table "user" is refused with a sentence, and left unchanged', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query('create table "user" (id serial primary key, email text)');
    await assert.rejects(migrate(settings(database)), /lacks the column\(s\) name, password, surname/);
    await database.query('insert into "user" (email) values ($1)', ['still@here.example']);
    assert.deepEqual(await database.query("select to_regclass('outbox') as outbox"), [{ outbox: null }]);
  });

  test('a foreign column without default is refused with a sentence', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query('create table "user" (id serial primary key, name text, surname text, password text, email text not null)');
    await assert.rejects(migrate(settings(database)), /must be filled and have no default: email/);
  });

  test('an id above 2^53 - 1 cannot be stored', async () => {
    await using database = await createDatabase();
    await assert.rejects(
      database.query(`insert into "user" (id, name, surname, password) overriding system value values (9007199254740992, 'a', 'b', 'c')`),
      /user_id_safe_integer/,
    );
  });
});

// As SQLAlchemy makes it, with the types that such services use.
const liteStarTables = {
  'serial ids and local timestamps': `create table "user" (
    id serial primary key, name varchar(255) not null, surname varchar(255) not null, password varchar(255) not null,
    created_at timestamp not null default now(), updated_at timestamp not null default now())`,
  'bigint identity and timestamptz': `create table "user" (
    id bigint generated by default as identity primary key, name varchar not null, surname varchar not null, password varchar not null,
    created_at timestamptz, updated_at timestamptz)`,
  'integer identity, a sentinel column, no timestamps': `create table "user" (
    id integer generated always as identity primary key, name text, surname text, password text, sa_orm_sentinel integer)`,
};

suite('a table of the LiteStar service', { concurrency: true }, () => {
  for (const [title, create] of Object.entries(liteStarTables)) {
    test(`${title}: rows and ids are kept, and the service works on it`, async () => {
      await using database = await createDatabase({ template: 'empty' });
      await database.query(create);
      await database.query(
        `insert into "user" (name, surname, password) select 'Name ' || n, 'Surname', 'plain password ' || n from generate_series(1, 30) as n`,
      );
      await database.query('delete from "user" where id in (3, 30)');
      if (title.startsWith('serial')) await database.query(`update "user" set created_at = '2024-05-06 07:08:09.123456' where id = 1`);
      await migrate(settings(database));

      await using service = await startService({}, { database });
      await service.line(({ event }) => event.includes('run "npm run migrate"'));
      assert.ok(!service.text().includes('plain password'));
      const { json } = await service.call('GET', '/users/?per_page=100');
      assert.equal(json.total, 28);
      assert.equal(json.users[2].id, 4);
      if (title.startsWith('serial')) assert.equal(json.users[0].created_at, '2024-05-06T07:08:09.123456Z');
      assert.equal((await service.createUser()).id, 31, 'an id that was used is not given out again');
      assert.equal((await service.call('PUT', '/users/1', { password: 'a new password' })).status, 200);
      assert.equal((await service.call('DELETE', '/users/2')).status, 200);
    });
  }

  test('its passwords are hashed in batches, resumably, and change nothing else of the user', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(liteStarTables['serial ids and local timestamps']);
    await database.query(
      `insert into "user" (name, surname, password) select 'Name', 'Surname', 'plain password ' || n from generate_series(1, 450) as n`,
    );
    await migrate(settings(database));
    const before = await database.query('select id, version, updated_at from "user" order by id');
    await using pool = startPool(settings(database), 4);
    await using passwords = startPasswords(cheapCost);
    assert.equal(await hasPlaintextPasswords(pool), true);

    // Ended in the middle, as by Ctrl-C, and run again.
    await assert.rejects(
      hashPlaintextPasswords(pool, passwords, () => {
        throw new Error('interrupted');
      }),
      /interrupted/,
    );
    assert.equal(await hasPlaintextPasswords(pool), true);
    const progress: number[] = [];
    assert.equal(await hashPlaintextPasswords(pool, passwords, (done) => progress.push(done)), 250);
    assert.deepEqual(progress, [200, 250]);
    assert.equal(await hasPlaintextPasswords(pool), false);

    const rows = await database.query<{ id: number; password: string }>('select id, password from "user" order by id');
    assert.ok(rows.every(({ password }) => isHash(password)));
    assert.equal(await passwords.verify(rows[449]?.password ?? '', 'plain password 450'), true);
    assert.deepEqual(await database.query('select id, version, updated_at from "user" order by id'), before);
    assert.deepEqual(await database.query('select from outbox'), []);
  });
});
