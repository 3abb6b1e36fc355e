// DATABASE_URL on real servers: SSL by libpq's and asyncpg's words, several hosts, and mistakes that end the start.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { after, suite, test } from 'node:test';
import { startNetwork } from '../../harness/network.ts';
import { startPool } from '../../src/platform/db/client.ts';
import { createCertificates } from '../support/certificates.ts';
import { startPgbouncer } from '../support/pgbouncer.ts';
import { startPostgres, versions } from '../support/postgres.ts';
import { runNode } from '../support/process.ts';
import { startService } from '../support/service.ts';

const settings = (url: string) => ({ url, applicationName: 'test', connectTimeoutMs: 10_000, statementTimeoutMs: 10_000 });

/** How a connection came about: with SSL or without, or the words of the refusal. */
async function connectBy(url: string): Promise<string> {
  await using pool = startPool(settings(url), 1);
  try {
    const [row] = await pool.query<{ ssl: boolean }>('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    return row?.ssl ? 'SSL' : 'plain';
  } catch (error) {
    return `refused: ${((error as Error).cause as Error).message}`;
  }
}

const certificates = await createCertificates();
after(() => certificates[Symbol.asyncDispose]());
const root = `sslrootcert=${encodeURIComponent(certificates.ca)}`;
const noSsl = /^refused: The server does not support SSL connections$/;
const words: Readonly<Record<string, { readonly on: string | RegExp; readonly off: string | RegExp }>> = {
  '': { on: 'SSL', off: 'plain' },
  'sslmode=disable': { on: 'plain', off: 'plain' },
  'sslmode=allow': { on: 'plain', off: 'plain' },
  'sslmode=prefer': { on: 'SSL', off: 'plain' },
  'sslmode=require': { on: 'SSL', off: noSsl },
  [`sslmode=verify-ca&${root}`]: { on: 'SSL', off: noSsl },
  [`sslmode=verify-full&${root}`]: { on: 'SSL', off: noSsl },
  'sslmode=no-verify': { on: 'SSL', off: noSsl },
  'ssl=disable': { on: 'plain', off: 'plain' },
  'ssl=allow': { on: 'plain', off: 'plain' },
  'ssl=prefer': { on: 'SSL', off: 'plain' },
  'ssl=require': { on: 'SSL', off: noSsl },
  [`ssl=verify-ca&${root}`]: { on: 'SSL', off: noSsl },
  [`ssl=verify-full&${root}`]: { on: 'SSL', off: noSsl },
  [`ssl=true&${root}`]: { on: 'SSL', off: noSsl },
  'ssl=false': { on: 'plain', off: 'plain' },
  // Roots that do not know the server.
  'sslmode=verify-full': { on: /^refused: .*(self-signed|unable to)/, off: noSsl },
  'sslrootcert=system': { on: /^refused: .*(self-signed|unable to)/, off: noSsl },
  [`sslmode=require&sslrootcert=${encodeURIComponent(certificates.otherCa)}`]: { on: /^refused: .*(self-signed|unable to)/, off: noSsl },
  [`sslmode=prefer&sslrootcert=${encodeURIComponent(certificates.otherCa)}`]: { on: 'plain', off: 'plain' },
};

for (const version of versions) {
  suite(`SSL with PostgreSQL ${version}`, async () => {
    const [cert, key, ca] = await Promise.all(
      [certificates.server.cert, certificates.server.key, certificates.ca].map((path) => readFile(path, 'utf8')),
    );
    const files = { 'server.crt': cert ?? '', 'server.key': key ?? '', 'root.crt': ca ?? '' };
    const ssl = { ssl: 'on', ssl_ca_file: 'root.crt', listen_addresses: '127.0.0.1,127.0.0.2' };
    const hba = [
      'host all everybody 127.0.0.0/8 trust',
      'hostssl all only_ssl 127.0.0.0/8 trust',
      'hostnossl all only_plain 127.0.0.0/8 trust',
      'hostssl all only_known 127.0.0.0/8 trust clientcert=verify-ca',
    ];
    const [on, off] = await Promise.all([startPostgres(version, { settings: ssl, hba, files }), startPostgres(version)]);
    after(() => Promise.all([on[Symbol.asyncDispose](), off[Symbol.asyncDispose]()]));
    for (const role of ['everybody', 'only_ssl', 'only_plain', 'only_known']) await on.query(`create role ${role} login`);
    const as = (role: string, query: string, host = '127.0.0.1') => `postgres://${role}@${host}:${on.port}/postgres?${query}`;

    for (const [query, { on: wanted, off: wantedOff }] of Object.entries(words)) {
      test(`${query.replace(/=%2F.*/, '=...') || 'no word'} means what libpq or asyncpg means by it`, async () => {
        const said = [await connectBy(as('everybody', query)), await connectBy(`${off.url}?${query}`)];
        for (const [at, want] of [wanted, wantedOff].entries()) {
          if (typeof want === 'string') assert.equal(said[at], want);
          else assert.match(said[at] ?? '', want);
        }
      });
    }

    test('a host name that the certificate lacks is refused by verify-full only', async () => {
      assert.equal(await connectBy(as('everybody', `sslmode=verify-ca&${root}`, '127.0.0.2')), 'SSL');
      assert.match(await connectBy(as('everybody', `sslmode=verify-full&${root}`, '127.0.0.2')), /^refused: Hostname\/IP does not match/);
    });

    test('allow and prefer follow a pg_hba.conf that accepts only one of the two', async () => {
      assert.equal(await connectBy(as('only_ssl', 'sslmode=allow')), 'SSL');
      assert.equal(await connectBy(as('only_plain', 'sslmode=prefer')), 'plain');
      assert.match(await connectBy(as('only_ssl', 'sslmode=disable')), /^refused: no pg_hba.conf entry .* no encryption/);
      assert.match(await connectBy(as('only_plain', 'sslmode=require')), /^refused: no pg_hba.conf entry .* SSL encryption/);
    });

    test('a client certificate is sent, with an encrypted key or a plain one', async () => {
      const { cert, key, keyEncrypted, keyPassword } = certificates.client;
      const parameters = (file: string, more = '') =>
        `sslmode=require&sslcert=${encodeURIComponent(cert)}&sslkey=${encodeURIComponent(file)}${more}`;
      assert.match(await connectBy(as('only_known', 'sslmode=require')), /requires a valid client certificate/);
      assert.equal(await connectBy(as('only_known', parameters(key))), 'SSL');
      assert.equal(await connectBy(as('only_known', parameters(keyEncrypted, `&sslpassword=${encodeURIComponent(keyPassword)}`))), 'SSL');
    });
  });
}

suite('several hosts in DATABASE_URL', { concurrency: true }, () => {
  const hosts = (servers: readonly { readonly port: number }[], query = '') =>
    `postgres://postgres@${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}/postgres${query}`;

  test('the first that answers is used, and another when it fails', async () => {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startPostgres(15));
    const [first, second] = [
      stack.use(await startNetwork({ host: '127.0.0.1', port: server.port })),
      stack.use(await startNetwork({ host: '127.0.0.1', port: server.port })),
    ];
    await first?.refuse();
    const pool = stack.use(startPool(settings(hosts([first, second])), 2));
    assert.equal((await pool.query('select 1')).length, 1);
    await first.heal();
    await second.refuse();
    // One statement may be what finds out that a connection is gone.
    await pool.query('select 1').catch(() => {});
    assert.equal((await pool.query('select 1')).length, 1);
    assert.equal(await pool.inTransaction(async (tx) => (await tx.query('select 1')).length), 1);
    await first.refuse();
    await pool.query('select 1').catch(() => {});
    await assert.rejects(pool.query('select 1'), { name: 'DatabaseUnavailableError' });
  });

  test('a host that never answers costs one wait, not one per connection', async () => {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startPostgres(15));
    let asked = 0;
    const silent = createServer(() => {
      asked += 1;
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    stack.defer(() => void silent.close());
    const pool = stack.use(startPool({ ...settings(hosts([silent.address() as AddressInfo, server])), connectTimeoutMs: 5000 }, 4));
    await pool.query('select 1');
    await Promise.all(Array.from({ length: 4 }, () => pool.inTransaction((tx) => tx.query('select pg_sleep(0.1)'))));
    // Twice where the machine is too busy to answer in time, too; without a memory five times.
    assert.ok(asked >= 1 && asked <= 2, `${asked}`);
  });

  test('the service follows a failover to the standby', async () => {
    await using stack = new AsyncDisposableStack();
    const primary = stack.use(await startPostgres(15));
    const standby = stack.use(await primary.startStandby());
    const service = stack.use(await startService({ DATABASE_URL: hosts([standby, primary], '?target_session_attrs=read-write') }));
    const { id } = await service.createUser();
    while ((await standby.query(`select from "user" where id = ${id}`).catch(() => [])).length === 0);
    await primary.stop();
    await standby.query('select pg_promote()');
    const create = () => service.call('POST', '/users/', { name: 'A', surname: 'B', password: 'correct horse' });
    let answer = await create();
    while (answer.status !== 201) answer = await create();
    assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
    await service.line(({ event }) => event === `Received event user.created with user_id=${answer.json.id}`);
  });

  test('a connection to a standby is dropped at the first write that it refuses', async () => {
    await using stack = new AsyncDisposableStack();
    const primary = stack.use(await startPostgres(15));
    await primary.query('create table t (n int)');
    const standby = stack.use(await primary.startStandby());
    const target = { host: '127.0.0.1', port: standby.port };
    const address = stack.use(await startNetwork(target));
    const pool = stack.use(startPool(settings(hosts([address])), 1));
    const insert = () => pool.inTransaction((tx) => tx.query('insert into t values (1)'));
    await assert.rejects(insert(), { name: 'DatabaseUnavailableError' });
    target.port = primary.port;
    await insert();
    assert.equal((await primary.query('select from t')).length, 1);
  });
});

suite('mistakes of the operator', { concurrency: true }, async () => {
  const server = await startPostgres(18, { hba: ['host all postgres 127.0.0.0/8 trust', 'host all all 127.0.0.0/8 scram-sha-256'] });
  const bouncer = await startPgbouncer(server, { ignore_startup_parameters: '' });
  after(async () => {
    await bouncer[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  await server.query(`create role me login password 's3cret'`);
  await server.query(`create role plain login password 's3cret'`);
  await server.query('create database mine owner me');
  await server.query(`create role admin login superuser password 'adm1n'`);
  const at = (user: string, rest = '/mine') => `postgres://${user}@127.0.0.1:${server.port}${rest}`;

  type Mistake = { readonly env: Record<string, string>; readonly words: RegExp; readonly files?: readonly string[] };
  const start = ['start.js', 'src/cli/migrate.ts'];
  const setup = ['start.js', 'src/cli/migrate.ts', 'src/cli/setup.ts'];
  const mistakes: Readonly<Record<string, Mistake>> = {
    'no password': { env: { DATABASE_URL: at('me') }, words: /asks for a password, and DATABASE_URL has none/ },
    'a wrong password': { env: { DATABASE_URL: at('me:wr0ng') }, words: /password authentication failed for user "me"; SQLSTATE 28P01/ },
    'a database that is missing': {
      env: { DATABASE_URL: at('me:s3cret', '/none') },
      words: /database "none" does not exist; SQLSTATE 3D000\).*npm run db:setup/,
    },
    'SSL that the server lacks': {
      env: { DATABASE_URL: at('me:s3cret', '/mine?sslmode=require') },
      words: /asks for SSL, and the server has none/,
    },
    'an option that PostgreSQL does not know': {
      env: { DATABASE_URL: at('me:s3cret', '/mine?options=-c%20nonsense%3D1') },
      words: /unrecognized configuration parameter "nonsense"; SQLSTATE 42704/,
    },
    'a database that takes no connections': {
      env: { DATABASE_URL: at('me:s3cret', '/template0') },
      words: /"template0" is not currently accepting connections/,
    },
    'PgBouncer without its setting': {
      env: { DATABASE_URL: bouncer.url },
      words: /PgBouncer refuses .*unsupported startup parameter: statement_timeout.*ignore_startup_parameters/,
      // A migration has no time limit.
      files: ['start.js'],
    },
    'a wrong password in DATABASE_ADMIN_URL': {
      env: { DATABASE_URL: at('new:s3cret', '/new'), DATABASE_ADMIN_URL: at('admin:wr0ng', '/postgres') },
      words: /refuses the user or the password of DATABASE_ADMIN_URL/,
      files: setup,
    },
    'no password in DATABASE_ADMIN_URL': {
      env: { DATABASE_URL: at('new:s3cret', '/new'), DATABASE_ADMIN_URL: at('admin', '/postgres') },
      words: /asks for a password, and DATABASE_ADMIN_URL has none/,
      files: setup,
    },
    'a reserved role': {
      env: { DATABASE_URL: at('pg_rollcall:s3cret', '/new'), DATABASE_ADMIN_URL: at('admin:adm1n', '/postgres') },
      words: /does not create the role pg_rollcall of DATABASE_URL .*reserved/,
      files: setup,
    },
    'an administrator without the right': {
      env: { DATABASE_URL: at('new:s3cret', '/new'), DATABASE_ADMIN_URL: at('plain:s3cret', '/postgres') },
      words: /does not create the role new of DATABASE_URL .*permission denied/,
      files: setup,
    },
    'a host list that is no list': {
      env: { DATABASE_URL: 'postgres://me:s3cret@h1:1:2,h2/mine' },
      words: /must have a host, or several by comma/,
      files: setup,
    },
  };

  for (const [title, { env, words: wanted, files = start }] of Object.entries(mistakes)) {
    test(`${title}: the start and the commands end with one sentence and no stack`, async () => {
      for (const file of files) {
        const { code, stderr } = await runNode(file, { PORT: '0', LOG_LEVEL: 'silent', ...env });
        assert.equal(code, 1, file);
        assert.match(stderr, wanted, file);
        assert.doesNotMatch(stderr, /\n {4}at |s3cret|wr0ng|adm1n/, file);
      }
    });
  }

  test('commands report an unreachable server in one sentence', async () => {
    const env = { DATABASE_URL: 'postgres://me:s3cret@127.0.0.1:1/mine', DATABASE_ADMIN_URL: 'postgres://me:s3cret@127.0.0.1:1/mine' };
    for (const file of ['src/cli/migrate.ts', 'src/cli/setup.ts']) {
      const { code, stderr } = await runNode(file, env);
      assert.deepEqual(
        [code, stderr],
        [1, 'PostgreSQL cannot be reached (ECONNREFUSED): is it running, and is DATABASE_URL right?\n'],
        file,
      );
    }
  });

  test('role and database names with URL-escaped characters are created and used', async () => {
    const env = { DATABASE_URL: at('r%23o%2Fle:s3cret', '/d%23a%2Ft%3F%25'), DATABASE_ADMIN_URL: at('admin:adm1n', '/postgres') };
    const made = await runNode('src/cli/setup.ts', env);
    assert.equal(made.stdout, 'Created role r#o/le and database d#a/t?%.\n');
    assert.match((await runNode('src/cli/migrate.ts', { DATABASE_URL: env.DATABASE_URL })).stdout, /Created or applied 0001/);
  });
});
