// Tables that other services made: from where their ids go on, and which of them cannot be adopted, in which words.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import pg from 'pg';
import { migrate } from '../../src/platform/db/migrate.ts';
import { adopt, settings } from '../support/adoption.ts';
import { createDatabase, serverUrl, type TestDatabase } from '../support/database.ts';
import { runNode } from '../support/process.ts';

suite('ids after adoption', { concurrency: true }, () => {
  const columns = 'name text not null, surname text not null, password text not null';
  /** 5,000 were created, and the highest of them, or all, deleted. */
  const used = `insert into "user" (id, name, surname, password) select nextval('%'), 'a', 'b', 'typed' from generate_series(1, 5000)`;
  const byDefault = `insert into "user" (name, surname, password) select 'a', 'b', 'typed' from generate_series(1, 5000)`;
  const nextId = async (database: TestDatabase) =>
    (await database.query<{ id: string }>(`insert into "user" (name, surname, password) values ('a', 'b', 'c') returning id`))[0]?.id;

  const cases: Readonly<Record<string, { readonly setup: readonly string[]; readonly next: string }>> = {
    'a sequence beside a column without default (SQLAlchemy, advanced-alchemy)': {
      setup: ['create sequence user_id_seq', `create table "user" (id bigint primary key, ${columns})`, used.replace('%', 'user_id_seq')],
      next: '5001',
    },
    'a sequence by default that the column does not own': {
      setup: ['create sequence numbers', `create table "user" (id bigint primary key default nextval('numbers'), ${columns})`, byDefault],
      next: '5001',
    },
    'a sequence by default that is named in text': {
      setup: [
        'create sequence numbers',
        `create table "user" (id integer primary key default nextval('numbers'::text), ${columns})`,
        byDefault,
      ],
      next: '5001',
    },
    'a sequence in another schema, with a quoted name': {
      setup: [
        'create schema "Old one"',
        'create sequence "Old one"."User_id_seq"',
        `create table "user" (id bigint primary key, ${columns})`,
        used.replace('%', '"Old one"."User_id_seq"'),
      ],
      next: '5001',
    },
    'the higher of an owned and of another': {
      setup: [
        'create sequence user_seq start 9001',
        `create table "user" (id serial primary key, ${columns})`,
        byDefault,
        `select nextval('user_seq')`,
      ],
      next: '9002',
    },
    'a serial column': { setup: [`create table "user" (id serial primary key, ${columns})`, byDefault], next: '5001' },
    'an identity that was restarted and not called since': {
      setup: [
        `create table "user" (id bigint generated always as identity primary key, ${columns})`,
        `alter table "user" alter column id restart with 5001`,
      ],
      next: '5001',
    },
    'a serial of smallint, and a sequence beyond its range': {
      setup: [
        'create sequence user_id_sequence start 70000',
        `create table "user" (id smallserial primary key, ${columns})`,
        byDefault,
        `select nextval('user_id_sequence')`,
      ],
      next: '70001',
    },
    'a sequence that draws fifty at once': {
      setup: [
        'create sequence user_seq increment 50',
        `create table "user" (id bigint primary key, ${columns})`,
        `select nextval('user_seq'), nextval('user_seq')`,
      ],
      next: '101',
    },
    'a sequence that caches': {
      setup: [
        'create sequence user_id_seq cache 20',
        `create table "user" (id bigint primary key, ${columns})`,
        used.replace('%', 'user_id_seq'),
      ],
      next: '5001',
    },
    'an owned sequence from which another table draws too': {
      setup: [
        `create table "user" (id serial primary key, ${columns})`,
        byDefault,
        `create table pet (id bigint primary key default nextval('user_id_seq'))`,
        'insert into pet select from generate_series(1, 10)',
      ],
      next: '5011',
    },
    'a sequence with a lowest value above all': {
      setup: [
        'create sequence user_id_seq minvalue 1000 start 1000',
        `create table "user" (id bigint primary key default nextval('user_id_seq'), ${columns})`,
        'alter sequence user_id_seq owned by "user".id',
      ],
      next: '1000',
    },
  };
  for (const [title, { setup, next }] of Object.entries(cases)) {
    test(`go on after the highest that was given out: ${title}`, async () => {
      await using database = await createDatabase({ template: 'empty' });
      for (const statement of setup) await database.query(statement);
      await database.query('delete from "user"');
      assert.deepEqual(await adopt(database), []);
      assert.equal(await nextId(database), next);
    });
  }

  test('ignore sequences of other tables', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(`create schema shop`);
    await database.query(`create table shop."user" (id serial primary key)`);
    await database.query(`create sequence shop.users_id_seq`);
    await database.query(`create table auth_user (id serial primary key)`);
    await database.query(`select setval('shop.user_id_seq', 77), setval('shop.users_id_seq', 88), setval('auth_user_id_seq', 99)`);
    await database.query(`create table "user" (id serial primary key, ${columns})`);
    await adopt(database);
    assert.equal(await nextId(database), '1');
    assert.deepEqual(await database.query(`select last_value from shop.users_id_seq`), [{ last_value: '88' }]);
  });

  test('without a sequence ask for npm run migrate -- --next-id', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(`create table "user" (id bigint primary key, ${columns})`);
    await database.query(`insert into "user" values (7, 'a', 'b', 'typed')`);
    const env = { DATABASE_URL: database.url };
    const refused = await runNode('start.js', { ...env, PORT: '0' });
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /cannot be known: run npm run migrate -- --next-id N once, with an N above every id there ever was \(7 is the highest now\)\.\n$/,
    );
    for (const wrong of ['0', '1e3', '9007199254740992'])
      assert.match(
        (await runNode('src/cli/migrate.ts', env, [`--next-id=${wrong}`])).stderr,
        /^--next-id must be a whole number from 1 to/,
      );
    const given = await runNode('src/cli/migrate.ts', env, ['--next-id', '5001']);
    assert.equal(given.code, 0, given.stderr);
    assert.match(given.stdout, /The next user gets the id 5001\./);
    assert.equal(await nextId(database), '5001');
    // Later it raises, and never lowers.
    assert.match((await runNode('src/cli/migrate.ts', env, ['--next-id', '10'])).stdout, /The next user gets the id 5002\./);
    assert.match((await runNode('src/cli/migrate.ts', env, ['--next-id', '6000'])).stdout, /The next user gets the id 6000\./);
    assert.equal(await nextId(database), '6000');
  });

  test('that were set by hand continue after the highest, with a warning', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(`create table "user" (id serial primary key, ${columns})`);
    await database.query(`insert into "user" values (7, 'a', 'b', 'typed')`);
    assert.match(
      (await adopt(database)).join(),
      /^Ids of users go on after 7, the highest that is there: no sequence has counted so far\./,
    );
    assert.equal(await nextId(database), '8');
  });

  test('of a table that an earlier version adopted are raised above what such a sequence says', async () => {
    await using database = await createDatabase();
    await database.query('create sequence user_id_sequence');
    await database.query(`select setval('user_id_sequence', 5000)`);
    await database.query('alter table "user" drop constraint user_timestamps_range');
    await database.query(`delete from schema_migration where version in (7, 8)`);
    assert.match((await adopt(database)).join(), /^Ids of users go on after 5000 instead of 0/);
    assert.equal(await nextId(database), '5001');
  });
});

