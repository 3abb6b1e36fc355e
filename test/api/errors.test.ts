// What a caller is told when something goes wrong: RFC 9457 problem details, on every path.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { createMetrics } from '../../src/app/metrics.ts';
import { readConfig } from '../../src/config.ts';
import { problems } from '../../src/features.ts';
import { createServer } from '../../src/platform/http/server.ts';
import { problems as ofAny, Problem } from '../../src/platform/problem.ts';
import { type CapturedLog, captureLog } from '../support/log.ts';
import { type Answer, startService, type TestService } from '../support/service.ts';
import { type RawAnswer, send } from '../support/socket.ts';

const kinds = new Map(problems.map((kind) => [kind.code, kind]));

type Expected = { status: number; code: string; instance: string; detail?: string };

function assertProblem({ status, headers, json }: Answer | RawAnswer, expected: Expected): void {
  const { detail, extra, trace_id, ...rest } = json;
  assert.deepEqual(
    { httpStatus: status, ...rest },
    {
      httpStatus: expected.status,
      type: `urn:rollcall:problem:${expected.code}`,
      title: kinds.get(expected.code)?.title,
      status: expected.status,
      instance: expected.instance,
      code: expected.code,
      status_code: expected.status,
    },
  );
  assert.equal(headers.get('content-type'), 'application/problem+json; charset=utf-8');
  assert.equal(headers.get('x-trace-id'), trace_id);
  assert.ok(detail.length > 0 && Array.isArray(extra));
  if (expected.detail !== undefined) assert.equal(detail, expected.detail);
}

