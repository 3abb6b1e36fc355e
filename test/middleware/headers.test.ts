// Headers that every answer carries, and those that let the pages of other origins in.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';
import { send } from '../support/socket.ts';

const fixed = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
const corsHeaders = ({ headers }: { headers: Headers }) => [...headers.keys()].filter((name) => name.startsWith('access-control-'));

suite('headers', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  test('that protect browsers are on every answer', async () => {
    const requests = [
      'GET /users/ HTTP/1.1\r\nHost: localhost\r\n',
      'HEAD /users/ HTTP/1.1\r\nHost: localhost\r\n',
      'OPTIONS /users/ HTTP/1.1\r\nHost: localhost\r\n',
      'OPTIONS * HTTP/1.1\r\nHost: localhost\r\n',
      'TRACE /users/ HTTP/1.1\r\nHost: localhost\r\n',
      'GET /nowhere HTTP/1.1\r\nHost: localhost\r\n',
      'GET /users/%zz HTTP/1.1\r\nHost: localhost\r\n',
      'GET /users/?page=0 HTTP/1.1\r\nHost: localhost\r\n',
      'GET /metrics HTTP/1.1\r\nHost: localhost\r\n',
      'GET /schema/openapi.json HTTP/1.1\r\nHost: localhost\r\n',
      'POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n',
      'POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n',
      'GET /users/ HTTP/1.1\r\n',
      'GET /users/ HTTP/1.1\r\nHost: localhost\r\nExpect: more\r\n',
      'HELLO\r\n',
      `GET / HTTP/1.1\r\nX: ${'a'.repeat(17_000)}\r\n`,
    ];
    for (const request of requests) {
      const { headers } = await send(service.url, `${request}\r\n`, request.split(' ')[0]);
      for (const [name, value] of Object.entries(fixed)) assert.equal(headers.get(name), value, `${name} of ${request.slice(0, 80)}`);
      assert.ok(headers.has('x-trace-id'));
      assert.ok(!headers.has('server') && !headers.has('x-powered-by'));
    }
  });

  test('Strict-Transport-Security is not sent over plain HTTP (RFC 6797), whatever the caller claims', async () => {
    const { headers } = await service.call('GET', '/health', undefined, { 'x-forwarded-proto': 'https' });
    assert.ok(!headers.has('strict-transport-security'));
  });

  test('have no CORS fields while no origin is listed, not even for a preflight', async () => {
    const origin = { origin: 'https://a.example', 'access-control-request-method': 'POST' };
    for (const [method, path] of [
      ['GET', '/users/'],
      ['OPTIONS', '/users/'],
      ['GET', '/nowhere'],
    ] as const) {
      const answer = await service.call(method, path, undefined, origin);
      assert.deepEqual(corsHeaders(answer), []);
      assert.equal(answer.headers.get('vary'), 'accept');
    }
  });
});

suite('with CORS_ORIGINS', () => {
  const listed = 'https://admin.example.com';
  let service: TestService;
  before(async () => {
    service = await startService({ CORS_ORIGINS: `${listed}, http://localhost:3000` });
  });
  after(() => service[Symbol.asyncDispose]());

  const call = (method: string, path: string, headers: Record<string, string>) => service.call(method, path, undefined, headers);

  test('a listed origin may read every answer and its headers, refusals included', async () => {
    for (const path of ['/users/', '/nowhere', '/users/%zz', '/users/?page=0'])
      for (const origin of [listed, 'http://localhost:3000']) {
        const { headers } = await call('GET', path, { origin });
        assert.equal(headers.get('access-control-allow-origin'), origin, path);
        assert.match(headers.get('access-control-expose-headers') ?? '', /link, location.*retry-after, x-trace-id/);
        assert.equal(headers.get('vary'), 'accept, origin');
        assert.ok(!headers.has('access-control-allow-credentials'));
      }
  });

  test('a preflight of a listed origin is told the methods and headers it may use, and OPTIONS still says Allow', async () => {
    const { status, headers } = await call('OPTIONS', '/users/1', {
      origin: listed,
      'access-control-request-method': 'PUT',
      'access-control-request-headers': 'content-type, x-request-id',
    });
    assert.deepEqual(
      [status, headers.get('access-control-allow-origin'), headers.get('access-control-allow-methods'), headers.get('allow')],
      [204, listed, 'GET, HEAD, POST, PUT, PATCH, DELETE', 'DELETE, GET, HEAD, OPTIONS, PATCH, PUT'],
    );
    assert.match(
      headers.get('access-control-allow-headers') ?? '',
      /content-type, if-match, if-none-match, last-event-id, traceparent, x-request-id/,
    );
  });

  test('any other origin gets no CORS headers, however similar it is', async () => {
    const others = [
      'https://admin.example.com.evil.example',
      'https://ADMIN.example.com',
      'http://admin.example.com',
      'https://example.com',
      'null',
    ];
    for (const origin of others)
      for (const [method, path] of [
        ['GET', '/users/'],
        ['OPTIONS', '/users/'],
      ] as const) {
        const answer = await call(method, path, { origin, 'access-control-request-method': 'POST' });
        assert.deepEqual(corsHeaders(answer), [], origin);
        assert.equal(answer.headers.get('vary'), 'accept, origin', 'a cache must keep the answers apart');
      }
    assert.deepEqual(corsHeaders(await call('GET', '/users/', {})), []);
  });
});

test('Strict-Transport-Security is sent where a trusted proxy says that the caller came by HTTPS', async () => {
  await using service = await startService({ TRUST_PROXY: 'loopback' });
  const { headers } = await service.call('GET', '/health', undefined, { 'x-forwarded-proto': 'https' });
  assert.equal(headers.get('strict-transport-security'), 'max-age=31536000');
});
