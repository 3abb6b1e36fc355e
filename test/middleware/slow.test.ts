// Requests that come too slowly, or never: told so where they can be, and closed in time.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';
import { type Connection, connect } from '../support/socket.ts';

const post = 'POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

/** Keeps sending until disposed of. */
function talk(connection: Connection, text: string): Disposable {
  const timer = setInterval(() => connection.write(text), 20);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

suite('slow connections', () => {
  let service: TestService;
  before(async () => {
    service = await startService({ HTTP_HEADERS_TIMEOUT_MS: '100', HTTP_REQUEST_TIMEOUT_MS: '300', HTTP_KEEP_ALIVE_TIMEOUT_MS: '100' });
  });
  after(() => service[Symbol.asyncDispose]());

  test('headers that do not end in time get a 408 problem and a closed connection', async () => {
    using connection = await connect(service.url);
    connection.write('GET /health HTTP/1.1\r\nHost: localhost\r\n');
    using _talk = talk(connection, 'X: y\r\n');
    const { status, headers, json } = await connection.answer();
    assert.deepEqual([status, json.code, json.instance], [408, 'request_timeout', '']);
    assert.deepEqual([headers.get('x-trace-id'), headers.get('connection')], [json.trace_id, 'close']);
    await connection.closed;
  });

  test('a body that does not end in time gets a 408 problem with the trace id of its request, and a closed connection', async () => {
    using connection = await connect(service.url);
    connection.write(`${post}X-Request-Id: slow\r\nContent-Length: 30000\r\n\r\n`);
    using _talk = talk(connection, '{');
    const { status: told, headers, json } = await connection.answer();
    assert.deepEqual([told, json.code, json.instance, json.trace_id], [408, 'request_timeout', '/users/', 'slow']);
    assert.deepEqual([headers.get('x-trace-id'), headers.get('connection')], ['slow', 'close']);
    await connection.closed;
    await service.line(({ event, trace_id }) => trace_id === 'slow' && event === 'Request completed');
    const lines = service.lines.filter(({ trace_id }) => trace_id === 'slow');
    assert.deepEqual(
      lines.map(({ event, level, status }) => [event, level, status]),
      [
        ['Request started', 'info', undefined],
        ['Request completed', 'info', 408],
      ],
    );
  });

  test('an abandoned body does not keep its connection open', async () => {
    for (const path of ['/nowhere', '/health']) {
      using connection = await connect(service.url);
      connection.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n`);
      assert.ok([404, 405].includes((await connection.answer()).status));
      using _talk = talk(connection, '{');
      await connection.closed;
    }
  });

  test('an idle connection is closed', async () => {
    using connection = await connect(service.url);
    connection.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await connection.answer();
    await connection.ended;
  });
});

test('unfinished requests do not keep the service from stopping', { timeout: 14_000 }, async () => {
  const service = await startService();
  using headers = await connect(service.url);
  headers.write('GET /health HTTP/1.1\r\n');
  using body = await connect(service.url);
  body.write(`${post}X-Request-Id: never\r\nContent-Length: 100\r\n\r\n{`);
  await service.line(({ trace_id }) => trace_id === 'never');
  await service[Symbol.asyncDispose]();
  await Promise.all([headers.ended, body.ended]);
});
