// How large, how deep and how wide a body may be, and what becomes of one that is refused.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { createMetrics } from '../../src/app/metrics.ts';
import { readConfig } from '../../src/config.ts';
import { checkJson } from '../../src/platform/http/bounds.ts';
import { createDocument } from '../../src/platform/http/negotiation.ts';
import { type App, createServer } from '../../src/platform/http/server.ts';
import { captureLog } from '../support/log.ts';
import { startService, type TestService } from '../support/service.ts';
import { connect, send } from '../support/socket.ts';

const kibibyte = 1024;
const json = 'application/json';
const msgpack = 'application/msgpack';

async function startApp(addRoutes: (app: App) => void): Promise<AsyncDisposable & { readonly app: App; readonly url: string }> {
  const parts = { settings: readConfig({}), log: captureLog().log, metrics: createMetrics({ name: 'test', version: '0' }).http };
  const app = await createServer(parts, async (added) => addRoutes(added));
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  return { app, url, [Symbol.asyncDispose]: () => app.close() };
}

suite('bodies', () => {
  let service: TestService;
  let path: string;
  before(async () => {
    service = await startService();
    path = `/users/${(await service.createUser()).id}`;
  });
  after(() => service[Symbol.asyncDispose]());

  async function refused(type: string, body: string | Uint8Array): Promise<[status: number, code: string, detail: string]> {
    const [ofPost, ofPut] = [
      await service.call('POST', '/users/', body, { 'content-type': type }),
      await service.call('PUT', path, body, { 'content-type': type }),
    ];
    const said = ({ status, json: { code, detail } }: typeof ofPost) => [status, code, detail.replace(/(POST|PUT) \S+$/, '')];
    assert.deepEqual(said(ofPost), said(ofPut));
    return said(ofPost) as [number, string, string];
  }

  test('a body of 32 KiB is read; one byte more gets a 413 that names the limit', async () => {
    const jsonOf = (size: number) => `{"name":"${'x'.repeat(size - 11)}"}`;
    const msgpackOf = (size: number) => encode({ name: 'x'.repeat(size - 9) });
    assert.equal(msgpackOf(32 * kibibyte).length, 32 * kibibyte);
    const tooLarge = [413, 'body_too_large', 'The body is larger than 32 KiB.'];
    assert.equal((await refused(json, jsonOf(32 * kibibyte)))[1], 'validation_failed');
    assert.equal((await refused(msgpack, msgpackOf(32 * kibibyte)))[1], 'validation_failed');
    for (const size of [32 * kibibyte + 1, kibibyte * kibibyte]) {
      assert.deepEqual(await refused(json, jsonOf(size)), tooLarge);
      assert.deepEqual(await refused(json, '['.repeat(size)), tooLarge);
      assert.deepEqual(await refused(msgpack, msgpackOf(size)), tooLarge);
    }
  });

  test('the longest valid user is read, even with every character escaped', async () => {
    const escaped = (text: string) => [...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`);
    // Decomposed as far as Unicode goes: U+1F82 is four code points of NFD.
    const longest = (length: number) => escaped('ᾂ'.normalize('NFD').repeat(length)).join('');
    const body = `{"name":"${longest(255)}","surname":"${longest(255)}","password":"${longest(128)}"}`;
    const { status, json: user } = await service.call('POST', '/users/', body, { 'content-type': json });
    assert.deepEqual([status, user.name], [201, 'ᾂ'.repeat(255)]);
  });

  test('a body over the limit is refused by its Content-Length, before any of it is read', async () => {
    const head = `POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${32 * kibibyte + 1}\r\n`;
    for (const expect of ['', 'Expect: 100-continue\r\n']) {
      const { status, json: problem } = await send(service.url, `${head}${expect}\r\n`);
      assert.deepEqual([status, problem.code], [413, 'body_too_large']);
    }
  });

  test('a chunked body is refused as soon as it exceeds the limit', async () => {
    using connection = await connect(service.url);
    connection.write('POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let n = 0; n < 33; n += 1) connection.write(`400\r\n${'['.repeat(kibibyte)}\r\n`);
    const { status, json: problem } = await connection.answer();
    assert.deepEqual([status, problem.code], [413, 'body_too_large']);
  });

  test('more than 32 levels or 2,000 members get a 400, in JSON and MessagePack', async () => {
    const nested = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);
    const object = (size: number) => Object.fromEntries(Array.from({ length: size }, (_, n) => [`k${n}`, n]));
    const deep = [400, 'malformed_body', 'The body is nested more than 32 levels deep.'];
    const wide = [400, 'malformed_body', 'The body has more than 2000 members.'];
    const cases: [what: string, value: unknown, expected: unknown[]][] = [
      ['lists', nested(33), deep],
      ['lists in a field', { name: nested(32) }, deep],
      ['objects', JSON.parse(`${'{"a":'.repeat(33)}1${'}'.repeat(33)}`), deep],
      ['a long list', Array(2001).fill(0), wide],
      ['a long list in a field', { name: Array(2000).fill(0) }, wide],
      ['a wide object', object(2001), wide],
      ['a wide object in a field', { name: object(2000) }, wide],
      ['many empty lists', Array(1001).fill([]), wide],
      ['many short lists', Array(1000).fill([1, 2]), wide],
    ];
    for (const [what, value, expected] of cases) {
      assert.deepEqual(await refused(json, JSON.stringify(value)), expected, what);
      assert.deepEqual(await refused(json, JSON.stringify(value, null, 1)), expected, what);
      assert.deepEqual(await refused(msgpack, encode(value)), expected, what);
    }
    for (const [what, value] of [
      ['lists', nested(32)],
      ['a list', Array(2000).fill(0)],
      ['an object', object(2000)],
      ['brackets and commas in text', { name: `[[{{,\\"${'[{,'.repeat(3000)}` }],
      ['brackets and commas in a key', { [`[${'{,'.repeat(2000)}`]: 1 }],
      ['backslashes and quotes in text', { name: '\\"'.repeat(2000), [`\\${'['.repeat(100)}`]: '"' }],
    ] as [string, unknown][]) {
      const [status, code] = await refused(json, JSON.stringify(value));
      assert.deepEqual([status, code], [400, 'validation_failed'], what);
      assert.deepEqual((await refused(msgpack, encode(value))).slice(0, 2), [status, code], what);
    }
    for (const [what, body] of [
      ['one key again and again', `{${'"a":1,'.repeat(2000)}"a":1}`],
      ['lists that never end', '['.repeat(32 * kibibyte)],
      ['commas alone', ','.repeat(32 * kibibyte)],
      ['lists that end before they begin', `${']'.repeat(100)}${'['.repeat(1000)}`],
      ['a text that never ends', `"${'['.repeat(1000)}`],
      ['a text whose end is escaped', `"${'['.repeat(1000)}\\"`],
    ] as const)
      assert.deepEqual((await refused(json, body)).slice(0, 2), [400, 'malformed_body'], what);
  });
});

test('nesting is counted before parsing: 32 KiB of brackets are refused at the 33rd', () => {
  const bytes = Buffer.alloc(32 * kibibyte, '[');
  const read = new Proxy(bytes, {
    get(target, name) {
      if (Number(name) > 32) throw new Error(`read on to byte ${String(name)}`);
      return Reflect.get(target, name);
    },
  });
  assert.throws(() => checkJson(read, { depthMax: 32, membersMax: 1000 }), /nested more than 32 levels/);
});

test('a route may have its own limit, and its 413 names it', async () => {
  await using server = await startApp((app) => {
    const config = { access: 'anyone' } as const;
    app.post('/large', { config, bodyLimit: 64 * kibibyte }, async () => ({}));
    app.post('/small', { config, bodyLimit: 100 }, async () => ({}));
  });
  const post = async (path: string, size: number) => {
    const body = `"${'x'.repeat(size - 2)}"`;
    const { status, json: answer } = await send(
      server.url,
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return [status, answer.detail];
  };
  assert.deepEqual(await post('/large', 64 * kibibyte), [200, undefined]);
  assert.deepEqual(await post('/large', 64 * kibibyte + 1), [413, 'The body is larger than 64 KiB.']);
  assert.deepEqual(await post('/small', 101), [413, 'The body is larger than 100 bytes.']);
});

// @returns how many bytes were read before the connection was closed of a caller who sends `piece` without end
async function readOfEndless(head: string, piece: string, status: number): Promise<number> {
  await using server = await startApp((app) => {
    app.post('/', { config: { access: 'anyone' } }, async () => ({}));
  });
  const accepted = once(server.app.server, 'connection') as Promise<[Socket]>;
  const client = net.connect({ host: '127.0.0.1', port: (server.app.server.address() as AddressInfo).port, allowHalfOpen: true });
  client.on('error', () => {});
  const [socket] = await accepted;
  const closed = once(socket, 'close');
  const answered = once(client, 'data') as Promise<[Buffer]>;
  client.write(head);
  const more = () => {
    while (client.writable && client.write(piece));
  };
  client.on('drain', more);
  more();
  assert.match(String((await answered)[0]), new RegExp(`^HTTP/1.1 ${status} `), head);
  await closed;
  client.destroy();
  return socket.bytesRead;
}

test('a caller who keeps sending after a refusal is read slowly and cut off', async () => {
  const bytes = 'x'.repeat(65_536);
  const refusals: [target: string, type: string, status: number][] = [
    ['POST /', json, 413],
    ['PUT /', json, 405],
    ['POST /nowhere', json, 404],
    ['POST /', 'text/plain', 415],
  ];
  const read = refusals.flatMap(([target, type, status]) => {
    const head = `${target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n`;
    return [
      readOfEndless(`${head}Content-Length: 9999999999\r\n\r\n`, bytes, status),
      readOfEndless(`${head}Transfer-Encoding: chunked\r\n\r\n10000\r\n`, `${bytes}\r\n10000\r\n`, status),
    ];
  });
  read.push(readOfEndless('HELLO\r\n', bytes, 400), readOfEndless('GET / HTTP/1.1\r\nX: ', bytes, 431));
  for (const count of await Promise.all(read)) assert.ok(count < 32 * 1024 * 1024, `${count} bytes were read`);
});

test('refusals of large bodies are delayed, so that callers in a loop cost little', async () => {
  await using server = await startApp((app) => {
    app.post('/', { config: { access: 'anyone' } }, async () => ({}));
  });
  using connection = await connect(server.url);
  const post = (body: string, framing = `Content-Length: ${body.length}`) =>
    `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${framing}\r\n\r\n${body}`;
  const brackets = '['.repeat(32 * kibibyte);
  for (const [request, status] of [
    [post(brackets), 400],
    [post(`${brackets}[`), 413],
    [post(`400\r\n${brackets.slice(0, kibibyte)}\r\n0\r\n\r\n`, 'Transfer-Encoding: chunked'), 400],
  ] as const) {
    const startedAt = performance.now();
    for (let n = 0; n < 5; n += 1) {
      connection.write(request);
      assert.equal((await connection.answer()).status, status);
    }
    // At least: a busy machine only makes it more. Timers may be a millisecond early.
    assert.ok(performance.now() - startedAt >= 5 * 19);
  }
  connection.write(post(`"${'x'.repeat(20 * kibibyte)}"`));
  assert.equal((await connection.answer()).status, 200);
});

test('a document is rendered once, however often it is requested', async () => {
  let reads = 0;
  const document = createDocument(async () => {
    reads += 1;
    return '{"a":1}';
  });
  const accepted = ['application/json', 'application/msgpack', undefined, 'application/x-msgpack', '*/*'];
  const forms = await Promise.all(accepted.map(document));
  assert.deepEqual(
    forms.map(({ type }) => type),
    [
      'application/json; charset=utf-8',
      'application/msgpack',
      'application/json; charset=utf-8',
      'application/x-msgpack',
      'application/json; charset=utf-8',
    ],
  );
  assert.deepEqual(forms[0]?.content.toString(), '{"a":1}');
  assert.deepEqual(new Uint8Array(forms[1]?.content ?? []), encode({ a: 1 }));
  assert.equal(new Set(forms.map(({ content }) => content)).size, 2, 'the same bytes again');
  assert.equal(reads, 1);
});
