// MessagePack in and out: the same as JSON, and as strict.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { decode, ExtensionCodec, encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { unpack } from '../../src/platform/http/msgpack.ts';
import { Problem } from '../../src/platform/problem.ts';
import { startService, type TestService } from '../support/service.ts';

const types = ['application/msgpack', 'application/x-msgpack', 'application/vnd.msgpack'];
const valid = { name: 'Zoë', surname: 'Doe 👋', password: 'correct horse' };

suite('MessagePack', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  async function ask(method: string, path: string, headers: Record<string, string>, body?: Uint8Array<ArrayBuffer>) {
    const response = await fetch(`${service.url}${path}`, { method, headers, ...(body && { body }) });
    return { status: response.status, headers: response.headers, bytes: new Uint8Array(await response.arrayBuffer()) };
  }

  const post = (body: Uint8Array<ArrayBuffer>, type = 'application/msgpack') =>
    service.call('POST', '/users/', body, { 'content-type': type });

  test('a body is read under each of the three media types, with parameters and in any case too', async () => {
    for (const type of [...types, 'Application/MsgPack', 'application/msgpack; x=y']) {
      const { status, json } = await post(encode(valid), type);
      assert.deepEqual([status, json.name, json.surname], [201, valid.name, valid.surname], type);
      const put = await service.call('PUT', `/users/${json.id}`, encode({ name: 'Ann', password: null }), { 'content-type': type });
      assert.deepEqual([put.status, put.json.name, put.json.surname], [200, 'Ann', valid.surname]);
    }
  });

  test('every answer has the same content in MessagePack and in JSON', async () => {
    const { id } = await service.createUser(valid);
    for (const path of ['/users/', `/users/${id}`, '/health', '/ready', '/schema/asyncapi.json'])
      for (const type of types) {
        const { status, headers, bytes } = await ask('GET', path, { accept: type });
        assert.deepEqual([status, headers.get('content-type'), headers.get('vary')], [200, type, 'accept']);
        assert.equal(headers.get('content-length'), String(bytes.length));
        assert.deepEqual(decode(bytes), (await service.call('GET', path)).json, path);
      }
    const accept = { accept: 'application/msgpack', 'content-type': 'application/msgpack' };
    const created = await ask('POST', '/users/', accept, encode(valid));
    const user = decode(created.bytes) as { id: number; created_at: string };
    assert.deepEqual([created.status, created.headers.get('location')], [201, `/users/${user.id}`]);
    assert.match(user.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, 'timestamps are text');
    assert.deepEqual(decode((await ask('PUT', `/users/${user.id}`, accept, encode({}))).bytes), user);
    assert.deepEqual(decode((await ask('DELETE', `/users/${user.id}`, accept)).bytes), {
      message: `User with id ${user.id} has been deleted`,
    });
  });

  test('a problem is always JSON', async () => {
    const { headers, bytes } = await ask('GET', '/users/999', { accept: 'application/msgpack' });
    assert.match(headers.get('content-type') ?? '', /^application\/problem\+json/);
    assert.equal(JSON.parse(Buffer.from(bytes).toString()).code, 'user_not_found');
  });

  test('the type of an answer is the one with the highest q, JSON where several have it', async () => {
    const [msgpack, xMsgpack, vndMsgpack] = types;
    const json = 'application/json; charset=utf-8';
    const cases: [accept: string, type: string | undefined][] = [
      ['*/*', json],
      ['application/*', json],
      ['application/json', json],
      ['application/msgpack', msgpack],
      ['APPLICATION/X-MSGPACK', xMsgpack],
      ['application/msgpack, application/json', json],
      ['application/msgpack;q=0.5, application/json;q=0.5', json],
      ['application/msgpack;q=0.9, application/json;q=0.8', msgpack],
      ['application/msgpack;q=0.8, application/json;q=0.9', json],
      ['application/msgpack ; q=0.9 , application/json ; q=0.8', msgpack],
      ['application/vnd.msgpack;Q=0.7, application/msgpack;q=0.6, application/json;q=0.5', vndMsgpack],
      ['application/vnd.msgpack, application/x-msgpack', xMsgpack],
      ['application/msgpack, */*', msgpack],
      ['application/msgpack, application/json;q=0.9, */*;q=0.1', msgpack],
      ['application/msgpack;q=0', json],
      ['application/msgpack;q=0, */*', json],
      ['application/json;q=0, */*', msgpack],
      ['application/json;q=0, application/msgpack;q=0, application/*', xMsgpack],
      ['application/json;q=0.1, */*;q=0.5', msgpack],
      ['*/*;q=0, application/msgpack;q=0.1', msgpack],
      ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', json],
      ['application/json, text/plain, */*', json],
      ['text/html', json],
      ['application/json;q=0', json],
      ['application/msgpack;q=2, application/json;q=0.1', json],
      ['application/msgpack;q=x', json],
      ['application/msgpack;q=-1', json],
      ['msgpack', json],
      ['application/msgpackx', json],
      ['', json],
      [', ,', json],
    ];
    for (const [accept, type] of cases) {
      const { status, headers } = await ask('GET', '/health', { accept });
      assert.deepEqual([status, headers.get('content-type')], [200, type], accept);
    }
  });

  test('an Accept of 15 KB is answered like any other', { timeout: 10_000 }, async () => {
    const absurd = ['*/*,', 'application/msgpack;q=0.1,', ',', ';', 'a/b;c=d;', '"', 'q=;', ' '];
    for (const part of absurd) {
      const accept = `${part.repeat(15_000 / part.length)}x, application/msgpack;q=1`;
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask('GET', '/health', { accept })));
      for (const { status } of answers) assert.equal(status, 200, part);
    }
  });

  test('values that JSON cannot express are refused, and so are truncated bodies', async () => {
    const field = (value: number[]) => Uint8Array.from([0x81, 0xa4, ...Buffer.from('name'), ...value]);
    const text = (value: string) => [0xa0 + value.length, ...Buffer.from(value)];
    const extension = new ExtensionCodec();
    extension.register({ type: 5, encode: (value) => (value instanceof Set ? new Uint8Array(3) : null), decode: () => null });
    const bodies: [what: string, body: Uint8Array, reason: RegExp][] = [
      ['a timestamp extension', encode({ ...valid, name: new Date() }), /extension types/],
      ['an extension of its own', encode({ ...valid, name: new Set() }, { extensionCodec: extension }), /extension types/],
      ['a large extension', field([0xc9, 0, 0, 0, 1, 5, 0]), /extension types/],
      ['binary data for text', encode({ ...valid, name: Buffer.from('John') }), /binary data/],
      ['the byte that means nothing', field([0xc1]), /binary data/],
      ['NaN', field([0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]), /not finite/],
      ['Infinity', field([0xca, 0x7f, 0x80, 0, 0]), /not finite/],
      ['a number beyond 2^53', field([0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0]), /beyond/],
      ['a number below -2^53', field([0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]), /beyond/],
      ['a key that is a number', Uint8Array.from([0x81, 0x01, 0xc0]), /key that is not text/],
      ['a key that is nothing', Uint8Array.from([0x81, 0xc0, 0xc0]), /key that is not text/],
      ['a key that is a list', Uint8Array.from([0x81, 0x90, 0xc0]), /key that is not text/],
      ['__proto__', Uint8Array.from([0x81, ...text('__proto__'), 0x80]), /key __proto__/],
      ['constructor', Uint8Array.from([0x81, ...text('constructor'), 0x80]), /key constructor/],
      ['__proto__ inside', field([0x81, ...text('__proto__'), 0x80]), /key __proto__/],
      ['text that is not UTF-8', field([0xa2, 0xff, 0xfe]), /not UTF-8/],
      ['a surrogate in UTF-8', field([0xa3, 0xed, 0xa0, 0x80]), /not UTF-8/],
      ['an overlong NUL', field([0xa2, 0xc0, 0x80]), /not UTF-8/],
      ['a long text that is not UTF-8', field([0xd9, 0xff, ...Array(255).fill(0x80)]), /not UTF-8/],
      ['a key that is not UTF-8', Uint8Array.from([0x81, 0xa1, 0xff, 0xc0]), /not UTF-8/],
      ['more after the end', Uint8Array.from([...encode(valid), 0xc0]), /after its end/],
      ['two bodies', Uint8Array.from([...encode(valid), ...encode(valid)]), /after its end/],
      ['a list of 4 billion', Uint8Array.from([0xdd, 0xff, 0xff, 0xff, 0xff]), /cut off/],
      ['a map of 4 billion', Uint8Array.from([0xdf, 0xff, 0xff, 0xff, 0xff]), /cut off/],
      ['a text of 4 billion', Uint8Array.from([0xdb, 0xff, 0xff, 0xff, 0xff]), /cut off/],
      ['thousands of announcements of a million', Buffer.concat(Array(6000).fill(Buffer.from([0xdd, 0, 0x0f, 0, 0]))), /nested/],
      ['thousands of brackets', new Uint8Array(32_000).fill(0x91), /nested/],
      ['thousands of maps as keys', new Uint8Array(32_000).fill(0x81), /nested/],
    ];
    for (const [what, body, reason] of bodies) {
      const { status, json } = await post(new Uint8Array(body));
      assert.deepEqual([status, json.code], [400, 'malformed_body'], what);
      assert.match(json.detail, reason, what);
    }
    const whole = encode(valid);
    for (let length = 1; length < whole.length; length += 1) {
      const { status, json } = await post(whole.slice(0, length));
      assert.deepEqual([status, json.detail], [400, 'The body is not valid MessagePack: it is cut off.'], `${length} bytes`);
    }
  });

  test('the rules of the fields are those of JSON', async () => {
    for (const body of [
      { ...valid, name: 123 },
      { ...valid, name: null },
      { ...valid, more: 1 },
      { name: 'a\0b' },
      [],
      null,
      'John',
      7,
      true,
    ]) {
      const [packed, plain] = [
        await post(encode(body)),
        await service.call('POST', '/users/', JSON.stringify(body), { 'content-type': 'application/json' }),
      ];
      assert.equal(packed.status, 400);
      assert.deepEqual([packed.json.code, packed.json.extra], [plain.json.code, plain.json.extra]);
    }
  });
});

