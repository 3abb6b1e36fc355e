// The settings: what is read, what is refused and in which words.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite, test } from 'node:test';
import type { TObject } from 'typebox';
import { ConfigError, formatDefault, loadEnvFile, readConfig, Settings } from '../../src/config.ts';

type Env = Record<string, string>;

const names = Object.keys((Settings as TObject).properties);

/** The lines that tell what is wrong, without the first. */
function issuesOf(env: Env): string[] {
  try {
    readConfig(env);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    const [head, ...issues] = error.message.split('\n');
    assert.equal(head, 'The settings are not right:');
    return issues.map((issue) => issue.trim());
  }
  return [];
}

// One value for each setting that has a rule beyond being there.
const wrong: Env = {
  DATABASE_URL: 'mysql://me:secret@host/db',
  DATABASE_ADMIN_URL: 'host',
  DATABASE_POOL_SIZE: '0',
  DATABASE_CONNECT_TIMEOUT_MS: '0',
  DATABASE_STATEMENT_TIMEOUT_MS: '-1',
  RABBITMQ_URL: 'http://me:secret@host',
  RABBITMQ_CONFIRM_TIMEOUT_MS: '5s',
  EVENT_PAYLOAD: 'all',
  USERNAME_CONFUSABLES: 'maybe',
  USER_ATTRIBUTES_SCHEMA: '/nowhere/schema.json',
  REQUIRE_IF_MATCH: 'sometimes',
  EVENT_RETENTION_DAYS: '0',
  PORT: '65536',
  PUBLIC_URL: 'users.example.com',
  ALLOWED_HOSTS: 'users.internal,http://x',
  AUTH: 'on',
  TRUST_PROXY: '10.0.0.0/8,everyone',
  RATE_LIMIT_PER_MINUTE: '1.5',
  CORS_ORIGINS: '*',
  HTTP_HEADERS_TIMEOUT_MS: '1e3',
  HTTP_REQUEST_TIMEOUT_MS: '3600001',
  HTTP_KEEP_ALIVE_TIMEOUT_MS: '0x10',
  HTTP_CONNECTIONS_MAX: 'many',
  HTTP_CONNECTIONS_PER_ADDRESS_MAX: '0',
  STREAMS_MAX: '0',
  SHUTDOWN_DRAIN_MS: '5001',
  PASSWORD_LENGTH_MIN: '7',
  RUN: 'api,cron',
  LOG_LEVEL: 'loud',
  DEBUG: 'maybe',
  APP_NAME: 'roll call',
  APP_VERSION: 'v 1',
};
const withoutRule = ['HOST', 'DATA_DIR'];

suite('settings that are left out', () => {
  test('have the defaults that a newcomer can start with', () => {
    const config = readConfig({});
    assert.deepEqual(
      [config.HOST, config.PORT, config.RUN, config.LOG_LEVEL, config.APP_NAME, config.EVENT_PAYLOAD],
      ['127.0.0.1', 8000, ['api', 'relay', 'consumer'], 'info', 'rollcall', 'full'],
    );
    assert.deepEqual([config.PASSWORD_LENGTH_MIN, config.DATABASE_POOL_SIZE, config.DEBUG], [8, 10, false]);
    assert.deepEqual([config.CORS_ORIGINS, config.TRUST_PROXY], [[], []]);
    assert.equal(config.DATA_DIR, resolve('.data'));
    for (const name of ['DATABASE_URL', 'DATABASE_ADMIN_URL', 'RABBITMQ_URL', 'AUTH']) assert.ok(!Object.hasOwn(config, name), name);
  });

  test('have defaults that may be written out', () => {
    const written = Object.entries((Settings as TObject).properties).map(([name, schema]) => [name, formatDefault(schema)]);
    assert.deepEqual(readConfig(Object.fromEntries(written)), readConfig({}));
  });

  test('are the same as those that are empty or blank', () => {
    for (const blank of ['', '   ']) assert.deepEqual(readConfig(Object.fromEntries(names.map((name) => [name, blank]))), readConfig({}));
  });

  test('do not share a list with the next reading', () => {
    const first = readConfig({});
    (first.RUN as string[]).push('nothing');
    assert.deepEqual(readConfig({}).RUN, ['api', 'relay', 'consumer']);
  });
});

