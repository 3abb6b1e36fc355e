// The rows of an adopted table: passwords that look like hashes, and timestamps that the API cannot show.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { countLookalikes, hashPlaintextPasswords, hasPlaintextPasswords } from '../../src/features/users/adoption.ts';
import { startPool } from '../../src/platform/db/client.ts';
import { isHash, startPasswords } from '../../src/platform/security/passwords.ts';
import { adopt, settings } from '../support/adoption.ts';
import { createDatabase, patienceMs } from '../support/database.ts';
import { runNode } from '../support/process.ts';
import { cheapCost, startService } from '../support/service.ts';

const serial = `create table "user" (
  id serial primary key, name varchar(255) not null, surname varchar(255) not null, password text not null,
  created_at timestamptz, updated_at timestamptz)`;
/** Limits that a busy machine does not reach. */
const patient = { DATABASE_STATEMENT_TIMEOUT_MS: '30000', DATABASE_CONNECT_TIMEOUT_MS: '30000' };
const salt = 'c29tZXNhbHRzb21lc2FsdA';
const digest = 'A'.repeat(43);
const phc = (cost: string, rest = `$${salt}$${digest}`) => `$argon2id$v=19$${cost}${rest}`;

const lookalikes = [
  '$argon2id$my own',
  '$argon2id$',
  phc('m=1,t=0,p=1'),
  phc('m=19456,t=0,p=1'),
  phc('m=19456,t=4000000,p=1'),
  phc('m=4000000,t=1,p=1'),
  phc('m=262144,t=3,p=1'),
  phc('m=262145,t=1,p=1'),
  phc('m=64,t=17,p=1'),
  phc('m=1024,t=1,p=17'),
  phc('m=8,t=1,p=2'),
  phc('m=019456,t=2,p=1'),
  phc('m=19456,t=02,p=1'),
  phc('t=2,m=19456,p=1'),
  phc('m=19456,t=2'),
  phc('m=19456,t=2,p=1,keyid=AA'),
  phc('m=-19456,t=2,p=1'),
  phc('m=19456,t=2,p=1').replace('v=19', 'v=16'),
  phc('m=19456,t=2,p=1').replace('$v=19', ''),
  phc('m=19456,t=2,p=1', `$${salt}`),
  phc('m=19456,t=2,p=1', `$${salt}$${digest}=`),
  phc('m=19456,t=2,p=1', `$${salt}$${digest}\n`),
  phc('m=19456,t=2,p=1', `$${salt}$${digest} `),
  phc('m=19456,t=2,p=1', `$${salt}$${digest}$more`),
  phc('m=19456,t=2,p=1', `$short$${digest}`),
  phc('m=19456,t=2,p=1', `$${salt}$${'A'.repeat(15)}`),
  phc('m=19456,t=2,p=1', `$${'A'.repeat(65)}$${digest}`),
  phc('m=19456,t=2,p=1', `$${salt}$${'A'.repeat(87)}`),
  phc('m=19456,t=2,p=1', `$${salt}$${'A'.repeat(42)}B`),
  phc('m=19456,t=2,p=1', `$${salt}$${'A'.repeat(45)}`),
  phc('m=19456,t=2,p=1', `$${salt}$${'A'.repeat(1 << 20)}`),
];
const plain = [
  '',
  ' ',
  'correct horse',
  '$argon2i$v=19$m=64,t=1,p=1$x$y',
  '$argon2d$',
  '$2b$12$abc',
  '$ARGON2ID$v=19$',
  ' $argon2id$',
  'e\u0301'.repeat(1 << 19),
];
const hashes = [
  phc('m=8,t=1,p=1'),
  phc('m=262144,t=2,p=16'),
  phc('m=32768,t=16,p=8'),
  phc('m=19456,t=2,p=1', `$${'A'.repeat(11)}$${'A'.repeat(86)}`),
];

