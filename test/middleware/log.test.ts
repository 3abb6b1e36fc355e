// What the log says of requests, and what it never says.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, suite, test } from 'node:test';
import * as context from '../../src/platform/context.ts';
import { captureLog, type Line } from '../support/log.ts';
import { startService, type TestService } from '../support/service.ts';
import { connect, send } from '../support/socket.ts';

suite('the log of requests', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  const linesOf = (id: string) => service.lines.filter(({ trace_id }) => trace_id === id);
  const closing = (id: string) =>
    service.line(({ event, trace_id }) => trace_id === id && /^Request (completed|aborted)$/.test(event), `the last line of ${id}`);

  test('has two lines for each: method and path, then status and time', async () => {
    await service.call('GET', '/users/?page=1', undefined, { 'x-request-id': 'framed' });
    const completed = await closing('framed');
    const [started] = linesOf('framed') as [Line];
    const common = { level: 'info', app: 'rollcall', trace_id: 'framed', method: 'GET', path: '/users/' };
    assert.deepEqual({ ...started, timestamp: '' }, { ...common, timestamp: '', event: 'Request started' });
    assert.deepEqual(
      { ...completed, timestamp: '', execution_time: '' },
      { ...common, timestamp: '', status: 200, execution_time: '', event: 'Request completed' },
    );
    assert.match(String(completed['execution_time']), /^\d+\.\d{4}s$/);
    for (const { timestamp } of [started, completed]) assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/);
  });

  test('is at debug for /health, /ready and /metrics', async () => {
    for (const path of ['/health', '/ready', '/metrics', '/health/'])
      for (const [method, more] of [
        ['GET', ''],
        ['HEAD', ''],
        ['POST', ''],
        ['GET', '?x=1'],
      ] as const) {
        const trace = `probe-${method}${path.replaceAll('/', '-')}${more.length}`;
        await service.call(method, path + more, undefined, { 'x-request-id': trace });
        await service.line(({ event, trace_id }) => trace_id === trace && event === 'Request completed');
        assert.deepEqual(
          linesOf(trace).map(({ event, level }) => [event, level]),
          [
            ['Request started', 'debug'],
            ['Request completed', 'debug'],
          ],
        );
      }
  });

  test('never has a query, fragment, authority or body, also for refused requests', async () => {
    const secret = 'sesame-4711';
    const { id } = await service.createUser({ password: secret });
    await service.call('PUT', `/users/${id}`, { password: `${secret}${secret}` });
    await service.call('POST', '/users/', { name: secret, surname: 1, password: secret, [secret]: secret });
    await service.call('POST', '/users/', `{"password":"${secret}"`, { 'content-type': 'application/json' });
    await service.call('GET', `/users/?password=${secret}`);
    await service.call('GET', `/nowhere?password=${secret}`, undefined, { authorization: secret, cookie: secret });
    for (const target of [`http://user:${secret}@host/users/`, `/users/?${secret}=%zz`, `/users/#${secret}`, `/users/%zz?${secret}`])
      await send(service.url, `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const { headers } = await service.call('GET', '/health');
    await closing(headers.get('x-trace-id') ?? '');
    assert.ok(!service.text().includes(secret));
  });

  test('says "Request aborted" once for a caller who leaves in the middle of the body', async () => {
    using connection = await connect(service.url);
    connection.write(
      'POST /users/ HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: broken\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    );
    await service.line(({ trace_id }) => trace_id === 'broken');
    connection.reset();
    await closing('broken');
    // Anything else that is said of it is said before another request comes to its end.
    await service.call('GET', '/health');
    assert.deepEqual(
      linesOf('broken').map(({ event, level }) => [event, level]),
      [
        ['Request started', 'info'],
        ['Request aborted', 'info'],
      ],
    );
  });

  test('says "Request aborted" for a caller who leaves before the answer, and the change is made', async () => {
    const body = JSON.stringify({ name: 'Gone', surname: 'Away', password: 'correct horse' });
    using connection = await connect(service.url);
    connection.write(
      `POST /users/ HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: left\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await service.line(({ trace_id }) => trace_id === 'left');
    connection.reset();
    const last = await closing('left');
    const received = await service.line(({ event, trace_id }) => trace_id === 'left' && event.startsWith('Received event user.created'));
    assert.equal((await service.call('GET', `/users/${received['user_id']}`)).json.name, 'Gone');
    // The answer may have been quicker than the reset.
    assert.match(last.event, /^Request (aborted|completed)$/);
    assert.ok(linesOf('left').every(({ level }) => level === 'info' || level === 'debug'));
  });

  test('truncates a very long path and says how long it was', async () => {
    const path = `/${'p'.repeat(15_000)}`;
    await service.call('GET', path, undefined, { 'x-request-id': 'long' });
    await closing('long');
    for (const line of linesOf('long')) {
      assert.equal(line['path'], `${path.slice(0, 512)}... (15001 characters)`);
      assert.ok(JSON.stringify(line).length < 1000);
    }
    assert.ok(linesOf('long').length >= 2);
  });

  test('has a line for malformed HTTP, with the trace id of the answer', async () => {
    const { headers } = await send(service.url, 'HELLO\r\n\r\n');
    const id = headers.get('x-trace-id') ?? '';
    const [line] = linesOf(id) as [Line];
    assert.deepEqual([line.event, line.level, line['code']], ['Request refused', 'info', 'malformed_request']);
  });
});