suite('settings that are wrong', () => {
  test('are all named at once, each with its rule', () => {
    assert.deepEqual(Object.keys(wrong).sort(), names.filter((name) => !withoutRule.includes(name)).sort());
    const issues = issuesOf(wrong);
    assert.deepEqual(
      issues.map((issue) => issue.split(' ')[0]),
      names.filter((name) => !withoutRule.includes(name)),
    );
    for (const issue of issues) assert.match(issue, /^[A-Z_]+ must .+\.$/);
  });

  for (const [name, value] of Object.entries(wrong)) {
    test(`are refused one by one: ${name}=${name.endsWith('_URL') ? '...' : value}`, () => {
      const issues = issuesOf({ [name]: value });
      assert.equal(issues.length, 1);
      assert.ok(issues[0]?.startsWith(`${name} must `));
    });
  }

  // What somebody may write for anything.
  const nonsense = [
    '-1',
    '1.5',
    '1e3',
    '0x10',
    '9'.repeat(400),
    '٣',
    '５',
    'true!',
    'null',
    '{}',
    '[]',
    '..',
    '~/data',
    'a b',
    'a\nb',
    'a\u0000b',
    'a\u001b[31mb',
    'größe',
    '大',
    '💥'.repeat(40_000),
    '\ud800',
    '\u200b',
    '\u202e',
    "'; drop table user; --",
    '%',
    '%00',
    '<script>',
    'postgres://',
    'amqp://',
    'http://s3cret:s3cret@[::1',
    '://s3cret',
  ];
  const right: Record<string, readonly string[]> = {
    HOST: ['-1', '1.5', '1e3', '0x10', 'null', '..', '%', '%00'],
    ALLOWED_HOSTS: ['-1', '1.5', '1e3', '0x10', 'null'],
    APP_NAME: ['-1', '1.5', '1e3', '0x10', 'null', '..'],
    APP_VERSION: ['-1', '1.5', '1e3', '0x10', 'null', '..'],
    DATA_DIR: nonsense.filter((value) => value.length <= 1000 && !/^~|\p{Cc}/u.test(value)),
    DATABASE_URL: ['postgres://'],
    DATABASE_ADMIN_URL: ['postgres://'],
  };
  for (const name of names) {
    test(`are told in one sentence, whatever stands in ${name}`, () => {
      for (const value of nonsense) {
        const issues = issuesOf({ AUTH: 'off', [name]: value });
        assert.equal(issues.length, right[name]?.includes(value) ? 0 : 1, `${JSON.stringify(value.slice(0, 100))}: ${issues.join('\n')}`);
        for (const issue of issues) {
          assert.match(issue, new RegExp(`^${name} (must|has|names) [^\\p{Cc}]{10,500}[.]$`, 'u'));
          if (name.endsWith('_URL')) assert.doesNotMatch(issue, /s3cret/);
        }
      }
    });
  }

  test('are repeated in the message, so that a typing error shows', () => {
    assert.deepEqual(issuesOf({ PORT: 'http' }), ['PORT must be a whole number from 0 to 65535, not "http".']);
    assert.deepEqual(issuesOf({ EVENT_PAYLOAD: 'all' }), ['EVENT_PAYLOAD must be one of full, id, not "all".']);
  });

  test('are never repeated where they are URLs, which hold passwords', () => {
    for (const name of names.filter((each) => each.endsWith('_URL'))) {
      const [issue = ''] = issuesOf({ [name]: 'wrong://me:s3cret@db.internal/rollcall' });
      assert.match(issue, new RegExp(`^${name} must (look like (postgres|amqp)://|be an origin)`));
      assert.doesNotMatch(issue, /wrong|me:|s3cret|db\.internal/);
    }
  });
});