test('a version column of an adopted table goes on as the count of changes', async () => {
  await using database = await createDatabase({ template: 'empty' });
  await database.query(`create table "user" (id serial primary key, name text, surname text, password text, version smallint)`);
  await database.query(
    `insert into "user" (name, surname, password, version) select 'a', 'b', 'c', n from unnest(array[null, 0, 32767]) as n`,
  );
  await adopt(database);
  const rows = await database.query<{ version: string }>('update "user" set version = version + 1 returning version');
  assert.deepEqual(rows.map(({ version }) => version).sort(), ['2', '2', '32768']);
});

test('a table of another role is refused with the statement that hands it over', async () => {
  await using database = await createDatabase({ template: 'empty' });
  await using adopter = await createRole();
  await database.query(`create table "user" (id serial primary key, name text, surname text, password text)`);
  await database.query(`grant create on schema public to ${adopter.name}`);
  const url = new URL(database.url);
  url.username = adopter.name;
  url.password = 'x';
  await assert.rejects(
    migrate({ ...settings(database), url: url.href }),
    new RegExp(`belongs to the role \\w+, and only its owner can adopt it: run alter table "user" owner to ${adopter.name}`),
  );
  await database.query(`revoke create on schema public from ${adopter.name}`);
});

/** A role that may log in and no more. */
async function createRole() {
  const admin = new pg.Client({ connectionString: serverUrl() });
  await admin.connect();
  const name = `role_${randomBytes(6).toString('hex')}`;
  await admin.query(`create role ${name} login password 'x'`);
  return {
    name,
    async [Symbol.asyncDispose]() {
      await admin.query(`drop role ${name}`);
      await admin.end();
    },
  };
}