suite('problems', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  const post = (body: string | Uint8Array, headers: Record<string, string> = { 'content-type': 'application/json' }, path = '/users/') =>
    service.call('POST', path, body, headers);

  test('an unknown path is a 404 that names it, without its query', async () => {
    for (const path of ['/', '/nowhere', '/users/1/more', '//users/', '/Users/', '/users;x=1', '/schema/json', '/schema/static/x.js'])
      assertProblem(await service.call('GET', `${path}?secret=1`), { status: 404, code: 'not_found', instance: path });
  });

  test('a missing user is a 404 with the text of the LiteStar service', async () => {
    assertProblem(await service.call('GET', '/users/999'), {
      status: 404,
      code: 'user_not_found',
      instance: '/users/999',
      detail: 'User with id 999 not found',
    });
  });

  test('path traversal is a 404, however it is encoded', async () => {
    for (const path of [
      '/schema/../package.json',
      '/schema/%2e%2e/package.json',
      '/schema/..%2f..%2fpackage.json',
      '/schema/%00',
      '/users/..',
    ])
      assertProblem(await send(service.url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`), {
        status: 404,
        code: 'not_found',
        instance: path,
      });
  });

  test('no request target causes a 5xx', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('/', '/users/', '/schema/', 'http://localhost/', '*'),
        fc.string({ unit: fc.constantFrom(...'abc019%ef/?#;:@&=+.~*[]{}\\|^<>"\'!'), maxLength: 12 }),
        async (start, end) => {
          const answer = await send(service.url, `GET ${start}${end} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
          assert.ok(answer.status < 500, `${answer.status} for ${start}${end}`);
          if (answer.status >= 400) assert.equal(answer.headers.get('x-trace-id'), answer.json.trace_id);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('a body that is not JSON, not UTF-8, or names a prototype is a 400', async () => {
    const bodies = [
      '{',
      '{"name":}',
      "{'name':1}",
      '{"name":"x"} more',
      '{"name":NaN}',
      '{"name":"\u0001"}',
      '\0',
      '{"__proto__":{"name":"x"}}',
      '{"\\u005f_proto__":1}',
      '{"constructor":{"prototype":{"name":"x"}}}',
      '{"name":{"__proto__":null}}',
      Buffer.from([0x22, 0xff, 0x22]),
      Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
      Buffer.from('"x"', 'utf16le'),
    ];
    for (const body of bodies) assertProblem(await post(body), { status: 400, code: 'malformed_body', instance: '/users/' });
  });

  test('a missing body is a 400 that says so', async () => {
    for (const request of [
      '',
      'Content-Length: 0\r\n',
      'Content-Type: application/json\r\nContent-Length: 0\r\n',
      'Content-Type: application/msgpack\r\n',
    ]) {
      const answer = await send(service.url, `POST /users/ HTTP/1.1\r\nHost: localhost\r\n${request}\r\n`);
      assertProblem(answer, { status: 400, code: 'validation_failed', instance: '/users/' });
      assert.deepEqual(answer.json.extra, [{ key: '', message: 'must be of type object', source: 'body' }]);
    }
  });

  test('an unknown or missing content type is a 415', async () => {
    const types = [
      'text/plain',
      'application/xml',
      'application/jsonp',
      'application/json, text/plain',
      'json',
      ';',
      '',
      'multipart/form-data; boundary=x',
    ];
    for (const type of types)
      assertProblem(
        await send(service.url, `POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 2\r\n\r\n{}`),
        {
          status: 415,
          code: 'unsupported_media_type',
          instance: '/users/',
        },
      );
    const none = await send(service.url, 'PUT /users/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}');
    assertProblem(none, { status: 415, code: 'unsupported_media_type', instance: '/users/1' });
  });

  test('a content type may have any case and parameters', async () => {
    for (const type of ['Application/JSON', 'application/json;charset=utf-8', 'application/json ; x="y"'])
      assert.equal((await post('{}', { 'content-type': type })).json.code, 'validation_failed', type);
  });

  test('a compressed body is a 415 with Accept-Encoding', async () => {
    for (const encoding of ['gzip', 'br', 'identity, gzip']) {
      const answer = await post('{}', { 'content-type': 'application/json', 'content-encoding': encoding });
      assertProblem(answer, { status: 415, code: 'unsupported_media_type', instance: '/users/' });
      assert.equal(answer.headers.get('accept-encoding'), 'identity');
    }
    assert.equal((await post('{}', { 'content-type': 'application/json', 'content-encoding': 'Identity' })).status, 400);
  });

  test('the code of every problem is the last part of its type, and 4xx or 5xx', () => {
    for (const { code, status, title } of problems) {
      assert.match(code, /^[a-z_]+$/);
      assert.ok(status >= 400 && status < 600 && title.length > 0);
    }
  });
});

suite('an internal error', () => {
  let captured: CapturedLog;
  let url: string;
  let close: () => Promise<void>;

  before(async () => {
    captured = captureLog();
    const { log } = captured;
    const app = await createServer(
      { settings: readConfig({}), log, metrics: createMetrics({ name: 'test', version: '0' }).http },
      async (added) => {
        const config = { access: 'anyone' } as const;
        added.get('/broken', { config }, () => {
          throw new Error('secret reason', { cause: new Error('secret cause') });
        });
        added.get('/rejected', { config }, () => Promise.reject(Object.assign(new Error('secret reason'), { statusCode: 418 })));
        added.get('/thrown', { config }, () => Promise.reject('secret reason'));
        added.get('/unserializable', { config }, async () => ({ n: 1n }));
        added.get('/away', { config }, () => {
          const cause = new Error('secret address');
          throw new Problem(ofAny.database_unavailable, 'Try again later.', { headers: { 'retry-after': '1' }, cause });
        });
      },
    );
    url = await app.listen({ host: '127.0.0.1', port: 0 });
    close = () => app.close();
  });
  after(() => close());

  const get = (path: string) => send(url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);

  test('is a 500 without details, and a line "Request failed" with stack and trace id', async () => {
    for (const path of ['/broken', '/rejected', '/thrown', '/unserializable']) {
      const answer = await get(path);
      assertProblem(answer, { status: 500, code: 'internal_error', instance: path });
      assert.ok(!/secret|Error|\.ts|node:|BigInt/.test(answer.text), answer.text);
      const line = await captured.line(({ event, trace_id }) => event === 'Request failed' && trace_id === answer.json.trace_id);
      assert.deepEqual([line.level, line['method'], line['path']], ['error', 'GET', path]);
      assert.ok(line['error'] !== undefined);
    }
    const line = await captured.line((candidate) => candidate['path'] === '/broken' && candidate.event === 'Request failed');
    const { message, stack } = line['error'] as { message: string; stack: string };
    assert.equal(message, 'secret reason: secret cause');
    assert.match(stack, /errors\.test\.ts/);
  });

  test('that is temporary is a 503 with Retry-After, and a warning with its stack', async () => {
    const answer = await get('/away');
    assertProblem(answer, { status: 503, code: 'database_unavailable', instance: '/away', detail: 'Try again later.' });
    assert.equal(answer.headers.get('retry-after'), '1');
    const line = await captured.line(({ trace_id, level }) => trace_id === answer.json.trace_id && level === 'warn');
    assert.equal(line.event, 'Request refused');
    assert.match((line['error'] as { stack: string }).stack, /secret address[\s\S]*errors\.test\.ts/);
  });

  test('stops the start if a route does not declare its access', async () => {
    const { log } = captureLog();
    const app = await createServer(
      { settings: readConfig({}), log, metrics: createMetrics({ name: 'test', version: '0' }).http },
      async (added) => {
        added.get('/forgotten', async () => ({}));
      },
    );
    await assert.rejects(async () => app.ready(), /\/forgotten/);
    await app.close();
  });
});