suite('settings as text', () => {
  test('LOG_LEVEL is read in upper case too, and DEBUG=true lowers it from info to debug', () => {
    assert.equal(readConfig({ LOG_LEVEL: 'WARN' }).LOG_LEVEL, 'warn');
    assert.equal(readConfig({ DEBUG: 'true' }).LOG_LEVEL, 'debug');
    assert.equal(readConfig({ DEBUG: 'true', LOG_LEVEL: 'ERROR' }).LOG_LEVEL, 'error');
    assert.equal(readConfig({ DEBUG: 'true', LOG_LEVEL: 'trace' }).LOG_LEVEL, 'trace');
  });

  test('PUBLIC_URL is an origin, in the spelling of a browser', () => {
    for (const [given, read] of [
      ['https://users.example.com', 'https://users.example.com'],
      ['https://users.example.com/', 'https://users.example.com'],
      ['HTTPS://Users.Example.COM:443', 'https://users.example.com'],
      ['http://localhost:8000', 'http://localhost:8000'],
      ['http://[0:0::1]:8000', 'http://[::1]:8000'],
    ] as const)
      assert.equal(readConfig({ PUBLIC_URL: given }).PUBLIC_URL, read);
    for (const wrong of [
      'users.example.com',
      'ftp://a',
      'https://',
      'https://a/b',
      'https://a?b',
      'https://a#b',
      'https://me@a',
      'https://a b',
      'https://a:b',
    ])
      assert.throws(() => readConfig({ PUBLIC_URL: wrong }), /PUBLIC_URL must be an origin such as https:/, wrong);
  });

  test('ALLOWED_HOSTS are names and addresses, perhaps with a port', () => {
    const hosts = ['users.internal', 'a-b_c', 'a.example.', '10.0.0.7:8000', '[fd00::7]', '[::1]:1'];
    assert.deepEqual(readConfig({ ALLOWED_HOSTS: hosts.join(' , ') }).ALLOWED_HOSTS, hosts);
    for (const wrong of [
      '*',
      '*.example.com',
      'http://a',
      'a/b',
      'a:b',
      'a:123456',
      'me@a',
      '::1',
      '[::1',
      '[g::]',
      '256.0.0.1',
      'a,,b',
      'a..b',
    ])
      assert.throws(() => readConfig({ ALLOWED_HOSTS: wrong }), /ALLOWED_HOSTS must be a list by comma/, wrong);
  });

  test('the URLs of the LiteStar service are read, with its driver left out', () => {
    for (const [given, read] of [
      ['postgresql+asyncpg://me:secret@host:5432/users', 'postgresql://me:secret@host:5432/users'],
      ['postgres+asyncpg://host/users', 'postgresql://host/users'],
      ['postgresql://host/users', 'postgresql://host/users'],
      ['postgres://host/users', 'postgres://host/users'],
    ] as const) {
      assert.equal(readConfig({ DATABASE_URL: given }).DATABASE_URL, read);
      assert.equal(readConfig({ DATABASE_ADMIN_URL: given }).DATABASE_ADMIN_URL, read);
    }
  });

  test('lists are separated by commas, and blanks around an entry do not count', () => {
    const config = readConfig({
      CORS_ORIGINS: 'https://admin.example.com, http://localhost:3000',
      TRUST_PROXY: '10.0.0.0/8 , loopback,::1',
      RUN: 'api',
    });
    assert.deepEqual(config.CORS_ORIGINS, ['https://admin.example.com', 'http://localhost:3000']);
    assert.deepEqual(config.TRUST_PROXY, ['10.0.0.0/8', 'loopback', '::1']);
    assert.deepEqual(config.RUN, ['api']);
    for (const env of [{ RUN: 'api,' }, { RUN: 'api,api' }, { CORS_ORIGINS: ',' }] as Env[]) assert.equal(issuesOf(env).length, 1);
    for (const network of [
      '10.0.0.0/8/9',
      '10.0.0.0/0',
      '10.0.0.0/33',
      '::1/129',
      '10.0.0.0/1e1',
      '10.0.0.0/ 8',
      '10.0.0.0/',
      'fe80::1%eth0',
      '10.0.0',
    ])
      assert.equal(issuesOf({ TRUST_PROXY: `loopback,${network}` }).length, 1, network);
    // A browser sends none of these.
    for (const origin of [
      'https://a.example/',
      'https://a.example:443',
      'HTTPS://a.example',
      'https://A.example',
      'https://u@a.example',
      'null',
    ])
      assert.equal(issuesOf({ CORS_ORIGINS: `https://b.example,${origin}` }).length, 1, origin);
  });

  test('booleans are true, false, 1 and 0, in any case', () => {
    for (const text of ['true', 'TRUE', '1']) assert.equal(readConfig({ DEBUG: text }).DEBUG, true);
    for (const text of ['false', 'False', '0']) assert.equal(readConfig({ DEBUG: text }).DEBUG, false);
    for (const text of ['yes', 'on', 't', '2', 'constructor', '__proto__']) assert.equal(issuesOf({ DEBUG: text }).length, 1, text);
  });

  test('numbers are whole and decimal, and lie within their bounds', () => {
    assert.equal(readConfig({ PORT: '0' }).PORT, 0);
    assert.equal(readConfig({ PORT: ' 65535 ' }).PORT, 65535);
    for (const text of ['65536', '-1', '80.0', '1e3', '0x50', '8 0', 'NaN', '9'.repeat(400)])
      assert.equal(issuesOf({ PORT: text }).length, 1, text);
  });
});