suite('a table that cannot be adopted', { concurrency: true }, () => {
  const columns = 'name text, surname text, password text';
  const cases: readonly [string, readonly string[], RegExp][] = [
    [
      'an id of 0 or below',
      [`create table "user" (id serial primary key, ${columns})`, `insert into "user" values (0, 'a', 'b', 'c'), (-4, 'a', 'b', 'c')`],
      /not between 1 and 9007199254740991 \(first ten\): -4, 0;/,
    ],
    [
      'an id above 2^53 - 1',
      [`create table "user" (id bigserial primary key, ${columns})`, `insert into "user" values (9007199254740992, 'a', 'b', 'c')`],
      /\(first ten\): 9007199254740992;/,
    ],
    [
      'no id',
      [
        `create table "user" (id bigserial, ${columns})`,
        'alter table "user" alter column id drop not null',
        `insert into "user" values (null, 'a', 'b', 'c')`,
      ],
      /\(first ten\): null;/,
    ],
    ['ids of UUIDs', [`create table "user" (id uuid primary key, ${columns})`], /the column id of the table "user" is of type uuid/],
    ['ids of text', [`create table "user" (id varchar(36) primary key, ${columns})`], /is of type character varying\(36\)/],
    [
      'ids that are not unique',
      [`create table "user" (id serial, ${columns})`, `insert into "user" values (3, 'a', 'b', 'c'), (3, 'a', 'b', 'c')`],
      /ids of more than one user \(first ten\): 3;/,
    ],
    [
      'a primary key of something else',
      [`create table "user" (id serial, tenant integer, ${columns}, primary key (tenant, id))`],
      /alter table "user" add unique \(id\)/,
    ],
    [
      'timestamps of text',
      [`create table "user" (id serial primary key, ${columns}, created_at text)`],
      /the column created_at of the table "user" is of type text/,
    ],
    [
      'timestamps of numbers',
      [`create table "user" (id serial primary key, ${columns}, updated_at bigint)`],
      /the column updated_at of the table "user" is of type bigint/,
    ],
    [
      'a version of text',
      [`create table "user" (id serial primary key, ${columns}, version text)`],
      /the column version of the table "user" is of type text, and counts changes here: rename it/,
    ],
    ['a view', [`create view "user" as select 1 as id, 'a' as name, 'b' as surname, 'c' as password`], /no ordinary table/],
    [
      'ids at their end',
      [`create table "user" (id bigserial primary key, ${columns})`, `select setval('user_id_seq', 9007199254740991)`],
      /counted up to 9007199254740991.*set the sequence user_id_seq back/,
    ],
  ];
  for (const [title, setup, sentence] of cases) {
    test(`is refused with a sentence and left unchanged: ${title}`, async () => {
      await using database = await createDatabase({ template: 'empty' });
      for (const statement of setup) await database.query(statement);
      await assert.rejects(adopt(database), sentence);
      assert.deepEqual(await database.query("select to_regclass('schema_migration') as applied"), [{ applied: null }]);
    });
  }
});