suite('a line of the log', () => {
  test('hides the value of every key that may be a secret, at any depth and in any case', () => {
    const { log, text } = captureLog();
    const secret = 'sesame';
    log.info(
      {
        password: secret,
        newPassword: secret,
        Authorization: secret,
        headers: { cookie: secret, 'set-cookie': [secret], 'x-api-token': secret },
        config: { DATABASE_URL: secret, RABBITMQ_URL: secret, nested: [{ deeper: { client_secret: secret } }] },
        user: { password_hash: { salt: secret } },
        deep: { deep: { deep: { deep: { deep: { deep: { deep: { deep: { deep: { password: secret } } } } } } } } },
        kept: 'shown',
      },
      'hello',
    );
    assert.ok(!text().includes(secret), text());
    assert.ok(text().includes('shown'));
  });

  test('leaves what is logged as it was', () => {
    const { log } = captureLog();
    const fields = { password: 'sesame', list: [{ token: 'sesame' }] };
    log.info(fields, 'hello');
    assert.deepEqual(fields, { password: 'sesame', list: [{ token: 'sesame' }] });
  });

  test('has type, message, code and stack of an error and its causes, but no rows quoted by PostgreSQL', () => {
    const { log, lines, text } = captureLog();
    const cause = Object.assign(new TypeError('the cause'), {
      code: '23514',
      detail: 'Failing row contains (1, John, sesame).',
      where: 'sesame',
    });
    log.error({ error: new Error('it broke', { cause }), other: { inner: cause } }, 'hello');
    log.error(cause);
    const { error } = lines[0] as unknown as { error: Record<string, string> };
    assert.deepEqual([error['type'], error['message']], ['Error', 'it broke: the cause']);
    assert.match(error['stack'] ?? '', /log\.test\.ts[\s\S]*caused by: TypeError: the cause/);
    assert.deepEqual((lines[1] as unknown as { error: Record<string, string> }).error['code'], '23514');
    assert.ok(!text().includes('sesame'), text());
  });

  test('is one JSON object of at most 16 KiB, and keeps trace id and event', () => {
    const { log, lines, text } = captureLog();
    const long = 'x'.repeat(100_000);
    context.run(context.createContext('found', undefined), () => {
      log.info({ reason: long, list: [long, long], deep: { deep: { text: long } } }, 'fields');
      log.error({ error: new Error(long, { cause: new Error(long) }), code: long }, 'error');
      log.error({ error: Object.assign(new Error('no'), { code: long, stack: `Error: no\n${long}` }) }, 'stack');
      log.info(long);
      log.info({ many: Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`key ${n}`, n])), kept: 1 }, 'members');
      log.info({ list: Array.from({ length: 5000 }, () => '\u0000') }, 'items');
      log.info({ [long]: 1 }, 'key');
      log.info({ text: '\u0000'.repeat(100_000), more: '\u0000'.repeat(500), most: '\u{1f40e}'.repeat(100_000) }, 'escapes');
      log.info({ bytes: Buffer.alloc(100_000), text: `${'x'.repeat(511)}\u{1f40e}${long}` }, 'bytes');
    });
    const texts = text().trimEnd().split('\n');
    assert.equal(texts.length, 9);
    for (const [n, line] of texts.entries()) {
      assert.ok(Buffer.byteLength(line) <= 16_384, `${Buffer.byteLength(line)} bytes: ${line.slice(0, 100)}`);
      assert.ok(lines[n]?.event !== undefined && lines[n].level !== undefined && lines[n].timestamp !== undefined, line.slice(0, 100));
      assert.equal(lines[n].trace_id, 'found');
      assert.ok(line.isWellFormed() && !line.includes('\\ud83d'));
    }
    assert.deepEqual([lines[4]?.['many'], lines[4]?.['kept']], [undefined, 1]);
    assert.ok(Number(lines[4]?.['cut_from_bytes']) > 16_384);
  });

  test('survives circular objects', () => {
    const { log, lines } = captureLog();
    const circle: Record<string, unknown> = { name: 'circle' };
    circle['self'] = circle;
    log.info({ circle }, 'hello');
    assert.equal(lines[0]?.event, 'hello');
  });

  test('is one JSON object on stdout, unless that is a terminal', () => {
    const script = `
      const { createLogger } = await import(${JSON.stringify(new URL('../../src/platform/telemetry/logger.ts', import.meta.url).href)});
      createLogger({ level: 'info', appName: 'test' }).info({ n: 1, text: 'two\\nlines' }, 'hello');`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
    assert.equal(stdout.trimEnd().split('\n').length, 1);
    const { event, level, n } = JSON.parse(stdout);
    assert.deepEqual([event, level, n], ['hello', 'info', 1]);
  });
});
