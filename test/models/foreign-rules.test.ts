// Rules that an adopted table, a role or a database brought along: each has its answer, and none is a 500.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import pg from 'pg';
import { findContradiction } from '../../src/features/users/refusals.ts';
import { startPool } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { createRoleAndDatabase } from '../../src/platform/db/setup.ts';
import { settings } from '../support/adoption.ts';
import { createDatabase, databaseUrl, serverUrl, type TestDatabase } from '../support/database.ts';
import { startService, type TestService } from '../support/service.ts';

/** Limits that a busy machine does not reach. */
const patient = { DATABASE_STATEMENT_TIMEOUT_MS: '30000', DATABASE_CONNECT_TIMEOUT_MS: '30000' };

async function withService(work: (service: TestService, database: TestDatabase) => Promise<void>, ...setup: string[]): Promise<void> {
  await using database = await createDatabase();
  for (const statement of setup) await database.query(statement);
  await using service = await startService(patient, { database });
  await work(service, database);
}

const told = ({ status, json }: { status: number; json: { code: string; detail: string; extra: { key: string }[] } }) => [
  status,
  json.code,
  json.detail,
  json.extra.map(({ key }) => key),
];

const noTrigger = ['drop function rule cascade'];
/** Title, statements, statements that undo them, fields of a body, fields that the answer names. */
const refusals: readonly [string, string[], string[], object, string[]][] = [
  [
    'a check',
    ['alter table "user" add constraint r check (length(name) < 5)'],
    ['alter table "user" drop constraint r'],
    { name: 'Annabel' },
    ['name'],
  ],
  [
    'a check of two fields',
    ['alter table "user" add constraint r check (name <> surname)'],
    ['alter table "user" drop constraint r'],
    { name: 'Lee', surname: 'Lee' },
    ['name', 'surname'],
  ],
  [
    'an exclusion',
    [
      'alter table "user" add constraint r exclude using btree (name with =)',
      `insert into "user" (name, surname, password) values ('Zoe', 'b', 'c')`,
    ],
    ['delete from "user"', 'alter table "user" drop constraint r'],
    { name: 'Zoe' },
    ['name'],
  ],
  ['a column that must be filled', ['alter table "user" add nickname text not null'], ['alter table "user" drop nickname'], {}, []],
  [
    'a generated column',
    ['alter table "user" add n integer generated always as (1 / (length(surname) - 1)) stored'],
    ['alter table "user" drop n'],
    { surname: 'X' },
    [],
  ],
  ['a trigger', [trigger(`raise exception 'no %', new.password`)], noTrigger, {}, []],
  ['a trigger with a code of its own', [trigger(`raise exception 'no' using errcode = 'MYERR'`)], noTrigger, {}, []],
  ['a trigger that takes it away', [trigger('return null')], noTrigger, {}, []],
  [
    'a trigger that breaks a constraint elsewhere',
    ['create table other (n integer primary key)', 'insert into other values (1)', trigger('insert into other values (1); return new')],
    [...noTrigger, 'drop table other'],
    {},
    [],
  ],
  [
    'a domain',
    ['create domain short as text check (length(value) < 5)', 'alter table "user" alter name type short'],
    ['alter table "user" alter name type text', 'drop domain short'],
    { name: 'Annabel' },
    [],
  ],
  [
    'a reference of its own',
    ['create table tenant (id integer primary key)', 'alter table "user" add tenant integer default 5 references tenant'],
    ['alter table "user" drop tenant', 'drop table tenant'],
    {},
    [],
  ],
  [
    'an index with a longest value',
    [
      `create function long(text) returns text language sql immutable as $$ select case when length($1) > 5 then (select string_agg(md5($1 || n), '') from generate_series(1, 500) as n) else $1 end $$`,
      'create index r on "user" (long(name))',
    ],
    ['drop function long cascade'],
    { name: 'Annabel' },
    [],
  ],
];

