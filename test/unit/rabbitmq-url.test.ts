// RABBITMQ_URL: read by the AMQP URI specification; the rest is refused by name, without a word of what may be secret.
import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type RabbitAddress, RabbitUrlError, readRabbitUrl } from '../../src/platform/events/rabbitmq/url.ts';
import { type Certificates, createCertificates } from '../support/certificates.ts';

const byDefault = {
  hostname: 'host',
  port: 5672,
  username: 'guest',
  password: 'guest',
  vhost: '/',
  heartbeat: 10,
  connectionTimeout: 5000,
  acquireTimeout: 5000,
  maxChannels: 2047,
};

function issuesOf(url: string): readonly string[] {
  try {
    readRabbitUrl(url);
    return [];
  } catch (error) {
    assert.ok(error instanceof RabbitUrlError);
    for (const issue of error.issues) {
      assert.match(issue, /^RABBITMQ_URL (has|names|must) [^\n]+[.?]$/);
      assert.doesNotMatch(issue, /s3cret/);
    }
    return error.issues;
  }
}

suite('RABBITMQ_URL is read by the AMQP URI specification', () => {
  const urls: Record<string, Partial<RabbitAddress>> = {
    // Of the specification's appendix A, all that name a host.
    'amqp://user:pass@host:10000/vhost': { username: 'user', password: 'pass', port: 10_000, vhost: 'vhost' },
    'amqp://user%61:%61pass@ho%61st:10000/v%2fhost': {
      username: 'usera',
      password: 'apass',
      hostname: 'hoast',
      port: 10_000,
      vhost: 'v/host',
    },
    'amqp://host': {},
    'amqp://host/%2f': {},
    'amqp://[::1]': { hostname: '::1' },
    // Its parts, one by one.
    'AMQPS://host': { port: 5671, tls: { rejectUnauthorized: true } },
    'amqps://host:5672': { tls: { rejectUnauthorized: true } },
    'amqp://host:': {},
    'amqp://host/': {},
    'amqp://host/?': {},
    'amqp://host/%2F': {},
    'amqp://host/team%2Fprod': { vhost: 'team/prod' },
    'amqp://host/%2Fteam': { vhost: '/team' },
    'amqp://host/größe+1%20a': { vhost: 'größe+1 a' },
    'amqp://[2001:db8::7]:5673/v': { hostname: '2001:db8::7', port: 5673, vhost: 'v' },
    'amqp://[fe80::1%25eth0]': { hostname: 'fe80::1%eth0' },
    'amqp://[::ffff:127.0.0.1]': { hostname: '::ffff:127.0.0.1' },
    'amqp://127.0.0.1:65535': { hostname: '127.0.0.1', port: 65_535 },
    'amqp://bücher.example': { hostname: 'bücher.example' },
    'amqp://my_rabbit-1.svc.': { hostname: 'my_rabbit-1.svc.' },
    'amqp://user@host': { username: 'user' },
    'amqp://:@host': { username: '', password: '' },
    'amqp://user:@host': { username: 'user', password: '' },
    'amqp://us+er:a+b:c@d%3A%2F%3F%23%25@host': { username: 'us+er', password: 'a+b:c@d:/?#%' },
    'amqp://größe:пароль%F0%9F%94%91@host': { username: 'größe', password: 'пароль🔑' },
    // Query parameters.
    'amqp://host?heartbeat=5&connection_timeout=10000&channel_max=100': {
      heartbeat: 5,
      connectionTimeout: 10_000,
      acquireTimeout: 10_000,
      maxChannels: 100,
    },
    'amqp://host?heartbeat=0&channel_max=0&': { heartbeat: 0 },
    'amqp://host/?auth_mechanism=plain&auth_mechanism=PLAIN': {},
    'amqps://host?verify=verify_peer': { port: 5671, tls: { rejectUnauthorized: true } },
    'amqps://host?verify=verify_none': { port: 5671, tls: { rejectUnauthorized: false } },
    'amqps://10.0.0.1/v?server_name_indication=rabbit.internal': {
      hostname: '10.0.0.1',
      port: 5671,
      vhost: 'v',
      tls: { rejectUnauthorized: true, servername: 'rabbit.internal' },
    },
  };
  for (const [url, address] of Object.entries(urls)) {
    test(url, () => assert.deepEqual(readRabbitUrl(url), { ...byDefault, ...address }));
  }
});