suite('passwords of an adopted table', { concurrency: true }, () => {
  test('that begin like a hash and are none are hashed as text, resumably, and the start warns while any are left', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(serial);
    const all = [...lookalikes, ...plain, ...hashes];
    await database.query(`insert into "user" (name, surname, password) select 'Ann', 'Lee', typed from unnest($1::text[]) as typed`, [all]);
    await adopt(database);
    await using pool = startPool(settings(database), 4);
    await using passwords = startPasswords(cheapCost);
    assert.equal(await countLookalikes(pool), lookalikes.length);

    const interrupt = (done: number) => {
      if (done > plain.length) throw new Error('interrupted');
    };
    await assert.rejects(hashPlaintextPasswords(pool, passwords, interrupt), /interrupted/);
    assert.equal(await hasPlaintextPasswords(pool), true);
    {
      await using service = await startService(patient, { database });
      assert.ok(service.lines.some(({ level, event }) => level === 'warn' && event.includes('run "npm run migrate"')));
    }
    await hashPlaintextPasswords(pool, passwords, () => {});
    assert.equal(await hasPlaintextPasswords(pool), false);

    const rows = await database.query<{ id: number; password: string }>('select id, password from "user" order by id');
    for (const [n, typed] of all.entries()) {
      const stored = rows[n]?.password ?? '';
      if (hashes.includes(typed)) assert.equal(stored, typed);
      else assert.ok(isHash(stored) && stored !== typed, typed.slice(0, 100));
    }
    const [tricky] = rows.filter((_, n) => all[n] === '$argon2id$my own');
    assert.equal(await passwords.verify(tricky?.password ?? '', '$argon2id$my own'), true);
    const [huge] = rows.filter((_, n) => all[n] === plain.at(-1));
    assert.equal(
      await passwords.verify(huge?.password ?? '', plain.at(-1) ?? ''),
      true,
      'what is too long to be typed again is taken as it stands',
    );
  });

  test('of any form are replaced by a PUT, which is answered soon', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(serial);
    const all = [...lookalikes, ...plain, ...hashes];
    await database.query(`insert into "user" (name, surname, password) select 'Ann', 'Lee', typed from unnest($1::text[]) as typed`, [all]);
    await using service = await startService(patient, { database });
    for (const [n, typed] of all.entries()) {
      const put = () => service.call('PUT', `/users/${n + 1}`, { password: 'correct horse battery' });
      let answer = await put();
      // As a client does: on a busy machine the dearest hash may take longer than the service waits for it.
      for (const startedAt = performance.now(); answer.status === 503 && performance.now() - startedAt < patienceMs; ) answer = await put();
      assert.equal(answer.status, 200, typed.slice(0, 100));
    }
    const rows = await database.query<{ password: string }>('select password from "user"');
    assert.ok(rows.every(({ password }) => password.startsWith('$argon2id$v=19$m=64,t=1,p=1$')));
    await using pool = startPool(settings(database), 2);
    await using passwords = startPasswords(cheapCost);
    assert.equal(await hashPlaintextPasswords(pool, passwords, () => {}), 0, 'and nothing is left to hash');
  });

  test('are classified alike by SQL and by the code', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(serial);
    const digits = fc
      .oneof(fc.nat({ max: 20 }), fc.constantFrom(8, 16, 17, 64, 65536, 262144, 262145), fc.nat({ max: 9_999_999 }))
      .map(String);
    const bytes = (min: number, max: number) =>
      fc.uint8Array({ minLength: min, maxLength: max }).map((data) => Buffer.from(data).toString('base64').replace(/=+$/, ''));
    const shaped = fc
      .tuple(
        digits,
        digits,
        digits,
        fc.oneof(bytes(8, 48), bytes(0, 60)),
        fc.oneof(bytes(12, 64), bytes(0, 80)),
        fc.constantFrom('', '', '', 'A', '=', '\n'),
      )
      .map(([m, t, p, one, other, rest]) => `$argon2id$v=19$m=${m},t=${t},p=${p}$${one}$${other}${rest}`);
    const cheap = fc
      .tuple(bytes(7, 50), bytes(11, 66), fc.constantFrom('', 'A'))
      .map(([one, other, rest]) => phc('m=64,t=1,p=1', `$${one}$${other}${rest}`));
    const texts = fc.sample(fc.oneof(shaped, cheap, cheap), 3000);
    await database.query(`insert into "user" (name, surname, password) select 'Ann', 'Lee', typed from unnest($1::text[]) as typed`, [
      texts,
    ]);
    await adopt(database);
    const found = await database.query<{ password: string }>(
      'select password from user_password_lookalike join "user" using (id) order by id',
    );
    assert.deepEqual(
      found.map(({ password }) => password),
      texts.filter((text) => !isHash(text)),
    );
    assert.ok(found.length < texts.length, 'some of them are hashes');
  });

  test('are counted in the words of npm run migrate', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(serial);
    await database.query(`insert into "user" (name, surname, password) values ('a', 'b', '$argon2id$my own'), ('a', 'b', 'typed')`);
    const { code, stdout, stderr } = await runNode('src/cli/migrate.ts', { DATABASE_URL: database.url });
    assert.equal(code, 0, stderr);
    assert.match(
      stdout,
      /Hashed 2 passwords\.\n1 of them looked like argon2id hashes and were none of ours: they were hashed as text\.\n$/,
    );
  });
});