suite('rules of an adopted table', { concurrency: true }, () => {
  test('a user that other rows reference is not deleted, and the answer names the reference', async () => {
    await withService(
      async (service, database) => {
        const { id } = await service.createUser();
        for (const table of ['invoice', 'letter', 'late']) {
          await database.query(`insert into ${table} values ($1)`, [id]);
          const answer = await service.call('DELETE', `/users/${id}`);
          const detail = `User with id ${id} is referenced by the table "${table}" (constraint "${table}_owner_fkey").`;
          assert.deepEqual(told(answer), [409, 'user_referenced', detail, []]);
          await database.query(`delete from ${table}`);
        }
        await database.query('update "user" set boss = id');
        const other = await service.createUser();
        await database.query('update "user" set boss = $1 where id = $2', [id, other.id]);
        assert.deepEqual(told(await service.call('DELETE', `/users/${id}`)).slice(0, 2), [409, 'user_referenced']);
        assert.equal((await service.call('DELETE', `/users/${other.id}`)).status, 200);
        await service.backlog(0);
      },
      'create table invoice (owner bigint references "user")',
      'create table letter (owner bigint references "user" on delete restrict)',
      'create table late (owner bigint references "user" deferrable initially deferred)',
      'alter table "user" add boss bigint references "user"',
    );
  });

  test('a unique violation names its field', async () => {
    await withService(
      async (service) => {
        await service.createUser({ name: 'Ann', surname: 'Lee' });
        const { id } = await service.createUser({ name: 'Bea', surname: 'Lea' });
        const body = { name: 'Ann', surname: 'X', password: 'correct horse' };
        const same = [409, 'user_conflict', 'Another user has the same name (constraint "user_name_key").', ['name']];
        assert.deepEqual(told(await service.call('POST', '/users/', body)), same);
        assert.deepEqual(told(await service.call('PUT', `/users/${id}`, { name: 'Ann' })), same);
        const lower = [409, 'user_conflict', 'Another user has the same surname (constraint "user_lower").', ['surname']];
        assert.deepEqual(told(await service.call('PUT', `/users/${id}`, { surname: 'LEE' })), lower);
        assert.deepEqual(told(await service.call('POST', '/users/', { ...body, name: 'Cleo', surname: 'lEe' })), lower);
        assert.equal((await service.call('PUT', `/users/${id}`, { surname: 'Lea', name: 'Bea' })).status, 200);
        assert.ok(!service.lines.some(({ event }) => event.includes('Every new user')), 'that is no contradiction');
      },
      'alter table "user" add unique (name)',
      'create unique index user_lower on "user" (lower(surname))',
      `insert into "user" (name, surname, password) values ('Ann0', 'Lee0', 'x')`,
    );
  });

  test('any other constraint violation is a 409 without values, and the start warns about rules that refuse every new user', async () => {
    await withService(async (service, database) => {
      await using pool = startPool(settings(database), 1);
      for (const [title, setup, undo, fields, keys] of refusals) {
        for (const statement of setup) await database.query(statement);
        const answer = await service.call('POST', '/users/', { name: 'Ann', surname: 'Lee', password: 'correct horse', ...fields });
        const refusal = [answer.status, answer.json.code, answer.json.extra?.map(({ key }: { key: string }) => key)];
        assert.deepEqual(refusal, [409, 'user_rejected', keys], `${title}: ${answer.text}`);
        assert.ok(!/argon2|Annabel|Zoe/.test(answer.text + service.text()), `neither the answer nor the log has a value: ${title}`);
        const always = Object.keys(fields).length === 0;
        assert.equal((await findContradiction(pool)) !== undefined, always, title);
        assert.deepEqual(await database.query('select from outbox'), []);
        for (const statement of undo) await database.query(statement);
      }
      assert.equal(await findContradiction(pool), undefined);
      assert.equal((await service.createUser()).id > 0, true);
      await database.query(trigger(`raise exception 'no'`));
      await using other = await startService(patient, { database });
      const line = other.lines.find(({ level, event }) => level === 'warn' && event.startsWith('Every new user is refused: '));
      assert.match(line?.event ?? '', /The table "user" does not take these values \(SQLSTATE P0001\)\.$/);
    });
  });

  test('a deletion that a trigger suppresses is not a 404', async () => {
    await withService(
      async (service) => {
        const { id } = await service.createUser();
        assert.deepEqual(told(await service.call('DELETE', `/users/${id}`)).slice(0, 2), [409, 'user_rejected']);
        assert.equal((await service.call('DELETE', '/users/999')).status, 404);
      },
      `create function keep() returns trigger language plpgsql as 'begin return null; end'`,
      'create trigger keep before delete on "user" for each row execute function keep()',
    );
  });

  test('ids that were inserted past the sequence are skipped, and none is given twice', async () => {
    await withService(async (service) => {
      const ids = (await Promise.all(Array.from({ length: 8 }, () => service.createUser()))).map(({ id }) => id);
      assert.deepEqual(Math.min(...ids) > 2000 && new Set(ids).size, 8, ids.join());
    }, `insert into "user" (id, name, surname, password) overriding system value select n, 'a', 'b', 'c' from generate_series(1, 2000) as n`);
  });
});

