// DATABASE_URL by libpq's rules: what is read, and what is refused and in which words.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type DatabaseAddress, DatabaseUrlError, readDatabaseUrl } from '../../src/platform/db/url.ts';

type Read = Partial<Omit<DatabaseAddress, 'hosts'>> & { readonly hosts?: string };

const plain = {
  hosts: 'h:undefined',
  user: undefined,
  password: undefined,
  database: undefined,
  sslMode: 'prefer',
  certificates: {},
  target: 'any',
  applicationName: undefined,
  options: undefined,
};

const right: Readonly<Record<string, Read>> = {
  'postgres://h': {},
  'postgresql://h/': {},
  'postgresql+asyncpg://h': {},
  'POSTGRES://h': {},
  'postgres://': { hosts: 'undefined:undefined' },
  'postgres:///db': { hosts: 'undefined:undefined', database: 'db' },
  'postgres://me@/db': { hosts: 'undefined:undefined', user: 'me', database: 'db' },
  'postgres://me:secret@h:6543/db': { hosts: 'h:6543', user: 'me', password: 'secret', database: 'db' },
  'postgres://me:@h': { user: 'me' },
  'postgres://m%40e:p%2Fa%3Fs%23s%25%20%3A@h/a%23b%2Fc%3Fd%25': { user: 'm@e', password: 'p/a?s#s% :', database: 'a#b/c?d%' },
  'postgres://me:a:b@c@h/gr%C3%B6%C3%9Fe': { user: 'me', password: 'a:b@c', database: 'größe' },
  'postgres://[::1]:5433/db': { hosts: '::1:5433', database: 'db' },
  'postgres://[fe80::1%25eth0]/db': { hosts: 'fe80::1%25eth0:undefined', database: 'db' },
  'postgres://%2Fvar%2Frun%2Fpostgresql/db': { hosts: '/var/run/postgresql:undefined', database: 'db' },
  'postgres://h1:5432,h2:5433,[::1]:5434/db': { hosts: 'h1:5432 h2:5433 ::1:5434', database: 'db' },
  'postgres://h1,h2/db?target_session_attrs=read-write': { hosts: 'h1:undefined h2:undefined', database: 'db', target: 'read-write' },
  'postgres://h1,h2?port=6000': { hosts: 'h1:6000 h2:6000' },
  'postgres://?host=h1,h2&port=1,2': { hosts: 'h1:1 h2:2' },
  'postgres://me@localhost:5432/db?host=%2Frun%2Fpg&sslmode=disable': {
    hosts: '/run/pg:5432',
    user: 'me',
    database: 'db',
    sslMode: 'disable',
  },
  'postgres://h?user=me&password=a+b&dbname=d': { user: 'me', password: 'a+b', database: 'd' },
  'postgres://h?sslmode=': {},
  'postgres://h?sslmode=no-verify&uselibpqcompat=true': { sslMode: 'require' },
  'postgres://h?ssl=false': { sslMode: 'disable' },
  'postgres://h?ssl=allow': { sslMode: 'allow' },
  'postgres://h?application_name=mine&options=-c%20search_path%3Da': { applicationName: 'mine', options: '-c search_path=a' },
};

const wrong: Readonly<Record<string, RegExp>> = {
  'mysql://h': /must look like/,
  'postgres:h': /must look like/,
  'postgres://me:p/s3cret@h/db': /percent-encoded/,
  'postgres://me:p#s3cret@h/db': /percent-encoded/,
  'postgres://me:p?s3cret@h/db': /percent-encoded/,
  'postgres://me:100%@h/db': /write %25/,
  'postgres://h/a%00b': /NUL/,
  'postgres://h:0/db': /port from 1 to 65535/,
  'postgres://h:65536/db': /port from 1 to 65535/,
  'postgres://h:5432:5433/db': /must have a host/,
  'postgres://::1/db': /must have a host/,
  'postgres://[nonsense]/db': /must have a host/,
  'postgres://h1,h2,h3?port=1,2': /another number of ports/,
  'postgres://h?sslmode=on': /must have sslmode as one of disable, allow, prefer, require, verify-ca, verify-full/,
  'postgres://h?sslmode=Require': /must have sslmode as one of/,
  'postgres://h?ssl=yes': /must have ssl as one of/,
  'postgres://h?ssl=require&sslmode=require': /both sslmode and ssl/,
  'postgres://h?sslmode=verify-ca': /verify-ca without sslrootcert/,
  'postgres://h?sslmode=require&sslrootcert=system': /needs sslmode=verify-full/,
  'postgres://h?sslrootcert=/does/not/exist': /sslrootcert=\/does\/not\/exist, which cannot be read \(ENOENT\)/,
  'postgres://h?sslrootcert=package.json': /holds nothing in PEM/,
  'postgres://h?sslcert=package.json': /holds nothing in PEM/,
  'postgres://h1,h2?target_session_attrs=standby': /write read-write/,
  'postgres://h1,h2?target_session_attrs=master': /one of any, read-write, primary/,
  'postgres://h?connect_timeout=10': /set DATABASE_CONNECT_TIMEOUT_MS/,
  'postgres://h?sslmod=require': /has sslmod after the \?, which is not allowed/,
  'postgres://h?sslmode=require&sslmode=disable': /has sslmode twice/,
  [`postgres://${'u'.repeat(64)}@h`]: /more than 63 bytes/,
  [`postgres://h/${'ü'.repeat(32)}`]: /more than 63 bytes/,
};

suite('DATABASE_URL', () => {
  for (const [url, read] of Object.entries(right)) {
    test(`is read by libpq's rules: ${url}`, () => {
      const { hosts, ...rest } = readDatabaseUrl(url);
      assert.deepEqual({ hosts: hosts.map(({ host, port }) => `${host}:${port}`).join(' '), ...rest }, { ...plain, ...read });
    });
  }

  for (const [url, words] of Object.entries(wrong)) {
    test(`is refused in one sentence that repeats no secret: ${url.slice(0, 60)}`, () => {
      assert.throws(
        () => readDatabaseUrl(url, 'DATABASE_ADMIN_URL'),
        (error) => {
          assert.ok(error instanceof DatabaseUrlError);
          assert.equal(error.issues.length, 1, error.message);
          assert.match(error.message, /^DATABASE_ADMIN_URL (must|has) .+\.$/);
          assert.match(error.message, words);
          assert.doesNotMatch(error.message, /s3cret/);
          return true;
        },
      );
    });
  }
});
