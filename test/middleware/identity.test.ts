// The hosts that the service answers to, and the pages that may change something.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { parseHost } from '../../src/platform/http/host.ts';
import { startService, type TestService } from '../support/service.ts';
import { type RawAnswer, send } from '../support/socket.ts';

const newUser = JSON.stringify({ name: 'John', surname: 'Doe', password: 'correct horse' });

function assertRefused({ status, headers, json }: RawAnswer, expected: { status: number; code: string }, what: string): void {
  assert.deepEqual([status, json?.code], [expected.status, expected.code], what);
  assert.match(headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.equal(headers.get('x-trace-id'), json.trace_id);
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
}

const assertMisdirected = (answer: RawAnswer, what: string) => assertRefused(answer, { status: 421, code: 'misdirected_request' }, what);
const assertCrossSite = (answer: RawAnswer, what: string) => assertRefused(answer, { status: 403, code: 'cross_site_request' }, what);

function ask(url: string, target: string, headers: Record<string, string>, method = 'GET', version = '1.1'): Promise<RawAnswer> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return send(url, `${method} ${target} HTTP/${version}\r\n${lines.join('')}\r\n`, method);
}

const statusFor = async (url: string, host: string, target = '/users/') => (await ask(url, target, { host })).status;

const ofLoopback = [
  'localhost',
  'localhost:1234',
  'LOCALHOST:8000',
  'localhost.',
  'localhost.:8000',
  'users.localhost',
  'a.b.LocalHost:8000',
  '127.0.0.1',
  '127.0.0.1:8000',
  '127.255.255.254',
  '127.1',
  '[::1]',
  '[::1]:8000',
  '[0:0:0:0:0:0:0:1]:8000',
  '[0000:0000:0000:0000:0000:0000:0000:0001]',
  '[::ffff:127.0.0.1]',
];
const ofStrangers = [
  'evil.example',
  'evil.example:8000',
  'localhost.evil.example',
  'localhost-evil.example',
  'evillocalhost',
  '127.0.0.1.evil.example',
  '127.evil.example',
  '.localhost.evil.example',
  '0.0.0.0',
  '0.0.0.0:8000',
  '128.0.0.1',
  '1127.0.0.1',
  '192.168.0.1',
  '169.254.169.254',
  '[::]',
  '[::2]',
  '[::ffff:10.0.0.1]',
  '[::1:0]',
  'localhost%2eevil.example',
  'localhost..',
  '',
  ':8000',
];