function trigger(body: string): string {
  return `create function rule() returns trigger language plpgsql as $$ begin ${body}; end $$; create trigger rule before insert on "user" for each row execute function rule()`;
}

suite('defaults of a role or a database', { concurrency: true }, () => {
  const defaults = {
    default_transaction_read_only: 'on',
    lock_timeout: '1',
    // Longer than the first statement of a session may take on a busy machine: that one has it.
    statement_timeout: '100',
    idle_in_transaction_session_timeout: '1',
    datestyle: 'German, DMY',
    timezone: 'Pacific/Kiritimati',
    intervalstyle: 'sql_standard',
    bytea_output: 'escape',
    standard_conforming_strings: 'off',
    client_min_messages: 'error',
  };
  for (const isolation of ['repeatable read', 'serializable']) {
    test(`change nothing: ${isolation}, read only, other limits and formats`, async () => {
      await using database = await createDatabase({ template: 'empty' });
      const name = new URL(database.url).pathname.slice(1);
      for (const [setting, value] of Object.entries({ ...defaults, default_transaction_isolation: isolation }))
        await database.query(`alter database ${name} set ${setting} = '${value}'`);
      await using service = await startService(patient, { database });
      const { id } = await service.createUser();
      const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => service.call('PUT', `/users/${id}`, { name: `Ann ${n}` })));
      assert.deepEqual(
        answers.map(({ status }) => status),
        answers.map(() => 200),
      );
      assert.match((await service.call('GET', `/users/${id}`)).json.updated_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      assert.equal((await service.call('DELETE', `/users/${id}`)).status, 200);
      await service.backlog(0);
    });
  }
});

suite('a database of another encoding', () => {
  test('is refused at the start, by name and with the cure', async () => {
    const admin = new pg.Client({ connectionString: serverUrl() });
    await admin.connect();
    try {
      for (const encoding of ['LATIN1', 'SQL_ASCII']) {
        const name = `test_${encoding.toLowerCase()}_${process.pid}`;
        await admin.query(`create database ${name} encoding '${encoding}' locale 'C' template template0`);
        try {
          const sentence = new RegExp(`^The database "${name}" has the encoding ${encoding}, .*npm run db:setup`);
          await assert.rejects(migrate({ ...settings({ url: databaseUrl(name) } as TestDatabase) }), {
            name: 'MigrationError',
            message: sentence,
          });
        } finally {
          await admin.query(`drop database ${name} with (force)`);
        }
      }
    } finally {
      await admin.end();
    }
  });

  test('is never created by db:setup, whatever the template', async () => {
    const name = `test_setup_${process.pid}`;
    await createRoleAndDatabase(databaseUrl(name), serverUrl());
    const admin = new pg.Client({ connectionString: serverUrl() });
    await admin.connect();
    try {
      const { rows } = await admin.query('select pg_encoding_to_char(encoding) as encoding from pg_database where datname = $1', [name]);
      assert.deepEqual(rows, [{ encoding: 'UTF8' }]);
      assert.ok((await migrate(settings({ url: databaseUrl(name) } as TestDatabase))).length > 0);
    } finally {
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
    }
  });
});
