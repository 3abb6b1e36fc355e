// What is not a request, comes too slowly, or breaks off: answered where it can be, and closed in time.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { readConfig } from '../../src/config.ts';
import { createServer } from '../../src/platform/http/server.ts';
import { captureLog } from '../support/log.ts';
import { startService, type TestService } from '../support/service.ts';
import { type Connection, connect, type RawAnswer, send } from '../support/socket.ts';

const post = 'POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
const newUser = JSON.stringify({ name: 'John', surname: 'Doe', password: 'correct horse' });

function assertProblem({ status, headers, json }: RawAnswer, expected: { status: number; code: string; path?: string }): void {
  assert.deepEqual([status, json.status, json.status_code, json.code], [expected.status, expected.status, expected.status, expected.code]);
  assert.match(headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.deepEqual(Object.keys(json), ['type', 'title', 'status', 'detail', 'instance', 'code', 'trace_id', 'status_code', 'extra']);
  assert.equal(json.instance, expected.path ?? '');
  assert.equal(headers.get('x-trace-id'), json.trace_id);
  assert.equal(headers.get('x-content-type-options'), 'nosniff');
  assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/);
}

function talk(connection: Connection, text: string): Disposable {
  const timer = setInterval(() => connection.write(text), 20);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

suite('connections', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  test('anything but HTTP/1.1 gets a 400 problem and a closed connection', async () => {
    const garbage = [
      'HELLO\r\n\r\n',
      'GET / HTTP/3.0\r\nHost: localhost\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n',
      'FETCH /users/ HTTP/1.1\r\nHost: localhost\r\n\r\n',
      'get /users/ HTTP/1.1\r\nHost: localhost\r\n\r\n',
      'GET /users/ HTTP/1.1\nHost: localhost\n\n',
      'GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n',
      Buffer.from('GET /\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n', 'latin1'),
      `${post}Content-Length: abc\r\n\r\n{}`,
      `${post}Content-Length: -1\r\n\r\n{}`,
      `${post}Content-Length: 99999999999999999999999\r\n\r\n{}`,
      `${post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
      `${post}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n`,
    ];
    for (const request of garbage) {
      using connection = await connect(service.url);
      connection.write(request);
      const answer = await connection.answer();
      assertProblem(answer, { status: 400, code: 'malformed_request' });
      assert.equal(answer.headers.get('connection'), 'close');
      await connection.ended;
    }
  });

  test('headers over 16 KiB, the target included, get a 431 problem, even while the caller still sends', async () => {
    for (const request of [
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`,
      `GET /${'a'.repeat(17_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: localhost\r\n${'X: a\r\n'.repeat(4000)}\r\n`,
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(5_000_000)}\r\n\r\n`,
    ])
      assertProblem(await send(service.url, request), { status: 431, code: 'headers_too_large' });
  });

  test('a caller who keeps sending after a refusal is cut off', async () => {
    using connection = await connect(service.url);
    connection.write('HELLO\r\n\r\n');
    await connection.answer();
    using _talk = talk(connection, 'more');
    await connection.closed;
  });

  test('malformed chunks get a 400 problem with the trace id of their request, and nothing is done', async () => {
    const { total } = (await service.call('GET', '/users/')).json;
    using connection = await connect(service.url);
    connection.write(`${post}X-Request-Id: chunks\r\nTransfer-Encoding: chunked\r\n\r\n`);
    await service.line(({ trace_id }) => trace_id === 'chunks');
    connection.write(`ZZ\r\n${newUser}\r\n0\r\n\r\n`);
    const answer = await connection.answer();
    assertProblem(answer, { status: 400, code: 'malformed_request', path: '/users/' });
    assert.equal(answer.json.trace_id, 'chunks');
    await connection.ended;
    const { status } = await service.line(({ event, trace_id }) => trace_id === 'chunks' && event === 'Request completed');
    assert.equal(status, 400);
    assert.equal((await service.call('GET', '/users/')).json.total, total);
  });

  test('a Transfer-Encoding that does not end in chunked gets a 400 problem', async () => {
    assertProblem(await send(service.url, `${post}Transfer-Encoding: gzip\r\n\r\n{}`), {
      status: 400,
      code: 'malformed_request',
      path: '/users/',
    });
  });

  test('a body shorter than its Content-Length gets a 400 problem, and nothing is done', async () => {
    using connection = await connect(service.url);
    connection.write(`${post}Content-Length: ${newUser.length + 1}\r\n\r\n${newUser}`);
    connection.end();
    assertProblem(await connection.answer(), { status: 400, code: 'malformed_request', path: '/users/' });
    await connection.closed;
  });

  test('pipelined requests are answered one by one, in order', async () => {
    using connection = await connect(service.url);
    connection.write(
      'GET /users/ HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    connection.write(`${post}Content-Length: ${newUser.length}\r\n\r\n${newUser}GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const statuses = [];
    for (const method of ['GET', 'GET', 'HEAD', 'POST', 'GET']) statuses.push((await connection.answer(method)).status);
    assert.deepEqual(statuses, [200, 404, 200, 201, 200]);
  });

  test('garbage after a request does not take away its answer', async () => {
    using connection = await connect(service.url);
    connection.write(`${post}Content-Length: ${newUser.length}\r\n\r\n${newUser}HELLO\r\n\r\n`);
    assert.equal((await connection.answer()).status, 201);
    assertProblem(await connection.answer(), { status: 400, code: 'malformed_request' });
    await connection.ended;
  });

  test('a body over the limit gets a 413 problem, even when the caller sends all of it', async () => {
    const body = 'a'.repeat(1024 * 1024);
    for (const request of [
      `${post}Content-Length: ${body.length}\r\n\r\n${body}`,
      `${post}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ]) {
      using connection = await connect(service.url);
      connection.write(`${request}GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      assertProblem(await connection.answer(), { status: 413, code: 'body_too_large', path: '/users/' });
      assert.equal((await connection.answer()).status, 200, 'the connection goes on after it');
    }
  });

  test('exactly one Host header is required, and it must name a host', async () => {
    for (const headers of [
      '',
      'Host: a\r\nHost: a\r\n',
      'Host: a\r\nhOsT: b\r\n',
      'Host: a b\r\n',
      'Host: a/b\r\n',
      'Host: user@a\r\n',
      'Host: a:b\r\n',
    ])
      assertProblem(await send(service.url, `GET /health HTTP/1.1\r\n${headers}\r\n`), {
        status: 400,
        code: 'malformed_request',
        path: '/health',
      });
    for (const host of ['a', 'a.example:8000', '127.0.0.1', '[::1]:8000', ''])
      assert.equal((await send(service.url, `GET /health HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 200, host);
    assert.equal((await send(service.url, 'GET /health HTTP/1.0\r\n\r\n')).status, 200);
  });

  test('Expect: 100-continue gets a 100; any other expectation gets a 417 problem', async () => {
    using connection = await connect(service.url);
    connection.write(`${post}Expect: 100-continue\r\nContent-Length: ${newUser.length}\r\n\r\n`);
    assert.equal((await connection.answer()).status, 100);
    connection.write(newUser);
    assert.equal((await connection.answer()).status, 201);
    assertProblem(await send(service.url, `${post}Expect: more\r\nContent-Length: 2\r\n\r\n{}`), {
      status: 417,
      code: 'expectation_failed',
      path: '/users/',
    });
  });

  test('a target in absolute form means the path in it', async () => {
    for (const [target, path] of [
      ['http://localhost/nowhere?x=1', '/nowhere'],
      ['https://user:pw@localhost:8000/nowhere', '/nowhere'],
      ['http://localhost', '/'],
      ['http://localhost?x=1', '/'],
    ] as const)
      assertProblem(await send(service.url, `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`), { status: 404, code: 'not_found', path });
    assert.equal((await send(service.url, 'GET http://localhost/users/?page=2 HTTP/1.1\r\nHost: localhost\r\n\r\n')).json.page, 2);
  });

  test('a path that cannot be decoded gets a 400 problem, whether the route exists or not', async () => {
    for (const path of ['/users/%', '/users/%zz', '/users/%ff', '/nowhere/%c3%28', '/%e2%82', '/%ed%a0%80'])
      assertProblem(await send(service.url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`), {
        status: 400,
        code: 'malformed_request',
        path: path.replaceAll('%', '%25'),
      });
  });

  test('an Upgrade is ignored', async () => {
    const { status } = await send(
      service.url,
      'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    assert.equal(status, 200);
  });
});

test('garbage after a slow request waits for its answer, however much arrives', async () => {
  const { log, line } = captureLog();
  const parts = { settings: readConfig({}), log, metrics: createMetrics({ name: 'test', version: '0' }).http };
  const release = Promise.withResolvers<object>();
  const app = await createServer(parts, async (added) => {
    added.get('/', { config: { access: 'anyone' } }, () => release.promise);
  });
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  try {
    using connection = await connect(await app.listen({ host: '127.0.0.1', port: 0 }));
    let errors = 0;
    const received = new Promise<void>((resolve) => {
      app.server.on('clientError', () => {
        errors += 1;
        if (errors === 30) resolve();
      });
    });
    connection.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await line(({ event }) => event === 'Request started');
    using _garbage = talk(connection, 'HELLO\r\n\r\n');
    await received;
    release.resolve({});
    assert.equal((await connection.answer()).status, 200);
    assertProblem(await connection.answer(), { status: 400, code: 'malformed_request' });
    await connection.ended;
    assert.deepEqual(warnings, []);
  } finally {
    process.off('warning', note);
    await app.close();
  }
});