suite('RABBITMQ_URL is refused by name', () => {
  const urls: Record<string, RegExp> = {
    'amqp://user:s3cret%@host': /has a % in its password .*: write %25/,
    'amqp://user:s3cret%zz@host': /has a % in its password/,
    'amqp://user:s3cret%FF@host': /has a % in its password .* UTF-8/,
    'amqp://user:s3cret%00@host': /has %00, a NUL character, in its password/,
    'amqp://us%er:s3cret@host': /has a % in its user/,
    'amqp://host/100%': /has a % in its virtual host/,
    'amqp://ho%st': /has a % in its host/,
    'amqp://host/team/prod': /has a second \/ after the host.*: write %2F/,
    'amqp://host//': /has a second \//,
    'amqp://host/v/': /has a second \//,
    [`amqp://host/${'v'.repeat(256)}`]: /more than 255 bytes/,
    'amqp://': /names no host/,
    'amqp:///vhost': /names no host/,
    'amqp://:5672': /names no host/,
    'amqp://user:s3cret@': /names no host/,
    'amqp://::1': /^RABBITMQ_URL must look like amqp:.*brackets/,
    'amqp://::1:5672/': /must look like amqp:/,
    'amqp://[::1': /must look like amqp:/,
    'amqp://[::1]x': /must look like amqp:/,
    'amqp://[localhost]': /something else than an IPv6 address in the brackets/,
    'amqp://[127.0.0.1]': /something else than an IPv6 address/,
    'amqp://h1,h2': /several hosts: write one/,
    'amqp://h1:5672,h2:5672': /there is one host/,
    'amqp://ho*st': /a character in its host/,
    'amqp://host:0': /port from 1 to 65535/,
    'amqp://host:65536': /port from 1 to 65535/,
    'amqp://host:99999999999999': /port from 1 to 65535/,
    'amqp://host:amqp': /port from 1 to 65535/,
    'amqp://host:-1': /port from 1 to 65535/,
    'amqp://user:s3cret': /port from 1 to 65535/,
    'amqp://user:1/s3cret@host': /has an @ after the host.*%2F/,
    'amqp://user:1?s3cret@host': /has an @ after the host.*%3F/,
    'amqp://user:1#s3cret@host': /has a # in it: write %23/,
    'amqp://host/v#': /has a # in it/,
    'amqp://host/a b': /has a blank/,
    'amqp://user:s3 cret@host': /has a blank/,
    'http://user:s3cret@host': /must look like amqp:/,
    'rabbitmq://host': /must look like amqp:/,
    'amqp:host': /must look like amqp:/,
    'host:5672': /must look like amqp:/,
    'amqp://host?foo=1': /has foo after the \?, which is not allowed: there are heartbeat, /,
    'amqp://host?Heartbeat=1': /has Heartbeat after the \?/,
    'amqp://host?frame_max=1': /has frame_max/,
    'amqp://host?%20s3cret=1': /has a parameter after the \?/,
    'amqp://host?heartbeat': /heartbeat without a value/,
    'amqp://host?heartbeat=': /heartbeat without a value/,
    'amqp://host?heartbeat=5&heartbeat=10': /heartbeat twice/,
    'amqp://host?heartbeat=-1': /heartbeat from 0 to 65535, not "-1"/,
    'amqp://host?heartbeat=65536': /heartbeat from 0 to 65535/,
    'amqp://host?heartbeat=5s': /heartbeat from 0 to 65535/,
    'amqp://host?connection_timeout=0': /connection_timeout from 1 to 600000/,
    'amqp://host?connection_timeout=1e3': /connection_timeout from 1/,
    'amqp://host?channel_max=3': /channel_max from 4/,
    'amqp://host?auth_mechanism=external': /auth_mechanism but plain/,
    'amqp://host?cacertfile=/ca.pem': /has cacertfile without TLS: write amqps:/,
    'amqp://host?verify=verify_none': /has verify without TLS/,
    'amqps://host?verify=none': /verify=verify_peer or verify=verify_none, not "none"/,
    'amqps://host?server_name_indication=10.0.0.1': /the name of a host as server_name_indication/,
    'amqps://host?server_name_indication=a/b': /server_name_indication/,
    'amqps://host?depth=1': /has depth/,
  };
  for (const [url, issue] of Object.entries(urls)) {
    test(url.slice(0, 60), () => {
      const issues = issuesOf(url);
      assert.equal(issues.length, 1, issues.join('\n'));
      assert.match(issues[0] as string, issue);
    });
  }

  test('with all that is wrong with it', () => {
    const issues = issuesOf('amqp://us%er:s3cret%@:0/a/b?heartbeat=x&cacertfile=/x&y=1');
    assert.equal(issues.length, 8, issues.join('\n'));
  });
});