suite('the reader of MessagePack', () => {
  const bounds = { depthMax: 32, membersMax: 100_000 };
  const isTaken = (value: unknown): boolean => !/"(__proto__|constructor)":/.test(JSON.stringify(value));

  test('reads every JSON value as it was packed', () => {
    const number = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger());
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 5 }, fc.string({ unit: 'grapheme' }), number, fc.boolean(), fc.constant(null), tie('list'), tie('map')),
      list: fc.array(tie('value'), { maxLength: 20 }),
      map: fc.dictionary(fc.string(), tie('value'), { maxKeys: 20, noNullPrototype: true }),
    }));
    fc.assert(
      fc.property(value.filter(isTaken), (packed) => {
        const bytes = Buffer.from(encode(packed));
        assert.deepEqual(JSON.stringify(unpack(bytes, bounds)), JSON.stringify(packed));
      }),
      { numRuns: 500 },
    );
  });

  test('reads each of its formats at both ends', () => {
    const values = [0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -32, -33, -128, -129, -32_768, -32_769];
    for (const value of [...values, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53) + 1, 0.5, -0.1])
      assert.equal(unpack(Buffer.from(encode(value)), bounds), value);
    assert.equal(unpack(Buffer.from(encode(0.5, { forceFloat32: true })), bounds), 0.5);
    for (const length of [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536]) {
      const list = Array.from({ length }, (_, n) => n);
      assert.deepEqual(unpack(Buffer.from(encode(list)), bounds), list);
      assert.equal(unpack(Buffer.from(encode('é'.repeat(length))), bounds), 'é'.repeat(length));
      const map = Object.fromEntries(list.map((n) => [`k${n}`, n]));
      assert.deepEqual(unpack(Buffer.from(encode(map)), bounds), map);
    }
  });

  test('reads any bytes as the reference does, or refuses them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 24 }), (bytes) => {
        let value: unknown;
        try {
          value = unpack(Buffer.from(bytes), bounds);
        } catch (error) {
          assert.ok(error instanceof Problem && error.code === 'malformed_body', String(error));
          return;
        }
        assert.deepEqual(value, decode(bytes));
      }),
      { numRuns: 20_000 },
    );
  });
});