suite('settings that contradict each other', () => {
  test('an address beyond loopback needs AUTH=off', () => {
    for (const HOST of ['0.0.0.0', '::', '10.1.2.3', 'rollcall.internal', '::ffff:127.0.0.1', '127.0.0.1.example.com']) {
      const [issue = ''] = issuesOf({ HOST });
      assert.match(issue, /^HOST .* AUTH=off/, HOST);
      assert.equal(readConfig({ HOST, AUTH: 'off' }).HOST, HOST);
    }
  });

  test('loopback needs nothing', () => {
    for (const HOST of ['127.0.0.1', '127.8.9.10', '::1', 'localhost']) assert.equal(readConfig({ HOST }).HOST, HOST);
  });

  test('relay and consumer run together unless there is a RabbitMQ between them', () => {
    for (const RUN of ['relay', 'consumer', 'api,relay', 'api,consumer']) {
      const [issue = ''] = issuesOf({ RUN });
      assert.match(issue, /^RUN has only one of relay and consumer/, RUN);
      assert.deepEqual(readConfig({ RUN, RABBITMQ_URL: 'amqp://localhost' }).RUN, RUN.split(','));
    }
    for (const RUN of ['api', 'relay,consumer', 'consumer,relay,api']) assert.deepEqual(readConfig({ RUN }).RUN, RUN.split(','));
  });

  test('are all named at once', () => {
    assert.deepEqual(
      issuesOf({ HOST: '0.0.0.0', RUN: 'relay' }).map((issue) => issue.split(' ')[0]),
      ['HOST', 'RUN'],
    );
  });
});

suite('.env', () => {
  test('adds what the environment does not say, and overrules nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rollcall-env-'));
    const before = process.cwd();
    try {
      await writeFile(join(folder, '.env'), 'ROLLCALL_TEST_ADDED=from the file\nROLLCALL_TEST_KEPT=from the file\n');
      process.env['ROLLCALL_TEST_KEPT'] = 'from the environment';
      process.chdir(folder);
      loadEnvFile();
      assert.equal(process.env['ROLLCALL_TEST_ADDED'], 'from the file');
      assert.equal(process.env['ROLLCALL_TEST_KEPT'], 'from the environment');
    } finally {
      process.chdir(before);
      delete process.env['ROLLCALL_TEST_ADDED'];
      delete process.env['ROLLCALL_TEST_KEPT'];
      await rm(folder, { recursive: true });
    }
  });

  test('may be missing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rollcall-env-'));
    const before = process.cwd();
    try {
      process.chdir(folder);
      assert.doesNotThrow(loadEnvFile);
    } finally {
      process.chdir(before);
      await rm(folder, { recursive: true });
    }
  });
});