suite('on loopback, the host of a request', () => {
  let service: TestService;
  before(async () => {
    service = await startService({
      PUBLIC_URL: 'https://Users.Example.com',
      ALLOWED_HOSTS: 'users.internal, 10.0.0.7:8000,[fd00::7],tls.internal:443',
    });
  });
  after(() => service[Symbol.asyncDispose]());

  test('may be a name of loopback, that of PUBLIC_URL, or one of ALLOWED_HOSTS, however it is written', async () => {
    for (const host of [
      ...ofLoopback,
      'users.example.com',
      'USERS.EXAMPLE.COM.:443',
      'users.example.com:8000',
      'Users.Internal:9',
      '10.0.0.7:8000',
      '[FD00:0::7]:8000',
      'tls.internal',
      'tls.internal:443',
    ])
      assert.equal(await statusFor(service.url, host), 200, host);
  });

  test('is otherwise refused with 421, on known and unknown paths, before any other check', async () => {
    for (const host of [...ofStrangers, '10.0.0.7', '10.0.0.7:8001', 'a.users.internal', 'example.com', 'tls.internal:8443'])
      assertMisdirected(await ask(service.url, '/users/', { host }), host);
    for (const [method, target] of [
      ['GET', '/'],
      ['GET', '/nowhere'],
      ['GET', '/users/1'],
      ['GET', '/events/'],
      ['GET', '/schema'],
      ['GET', '/schema/openapi.json'],
      ['GET', '/healthy'],
      ['GET', '/health/x'],
      ['GET', '/%68ealth/../users'],
      ['DELETE', '/users/1'],
      ['TRACE', '/users/'],
    ] as const)
      assertMisdirected(await ask(service.url, target, { host: 'evil.example' }, method), target);
    assert.equal((await ask(service.url, '/users/', { host: 'evil.example' }, 'OPTIONS')).status, 421);
    assert.equal((await ask(service.url, '*', { host: 'evil.example' }, 'OPTIONS')).status, 421);
    assert.equal((await ask(service.url, '/users/', { host: 'evil.example' }, 'HEAD')).status, 421);
  });

  test('is not checked for /health, /ready and /metrics', async () => {
    for (const path of ['/health', '/ready', '/metrics', '/health/', '/ready?x'])
      for (const host of ['evil.example', '', '10.0.0.9']) {
        const { status } = await ask(service.url, path, { host });
        assert.equal(status, path.includes('?') ? 400 : 200, `${path} of ${host}`);
      }
    assert.equal((await ask(service.url, '/health', { host: 'evil.example' }, 'HEAD')).status, 200);
    assert.equal((await ask(service.url, '/health', { host: 'evil.example' }, 'OPTIONS')).status, 204);
    assert.equal((await ask(service.url, '/health', { host: 'evil.example' }, 'POST')).status, 405);
    assert.equal((await ask(service.url, '/health', {}, 'GET', '1.0')).status, 200);
  });

  test('is that of the target where the target has one, whatever Host says', async () => {
    for (const target of [
      'http://evil.example/users/',
      'HTTP://evil.example/users/',
      'http://localhost@evil.example/users/',
      'http://localhost:8000@evil.example/users/',
      'http://localhost:pw@evil.example:8000/users/',
      'http://localhost.evil.example/users/',
      'https://evil.example',
    ])
      assertMisdirected(await ask(service.url, target, { host: 'localhost' }), target);
    for (const target of ['http://localhost/users/', 'http://user:pw@127.0.0.1:8000/users/', 'https://users.example.com/users/'])
      assert.equal(await statusFor(service.url, 'evil.example', target), 200, target);
    assert.equal(await statusFor(service.url, 'evil.example', 'http://evil.example/health'), 200);
    assert.equal(await statusFor(service.url, 'localhost', 'http://localhost:8000:9/users/'), 400);
  });

  test('is required over HTTP/1.0 too', async () => {
    assertMisdirected(await ask(service.url, '/users/', {}, 'GET', '1.0'), 'no Host');
    assert.equal((await ask(service.url, '/users/', { host: 'localhost' }, 'GET', '1.0')).status, 200);
  });

  test('is checked before the body is read', async () => {
    const { total } = (await service.call('GET', '/users/')).json;
    const head = `POST /users/ HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: ${newUser.length}\r\n`;
    for (const rest of ['\r\n', 'Expect: 100-continue\r\n\r\n', `\r\n${newUser}`])
      assertMisdirected(await send(service.url, head + rest), rest);
    assert.equal((await service.call('GET', '/users/')).json.total, total);
  });
});

suite('beyond loopback, the host of a request', () => {
  const beyond = { HOST: '0.0.0.0', AUTH: 'off' };
  const local = ({ url }: TestService) => url.replace('0.0.0.0', '127.0.0.1');

  test('may be anything until PUBLIC_URL or ALLOWED_HOSTS is set', async () => {
    await using service = await startService(beyond);
    for (const host of ['evil.example', '10.0.0.9:8000', '']) assert.equal(await statusFor(local(service), host), 200, host);
  });

  test('must be one of them, or a loopback name, once one of the two is set', async () => {
    for (const [settings, known] of [
      [{ PUBLIC_URL: 'http://users.example.com:8000' }, 'users.example.com:8000'],
      [{ ALLOWED_HOSTS: 'users.internal' }, 'users.internal:8000'],
    ] as const) {
      await using service = await startService({ ...beyond, ...settings });
      for (const host of [known, 'localhost:8000', '127.0.0.1', '[::1]']) assert.equal(await statusFor(local(service), host), 200, host);
      for (const host of ['evil.example', '0.0.0.0:8000', '10.0.0.9'])
        assertMisdirected(await ask(local(service), '/users/', { host }), host);
      assert.equal(await statusFor(local(service), 'evil.example', '/ready'), 200);
    }
  });
});