suite('the files of RABBITMQ_URL', () => {
  let certificates: Certificates;
  let folder: string;
  before(async () => {
    certificates = await createCertificates();
    folder = await mkdtemp(join(tmpdir(), 'rollcall-pem-'));
  });
  after(async () => {
    await certificates[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  test('are read: authority, certificate and key, the key encrypted or in the same file too', async () => {
    const { ca, client } = certificates;
    const [caBytes, cert, key, keyEncrypted] = await Promise.all(
      [ca, client.cert, client.key, client.keyEncrypted].map((path) => readFile(path)),
    );
    const both = join(folder, 'größe & both+1.pem');
    await writeFile(both, Buffer.concat([cert as Buffer, key as Buffer]));
    const read = (parameters: Record<string, string>) => {
      const query = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
      return readRabbitUrl(`amqps://host?${query.join('&')}`).tls;
    };
    assert.deepEqual(read({ cacertfile: ca }), { rejectUnauthorized: true, ca: caBytes });
    assert.deepEqual(read({ cacertfile: ca, certfile: client.cert, keyfile: client.key }), {
      rejectUnauthorized: true,
      ca: caBytes,
      cert,
      key,
    });
    assert.deepEqual(read({ certfile: both })?.cert, await readFile(both));
    const encrypted = read({ certfile: client.cert, keyfile: client.keyEncrypted, password: client.keyPassword });
    assert.deepEqual(encrypted, { rejectUnauthorized: true, cert, key: keyEncrypted, passphrase: client.keyPassword });
    assert.deepEqual(
      readRabbitUrl(`amqps://host?certfile=${both.replaceAll('&', '%26').replaceAll(' ', '%20')}`).tls?.cert,
      await readFile(both),
    );
  });

  test('are refused with parameter and file where they are not what they should be', async () => {
    const { ca, client, server } = certificates;
    const at = (name: string) => join(folder, name);
    await mkdir(at('folder'));
    await writeFile(at('empty'), '');
    await writeFile(at('text'), 'not a certificate');
    await writeFile(at('broken'), (await readFile(ca, 'latin1')).replace(/\n[A-Za-z0-9]{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
    await writeFile(at('large'), Buffer.alloc(1_048_577));
    await copyFile(client.key, at('key'));
    const cases: readonly (readonly [query: string, issue: RegExp])[] = [
      [`cacertfile=${at('missing')}`, /has cacertfile=.*missing, and that cannot be read \(ENOENT\): put the file there/],
      [`cacertfile=${at('text')}/x`, /cannot be read \(ENOTDIR\)/],
      [`cacertfile=${at('folder')}`, /is not a file/],
      ['cacertfile=/dev/zero', /is not a file/],
      [`cacertfile=${at('large')}`, /is not a file/],
      [`cacertfile=${at('empty')}`, /holds no certificate in PEM/],
      [`cacertfile=${at('text')}`, /holds no certificate in PEM/],
      [`cacertfile=${at('key')}`, /holds no certificate in PEM/],
      [`cacertfile=${at('broken')}`, /holds a certificate that cannot be read/],
      [`certfile=${at('missing')}&keyfile=${client.key}`, /certfile=.*missing/],
      [`certfile=${client.cert}&keyfile=${at('missing')}`, /keyfile=.*missing/],
      [`certfile=${client.cert}&keyfile=${client.cert}`, /keyfile=.* holds no private key in PEM/],
      [`certfile=${client.cert}`, /certfile without keyfile/],
      [`keyfile=${client.key}`, /keyfile without certfile/],
      [`certfile=${client.cert}&keyfile=${server.key}`, /do not work together \(ERR_OSSL_X509_KEY_VALUES_MISMATCH\)/],
      [`certfile=${client.cert}&keyfile=${client.keyEncrypted}`, /do not work together .* encrypted/],
      [`certfile=${client.cert}&keyfile=${client.keyEncrypted}&password=s3cret`, /do not work together .* password right\?/],
    ];
    for (const [query, issue] of cases) {
      const issues = issuesOf(`amqps://host?${query}`);
      assert.equal(issues.length, 1, `${query}: ${issues.join('\n')}`);
      assert.match(issues[0] as string, issue);
    }
  });
});