suite('timestamps of an adopted table', { concurrency: true }, () => {
  const shown = /^(?!0000)\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;
  const instants = [
    'infinity',
    '-infinity',
    '10000-01-01 00:00:00',
    '294276-12-31 23:59:59',
    '0044-03-15 BC',
    '4713-01-01 BC',
    '0001-01-02',
    '2024-02-03 24:00:00',
  ];

  for (const kind of ['timestamptz(3)', 'timestamp(0)', 'date']) {
    test(`of type ${kind} beyond the range of the API are bounded and reported, and every answer and event keeps its schema`, async () => {
      await using database = await createDatabase({ template: 'empty' });
      await database.query(serial.replaceAll('timestamptz', kind));
      await database.query(
        `insert into "user" (name, surname, password, created_at, updated_at)
         select 'Ann', 'Lee', 'typed', instant::timestamp, '2024-05-06 07:08:09'::timestamp from unnest($1::text[]) as instant
         union all select 'Ann', 'Lee', 'typed', '2024-05-06 07:08:09'::timestamp, instant::timestamp from unnest($1::text[]) as instant`,
        [instants],
      );
      const warnings = await adopt(database);
      assert.match(
        warnings.join('\n'),
        /^Timestamps of 12 user\(s\) were outside the years 1 to 9999.*user 1 had created_at infinity, updated_at 2024-05-06/m,
      );

      await using service = await startService(patient, { database });
      const { status, json } = await service.call('GET', '/users/?per_page=100');
      assert.equal(status, 200);
      for (const { created_at, updated_at } of json.users)
        assert.match(`${created_at} ${updated_at}`, new RegExp(`${shown.source.slice(1, -1)} ${shown.source.slice(1, -1)}`));
      assert.equal(json.users[instants.length].created_at.slice(0, 10), '2024-05-06');
      for (const { id, updated_at } of json.users) {
        const put = await service.call('PUT', `/users/${id}`, { name: 'Bea' });
        assert.equal(put.status, 200);
        assert.match(put.json.updated_at, shown);
        assert.ok(put.json.updated_at > updated_at || updated_at.startsWith('9999-12-31T23'), `${updated_at} then ${put.json.updated_at}`);
        assert.equal((await service.call('DELETE', `/users/${id}`)).status, 200);
      }
      // What breaks the schema of events would stay.
      await service.backlog(0);
    });
  }

  test('cannot be put outside these years by SQL either', async () => {
    await using database = await createDatabase();
    await database.query(`insert into "user" (name, surname, password) values ('a', 'b', 'c')`);
    for (const column of ['created_at', 'updated_at'])
      for (const instant of ['infinity', '-infinity', '10000-01-01 00:00:00+00', '0001-12-31 00:00:00+00 BC'])
        await assert.rejects(database.query(`update "user" set ${column} = $1`, [instant]), /user_timestamps_range/);
  });

  test('at the very end of the range stay', async () => {
    await using database = await createDatabase();
    await database.query(
      `insert into "user" (name, surname, password, updated_at) values ('a', 'b', 'c', '9999-12-31 23:59:59.999999+00')`,
    );
    await using service = await startService(patient, { database });
    const { status, json } = await service.call('PUT', '/users/1', { name: 'Ann' });
    assert.deepEqual([status, json.updated_at], [200, '9999-12-31T23:59:59.999999Z']);
    assert.equal((await service.call('DELETE', '/users/1')).status, 200);
    await service.backlog(0);
  });

  test('that were adopted by an earlier version are repaired with their events, which then leave the log as others do', async () => {
    await using database = await createDatabase();
    // As an earlier version left it: no bounds, a user of year 10000, and its events, one put off, one in the outbox.
    await database.query(`alter table "user" drop constraint user_timestamps_range`);
    await database.query(`delete from schema_migration where version in (7, 8)`);
    await database.query(
      `insert into "user" (name, surname, password, created_at, updated_at) values ('a', 'b', '$argon2id$mine', 'infinity', '10000-01-01')`,
    );
    const user = JSON.stringify({
      user_id: 1,
      version: 2,
      changed: ['name'],
      user: { id: 1, name: 'a', surname: 'b', created_at: null, updated_at: '10000-01-01T00:00:00.000000Z' },
    });
    const columns = 'event_id, event_type, subject, occurred_at, trace_id, traceparent, data';
    const values = `gen_random_uuid(), 'user.updated', '1', '10000-01-01', 'trace', '00-0b9a3ad47f0e4a1c9d2f6f3c1c2b7a10-6f3c1c2b7a10abcd-01', $1`;
    await database.query(`insert into outbox (${columns}) select ${values}`, [user]);
    await database.query(`insert into event (position, logged_at, ${columns}) select 1, '2024-01-01', ${values}`, [user]);
    await database.query(
      `insert into event_retry (position, logged_at, subject, attempts, retry_at) values (1, '2024-01-01', '1', 3, now())`,
    );
    await database.query(
      `update event_state set logged_position = 1, logged_at = '2024-01-01', published_position = 1, published_at = '2024-01-01'`,
    );
    await using service = await startService(patient, { database });
    await service.backlog(0);
    const { json } = await service.call('GET', '/users/1');
    assert.match(`${json.created_at}`, shown);
    assert.ok(service.lines.some(({ event }) => event.startsWith('Passwords of adopted users')));
    assert.equal((await database.query('select from event_retry')).length, 0);
  });
});
