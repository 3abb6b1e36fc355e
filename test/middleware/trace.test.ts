// Where the trace id comes from, and that it stays with its request.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createMetrics } from '../../src/app/metrics.ts';
import { readConfig } from '../../src/config.ts';
import { createServer } from '../../src/platform/http/server.ts';
import { captureLog } from '../support/log.ts';
import { startService, type TestService } from '../support/service.ts';
import { connect, send } from '../support/socket.ts';

const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = `00-${traceId}-00f067aa0ba902b7-01`;

suite('the trace id', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  async function traceOf(headers: Record<string, string>, path = '/health'): Promise<string> {
    return (await service.call('GET', path, undefined, headers)).headers.get('x-trace-id') ?? '';
  }

  test('is the X-Request-Id, if that has 1 to 128 of A-Z a-z 0-9 . _ : -', async () => {
    for (const id of ['a', 'A1._:-z', 'x'.repeat(128)]) assert.equal(await traceOf({ 'x-request-id': id }), id);
  });

  test('is a new UUID for an X-Request-Id of any other form, one that comes twice included', async () => {
    const lines = [
      '',
      'a b',
      'x'.repeat(129),
      'a/b',
      'a,b',
      '"a"',
      'é',
      '$(x)',
      'a\tb',
      'one\r\nX-Request-Id: two',
      'same\r\nX-Request-Id: same',
    ];
    for (const line of lines) {
      const { headers } = await send(
        service.url,
        Buffer.from(`GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: ${line}\r\n\r\n`, 'latin1'),
      );
      assert.match(headers.get('x-trace-id') ?? '', uuid, JSON.stringify(line));
    }
  });

  test('is the X-Trace-Id by the same rule, where no X-Request-Id is valid', async () => {
    for (const id of ['a', 'A1._:-z', 'x'.repeat(128)]) assert.equal(await traceOf({ 'x-trace-id': id }), id);
    for (const id of ['', 'a b', 'x'.repeat(129), 'a,b']) assert.match(await traceOf({ 'x-trace-id': id }), uuid, id);
    assert.equal(await traceOf({ 'x-request-id': 'one', 'x-trace-id': 'two', traceparent: parent }), 'one');
    assert.equal(await traceOf({ 'x-request-id': 'o ne', 'x-trace-id': 'two', traceparent: parent }), 'two');
    assert.equal(await traceOf({ 'x-trace-id': 't/wo', traceparent: parent }), traceId);
  });

  test('is that of a valid traceparent, also of a later version', async () => {
    for (const value of [parent, parent.replace(/01$/, '00'), parent.replace(/^00/, 'cc'), `${parent.replace(/^00/, 'cc')}-more`])
      assert.equal(await traceOf({ traceparent: value }), traceId, value);
  });

  test('is a new UUID for a traceparent that breaks the standard', async () => {
    const broken = [
      parent.replace(/^00/, 'ff'),
      parent.toUpperCase(),
      `${parent}-more`,
      parent.slice(0, -1),
      parent.replace(traceId, '0'.repeat(32)),
      parent.replace('00f067aa0ba902b7', '0'.repeat(16)),
      parent.replaceAll('-', '_'),
      `${parent}, ${parent}`,
      'x',
    ];
    for (const value of broken) assert.match(await traceOf({ traceparent: value }), uuid, value);
  });

  test('prefers a valid X-Request-Id over a traceparent', async () => {
    assert.equal(await traceOf({ 'x-request-id': 'mine', traceparent: parent }), 'mine');
    assert.equal(await traceOf({ 'x-request-id': 'not mine', traceparent: parent }), traceId);
  });

  test('is part of every refusal', async () => {
    for (const path of ['/nowhere', '/users/abc', '/users/%zz', '/users/?page=0', '/schema/nowhere'])
      assert.equal(await traceOf({ 'x-request-id': 'mine' }, path), 'mine', path);
  });

  test('of a hundred concurrent requests stays with each: its log lines, its user, its event', async () => {
    const created = await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        const { headers, json } = await service.call(
          'POST',
          '/users/',
          { name: `Name ${n}`, surname: 'Doe', password: 'correct horse' },
          { 'x-request-id': `request-${n}` },
        );
        assert.equal(headers.get('x-trace-id'), `request-${n}`);
        return { id: json.id as number, trace: `request-${n}` };
      }),
    );
    for (const { id, trace } of created) {
      const received = await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
      assert.equal(received.trace_id, trace);
      const events = service.lines.filter(({ trace_id, level }) => trace_id === trace && level !== 'debug').map(({ event }) => event);
      assert.deepEqual(events.sort(), [received.event, 'Request completed', 'Request started']);
    }
  });
});

test('a line that a handler logs carries the id of its request, however late the body came', async () => {
  const { log, lines } = captureLog();
  const app = await createServer(
    { settings: readConfig({}), log, metrics: createMetrics({ name: 'test', version: '0' }).http },
    async (added) => {
      added.post<{ Body: { n: number } }>('/', { config: { access: 'anyone' } }, async ({ body: { n } }) => {
        log.info({ n }, 'before waiting');
        await wait(1);
        log.info({ n }, 'after waiting');
        return {};
      });
    },
  );
  try {
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const requests = await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        const body = JSON.stringify({ n });
        const connection = await connect(url);
        connection.write(
          `POST / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r${n}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n{`,
        );
        return { connection, rest: body.slice(1) };
      }),
    );
    // The bodies end in another order than the requests began.
    for (const { connection, rest } of requests.toReversed()) connection.write(rest);
    for (const { connection } of requests) {
      assert.equal((await connection.answer()).status, 200);
      connection[Symbol.dispose]();
    }
    const own = lines.filter(({ event }) => event.endsWith('waiting'));
    assert.equal(own.length, 200);
    for (const { n, trace_id } of own) assert.equal(trace_id, `r${n}`);
  } finally {
    await app.close();
  }
});
