// HEAD, OPTIONS and the methods that a path does not know.
import assert from 'node:assert/strict';
import { METHODS } from 'node:http';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';
import { send } from '../support/socket.ts';

const allowed = {
  '/users/': ['GET', 'HEAD', 'OPTIONS', 'POST'],
  '/users/1': ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'PUT'],
  '/health': ['GET', 'HEAD', 'OPTIONS'],
  '/ready': ['GET', 'HEAD', 'OPTIONS'],
  '/metrics': ['GET', 'HEAD', 'OPTIONS'],
  '/schema': ['GET', 'HEAD', 'OPTIONS'],
  '/schema/openapi.json': ['GET', 'HEAD', 'OPTIONS'],
} as const;

suite('methods', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
    await service.createUser();
  });
  after(() => service[Symbol.asyncDispose]());

  const ask = (method: string, path: string, rest = '') =>
    send(service.url, `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${rest}\r\n`, method);

  test('HEAD answers like GET without the body on every GET route, refusals included', async () => {
    // Those that tell of the one request.
    const own = ['date', 'x-trace-id', 'ratelimit-remaining', 'ratelimit-reset'];
    const paths = [
      ...Object.keys(allowed),
      '/schema/openapi.yaml',
      '/schema/asyncapi.json',
      '/schema/swagger-ui.css',
      '/users/abc',
      '/nowhere',
    ];
    for (const path of [...paths, '/users/?page=0'].filter((name) => name !== '/metrics')) {
      for (const accept of ['*/*', 'application/msgpack']) {
        const [get, head] = await Promise.all(['GET', 'HEAD'].map((method) => ask(method, path, `Accept: ${accept}\r\n`)));
        assert.ok(get !== undefined && head !== undefined);
        assert.deepEqual([head.status, head.text], [get.status, ''], path);
        // "detail" names the method where a rule was broken, and so is one letter longer for HEAD.
        const ignored = path.includes('page=0') ? [...own, 'content-length'] : own;
        const rest = ({ headers }: typeof get) => [...headers].filter(([name]) => !ignored.includes(name)).sort();
        assert.deepEqual(rest(head), rest(get), path);
      }
    }
  });

  test('OPTIONS lists the methods of a path, without an Origin', async () => {
    for (const [path, methods] of Object.entries(allowed)) {
      const { status, headers, text } = await ask('OPTIONS', path, 'Content-Type: text/plain\r\n');
      assert.deepEqual([status, headers.get('allow'), text], [204, methods.join(', '), ''], path);
    }
    assert.equal((await ask('OPTIONS', '/nowhere')).status, 404);
  });

  test('OPTIONS * lists every method of the service', async () => {
    const { status, headers } = await ask('OPTIONS', '*');
    assert.deepEqual([status, headers.get('allow')], [204, 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT']);
    assert.equal((await ask('GET', '*')).status, 404);
  });

  test('an unsupported method gets a 405 problem with Allow, and its body is not read', async () => {
    for (const [path, methods] of Object.entries(allowed)) {
      for (const method of METHODS.filter((name) => name !== 'CONNECT' && !(methods as readonly string[]).includes(name))) {
        const { status, headers, json } = await ask(method, path, 'Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{]');
        assert.deepEqual([status, json.code, json.instance], [405, 'method_not_allowed', path], `${method} ${path}`);
        assert.equal(headers.get('allow'), methods.join(', '));
      }
    }
  });

  test('an unknown path gets a 404 problem for every method, and the body is not read', async () => {
    for (const method of METHODS.filter((name) => name !== 'CONNECT')) {
      const { status, headers } = await ask(method, '/nowhere', 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{]');
      assert.deepEqual([status, headers.get('content-type')], [404, 'application/problem+json; charset=utf-8'], method);
    }
  });

  test('DELETE ignores content type and body', async () => {
    const bodies = [
      'Content-Type: application/json\r\n',
      'Content-Type: text/plain\r\nContent-Length: 0\r\n',
      'Content-Length: 2\r\n\r\n{]',
    ];
    for (const rest of bodies) {
      const { id } = await service.createUser();
      assert.equal((await ask('DELETE', `/users/${id}`, rest)).status, 200);
    }
  });
});