suite('what a page sends', () => {
  const listed = 'https://admin.example.com';
  const publicUrl = 'https://users.example.com';
  let service: TestService;
  let port: string;
  before(async () => {
    service = await startService({ PUBLIC_URL: publicUrl, CORS_ORIGINS: listed });
    port = new URL(service.url).port;
  });
  after(() => service[Symbol.asyncDispose]());

  const write = (headers: Record<string, string>, method = 'PUT', target = '/users/999') =>
    ask(service.url, target, { host: `localhost:${port}`, 'content-type': 'application/json', 'content-length': '2', ...headers }, method);
  // Nobody has the id: what passes is a 404.
  const change = async (headers: Record<string, string>) => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return send(
      service.url,
      `PUT /users/999 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${lines.join('')}\r\n{}`,
    );
  };

  test("is accepted from the service's own pages, from CORS_ORIGINS, and from callers that are not browsers", async () => {
    const passing: Record<string, string>[] = [
      {},
      { 'sec-fetch-mode': 'cors' },
      { 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'none' },
      { origin: publicUrl },
      { origin: publicUrl, 'sec-fetch-site': 'same-origin' },
      { origin: `http://localhost:${port}`, 'sec-fetch-site': 'same-origin' },
      { origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' },
      { origin: `http://127.9.9.9:${port}` },
      { origin: `http://[::1]:${port}` },
      { origin: `http://users.localhost:${port}` },
      { origin: listed },
      { origin: listed, 'sec-fetch-site': 'cross-site' },
      { origin: listed, 'sec-fetch-site': 'same-site' },
    ];
    for (const headers of passing) assert.equal((await change(headers)).json.code, 'user_not_found', JSON.stringify(headers));
  });

  test('is refused with 403 from any other page, before the body is read', async () => {
    const refused: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'Same-Origin' },
      { 'sec-fetch-site': 'same-origin, cross-site' },
      { 'sec-fetch-site': '' },
      { origin: publicUrl, 'sec-fetch-site': 'cross-site' },
      { origin: 'https://evil.example' },
      { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
      { origin: 'null' },
      { origin: '' },
      { origin: `${publicUrl}.evil.example` },
      { origin: `${publicUrl}:8443` },
      { origin: 'http://users.example.com' },
      { origin: `${publicUrl}/` },
      { origin: 'HTTPS://USERS.EXAMPLE.COM' },
      { origin: `${publicUrl}, ${publicUrl}` },
      { origin: `${listed}.evil.example` },
      { origin: 'http://localhost' },
      { origin: 'http://localhost:1' },
      { origin: `https://localhost:${port}` },
      { origin: `http://localhost:${port}/` },
      { origin: `http://localhost:${port}@evil.example` },
      { origin: `http://localhost.evil.example:${port}` },
      { origin: `http://evil.example:${port}` },
      { origin: 'file://' },
      { origin: 'chrome-extension://abcdef' },
    ];
    for (const headers of refused) assertCrossSite(await write(headers), JSON.stringify(headers));
  });

  test('is refused on every path for every method but GET, HEAD and OPTIONS', async () => {
    const origin = 'https://evil.example';
    for (const [method, target] of [
      ['POST', '/users/'],
      ['PUT', '/users/1'],
      ['DELETE', '/users/1'],
      ['PATCH', '/users/1'],
      ['POST', '/nowhere'],
      ['POST', '/health'],
      ['PROPFIND', '/'],
      ['TRACE', '/users/'],
      ['POST', '/schema'],
    ] as const)
      for (const headers of [{ origin }, { 'sec-fetch-site': 'cross-site' }])
        assertCrossSite(await write(headers as Record<string, string>, method, target), `${method} ${target}`);
    for (const [method, target, status] of [
      ['GET', '/users/', 200],
      ['HEAD', '/users/', 200],
      ['OPTIONS', '/users/', 204],
      ['GET', '/nowhere', 404],
    ] as const) {
      const headers = { host: 'localhost', origin, 'sec-fetch-site': 'cross-site' };
      assert.equal((await ask(service.url, target, headers, method)).status, status, `${method} ${target}`);
    }
  });

  test('is refused with nothing done', async () => {
    const user = await service.createUser();
    const { status } = await service.call('DELETE', `/users/${user.id}`, undefined, { 'sec-fetch-site': 'cross-site' });
    assert.equal(status, 403);
    assert.equal((await service.call('GET', `/users/${user.id}`)).status, 200);
  });
});

test('the port of a loopback PUBLIC_URL, such as a published container port, is accepted', async () => {
  await using service = await startService({ HOST: '0.0.0.0', AUTH: 'off', PUBLIC_URL: 'http://localhost:9000' });
  const url = service.url.replace('0.0.0.0', '127.0.0.1');
  const put = (origin: string) => ask(url, '/users/999', { host: '127.0.0.1:9000', origin }, 'DELETE');
  for (const origin of ['http://localhost:9000', 'http://127.0.0.1:9000', `http://localhost:${new URL(url).port}`])
    assert.equal((await put(origin)).status, 404, origin);
  assertCrossSite(await put('http://localhost:9001'), 'another port');
});

test('parseHost normalises each host to one spelling', () => {
  for (const [text, name, port] of [
    ['A.Example.', 'a.example', ''],
    ['a.example:8000', 'a.example', '8000'],
    ['BÜCHER.example', 'xn--bcher-kva.example', ''],
    ['0x7f.1', '127.0.0.1', ''],
    ['[0:0::1]:1', '[::1]', '1'],
    ['a:', 'a', ''],
  ] as const)
    assert.deepEqual(parseHost(text), { name, port }, text);
  for (const text of ['', ':1', '[', '[::1', 'a:b', 'a b', 'a:1:2', '.', '%', '[g::]']) assert.equal(parseHost(text), undefined, text);
});
