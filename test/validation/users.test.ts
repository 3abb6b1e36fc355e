// The rules of names and passwords: what is stored, and how each broken rule is told.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { verifySync } from '@node-rs/argon2';
import fc from 'fast-check';
import { startService, type TestService } from '../support/service.ts';

const valid = { name: 'John', surname: 'Doe', password: 'correct horse' };
const unseen =
  'must hold visible text, and no control, bidirectional, annotation or tag characters, line separators, noncharacters or lone surrogates';

suite('the rules of users', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  const post = (fields: object) => service.call('POST', '/users/', { ...valid, ...fields });

  /** Posts and puts the fields. @returns what was said of them, the same both times */
  async function refused(fields: object): Promise<{ key: string; message: string; source: string }[]> {
    const { id } = await service.createUser();
    const answers = await Promise.all([post(fields), service.call('PUT', `/users/${id}`, fields)]);
    for (const [n, method] of ['POST /users/', `PUT /users/${id}`].entries()) {
      assert.deepEqual([answers[n]?.status, answers[n]?.json.code], [400, 'validation_failed'], JSON.stringify(fields).slice(0, 200));
      assert.equal(answers[n]?.json.detail, `Validation failed for ${method}`);
    }
    assert.equal((await service.call('GET', `/users/${id}`)).json.name, 'John', 'nothing was changed');
    assert.deepEqual(answers[1]?.json.extra, answers[0]?.json.extra);
    return answers[0]?.json.extra;
  }

  async function hashOf(id: number): Promise<string> {
    const [row] = await service.database.query<{ password: string }>('select password from "user" where id = $1', [id]);
    return row?.password ?? '';
  }

  test('names are stored in NFC and trimmed', async () => {
    for (const [typed, stored] of [
      ['e\u0301', '\u00e9'],
      ['\u1112\u1161\u11ab', '\ud55c'],
      [' \t\u00a0\ufeff\u2003Ann Lee\n', 'Ann Lee'],
      ['O’Brien-Smith, Jr.', 'O’Brien-Smith, Jr.'],
      ['नि\u200dता', 'नि\u200dता'],
      ['👩\u200d👩\u200d👧', '👩\u200d👩\u200d👧'],
      ['\u212b', '\u00c5'],
      ['Robert\'); drop table "user";--', 'Robert\'); drop table "user";--'],
    ] as const) {
      const { status, json } = await post({ name: typed, surname: typed });
      assert.deepEqual([status, json.name, json.surname], [201, stored, stored]);
      const { id } = await service.createUser();
      const put = await service.call('PUT', `/users/${id}`, { name: typed, surname: typed });
      assert.deepEqual([put.status, put.json.name, put.json.surname], [200, stored, stored]);
    }
  });

  test('names have 1 to 255 code points, counted after NFC and trimming', async () => {
    for (const name of [
      'x',
      'x'.repeat(255),
      '😀'.repeat(255),
      'e\u0301'.repeat(255),
      `${' '.repeat(5000)}${'x'.repeat(255)}\n`,
      '\u1f82'.normalize('NFD').repeat(255),
      '\u{16d63}\u{16d67}\u{16d67}'.repeat(255),
    ])
      assert.equal((await post({ name })).status, 201, `${[...name].length} code points`);
    for (const name of ['x'.repeat(256), '😀'.repeat(256), 'e\u0301'.repeat(256), '\u0344'.repeat(128)])
      assert.deepEqual(await refused({ name }), [{ key: 'name', message: 'must have at most 255 code points', source: 'body' }]);
    for (const name of ['', ' ', '\t\u2003\ufeff'])
      assert.deepEqual(await refused({ name }), [
        { key: 'name', message: 'must have at least one code point', source: 'body' },
        { key: 'name', message: unseen, source: 'body' },
      ]);
  });

  test('any name in NFC without controls is returned as it was sent', async () => {
    const forbidden = /[\p{Cc}\p{Cs}\p{NChar}\p{Cf}\u2028\u2029]/u;
    const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((text) => {
      const stored = text.normalize('NFC').trim();
      return stored === text && !forbidden.test(text) && /[\p{L}\p{N}]/u.test(text.replace(/\p{DI}/gu, ''));
    });
    await fc.assert(
      fc.asyncProperty(name, async (text) => {
        const { status, json } = await post({ name: text });
        assert.deepEqual([status, json.name], [201, text]);
      }),
      { numRuns: 100 },
    );
  });

  test('names keep joiners and other invisible characters that belong to a script', async () => {
    for (const name of [
      'می\u200cخواهم',
      'ශ්\u200dරී',
      '👩🏽\u200d❤\ufe0f\u200d💋\u200d👨🏿',
      'ʻOkina',
      'Kahoʻolawe',
      'Zo\u0308e\u0300\u0301',
      'ᠮᠣᠩᠭᠣᠯ\u180eᠠ',
      'Ann\u00adLee',
      'សុ\u200bខ',
      '👋🏴󠁧󠁢󠁳󠁣󠁴󠁿',
      '🏴',
      '한\u3164글',
      'ي\u034fا',
      '葛\u{e0100}',
      'é',
      '-',
      '\u{10ffe5}',
    ]) {
      const { status, json } = await post({ name });
      assert.deepEqual([status, json.name], [201, name.normalize('NFC')], escape(name));
    }
  });

  test('invisible names are refused', async () => {
    for (const name of [
      '\u200b',
      '\u3164',
      '\u2800',
      '\u115f',
      '\u1160',
      '\uffa0',
      '\u180e',
      '\u00ad',
      '\u200c\u200d',
      '\u2060',
      '\u034f',
      '\ufe0f',
      '\u{e0100}',
      '\u2061\u2062\u2063\u2064',
      '\u17b4\u17b5',
      '\u{1d159}',
      '\u{1d173}',
      '\u{13441}\u{13442}',
      '\u{1bca0}',
      '\ufffc',
      '\u2800 \u3164\u200b \ufe0f',
    ])
      assert.deepEqual(await refused({ surname: name }), [{ key: 'surname', message: unseen, source: 'body' }], escape(name));
  });

  test('names have no control characters, lone surrogates, noncharacters, separators, format controls or tags outside flags', async () => {
    const characters = [
      '\0',
      '\u0001',
      '\n',
      '\u007f',
      '\u0085',
      '\u009f',
      '\ud800',
      '\udfff',
      '\u061c',
      '\u200e',
      '\u202e',
      '\u2066',
      '\u2069',
      '\u2028',
      '\u2029',
      '\u206a',
      '\u206f',
      '\ufff9',
      '\ufffa',
      '\ufffb',
      '\ufdd0',
      '\ufdef',
      '\ufffe',
      '\uffff',
      '\u{1fffe}',
      '\u{10ffff}',
      '\u{e0001}',
      '\u{e0041}',
      '🏴\u{e0067}\u{e0062}\u{e0073}',
      '\u{e0067}\u{e0062}\u{e0073}\u{e007f}',
    ];
    for (const character of characters)
      assert.deepEqual(
        await refused({ surname: `a${character}b` }),
        [{ key: 'surname', message: unseen, source: 'body' }],
        escape(character),
      );
  });

  test('an escaped lone surrogate is refused in passwords too', async () => {
    for (const [key, message] of [
      ['name', unseen],
      ['password', 'must not hold lone surrogates'],
    ] as const) {
      const text = JSON.stringify({ ...valid, [key]: 'correct horse X' }).replace('X', '\\uD800');
      const { status, json } = await service.call('POST', '/users/', text, { 'content-type': 'application/json' });
      assert.deepEqual([status, json.extra], [400, [{ key, message, source: 'body' }]]);
    }
  });

  test('passwords have 8 to 128 code points of any kind, including outer spaces', async () => {
    for (const password of [
      '12345678',
      '😀'.repeat(8),
      '😀'.repeat(128),
      '        ',
      ' pass\0word ',
      '\u202epassword',
      'p\n\t\u0007assword',
    ]) {
      const { status, json } = await post({ password });
      assert.equal(status, 201, escape(password));
      assert.ok(verifySync(await hashOf(json.id), password), 'hashed as it was sent');
    }
    for (const password of ['', '1234567', '😀'.repeat(7), 'e\u0301'.repeat(7)])
      assert.deepEqual(await refused({ password }), [{ key: 'password', message: 'must have at least 8 code points', source: 'body' }]);
    for (const password of ['x'.repeat(129), '😀'.repeat(129), ' '.repeat(200)])
      assert.deepEqual(await refused({ password }), [{ key: 'password', message: 'must have at most 128 code points', source: 'body' }]);
  });

  test('a password is normalised, so accents may be typed in any form', async () => {
    const { json } = await post({ password: 'cafe\u0301 cre\u0300me' });
    assert.ok(verifySync(await hashOf(json.id), 'caf\u00e9 cr\u00e8me'));
    const put = await service.call('PUT', `/users/${json.id}`, { password: 'caf\u00e9 cr\u00e8me' });
    assert.equal(put.json.updated_at, json.updated_at, 'and so it is no change');
  });

  test('values are never coerced: each of another type is refused by its key', async () => {
    for (const value of [123, true, 1.5, [], ['John'], {}, { toString: 'John' }]) {
      const { status, json } = await post({ name: value, surname: value, password: value });
      assert.equal(status, 400);
      assert.deepEqual(
        json.extra,
        ['name', 'surname', 'password'].map((key) => ({ key, message: 'must be of type string', source: 'body' })),
      );
    }
    const { id } = await service.createUser();
    const put = await service.call('PUT', `/users/${id}`, { name: 123 });
    assert.deepEqual([put.status, put.json.extra[0].message], [400, 'must be of type string or null']);
  });

  test('null is refused by POST and ignored by PUT', async () => {
    const { status, json } = await post({ name: null });
    assert.deepEqual([status, json.extra], [400, [{ key: 'name', message: 'must be of type string', source: 'body' }]]);
    const user = await service.createUser();
    assert.deepEqual((await service.call('PUT', `/users/${user.id}`, { name: null, surname: null, password: null })).json, user);
  });

  test('a body that is not an object is refused', async () => {
    for (const body of ['null', '[]', '"John"', '1', 'true', JSON.stringify([valid])]) {
      const { status, json } = await service.call('POST', '/users/', body, { 'content-type': 'application/json' });
      assert.deepEqual([status, json.extra], [400, [{ key: '', message: 'must be of type object', source: 'body' }]], body);
    }
  });

  test('missing fields are named', async () => {
    const { json } = await service.call('POST', '/users/', {});
    assert.deepEqual(
      json.extra,
      ['name', 'surname', 'password'].map((key) => ({ key, message: 'is required', source: 'body' })),
    );
  });

  test('an unknown field is refused, whatever its name', async () => {
    for (const key of ['id', 'created_at', 'Name', '', 'constructor', 'toString', 'hasOwnProperty', 'x'.repeat(100), 'é', '$ref'])
      assert.deepEqual(await refused({ [key]: 'x' }), [{ key, message: 'is not allowed', source: 'body' }]);
    assert.equal((await refused({ ['x'.repeat(5000)]: 1 }))[0]?.key.length, 100, 'a long name is cut in the answer');
  });

  test('every violation is reported at once', async () => {
    const { json } = await service.call('POST', '/users/', { surname: 5, password: 'short', one: 1, two: 2 });
    assert.deepEqual(json.extra.map(({ key, message }: { key: string; message: string }) => `${key} ${message}`).sort(), [
      'name is required',
      'one is not allowed',
      'password must have at least 8 code points',
      'surname must be of type string',
      'two is not allowed',
    ]);
  });

  test('no body changes a prototype', async () => {
    const bodies = [
      '{"__proto__":{"polluted":1}}',
      '{"constructor":{"prototype":{"polluted":1}}}',
      '{"name":{"__proto__":{"polluted":1}}}',
    ];
    for (const body of bodies)
      assert.equal((await service.call('POST', '/users/', body, { 'content-type': 'application/json' })).status, 400);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });

  // Bounds of work, not of time: without them the longest of these, of 1 MiB, took 163 s; the runner waits 10 s for all.
  test('the largest body costs little, whatever its content', { timeout: 10_000 }, async () => {
    const bytesMax = 32 * 1024;
    const unknown = JSON.stringify(Object.fromEntries(Array.from({ length: 900 }, (_, n) => [n.toString(36), 1])));
    const bodies = {
      'many unknown keys': unknown,
      'brackets in brackets': '['.repeat(bytesMax / 2) + ']'.repeat(bytesMax / 2),
      'brackets in a field': `{"name":${'['.repeat(16_000)}${']'.repeat(16_000)}}`,
      'combining marks out of order': JSON.stringify({
        ...valid,
        name: `a${'\u0315\u0316'.repeat(4000)}`,
        password: '\u0315\u0316'.repeat(3900),
      }),
      spaces: JSON.stringify({ ...valid, name: ' '.repeat(32_000) }),
      'one long name': JSON.stringify({ ...valid, name: 'x'.repeat(32_000) }),
      'a number of many digits': `{"name":${'1'.repeat(32_000)}}`,
      'one key again and again': `{${'"name":1,'.repeat(900)}"name":1}`,
      '__proto__ inside': `{"name":${'{"a":'.repeat(20)}{"__proto__":1}${'}'.repeat(21)}}`,
    };
    for (const [what, body] of Object.entries(bodies)) {
      const { status } = await service.call('POST', '/users/', body, { 'content-type': 'application/json' });
      assert.equal(status, 400, what);
    }
    const { json } = await service.call('POST', '/users/', unknown, { 'content-type': 'application/json' });
    assert.deepEqual(json.extra, [{ key: '', message: 'must not have more than 100 fields', source: 'body' }]);
  });
});

test('PASSWORD_LENGTH_MIN raises the bound in the rule and in the OpenAPI document', async () => {
  await using service = await startService({ PASSWORD_LENGTH_MIN: '12' });
  const { status, json } = await service.call('POST', '/users/', { ...valid, password: 'eleven char' });
  assert.deepEqual([status, json.extra[0].message], [400, 'must have at least 12 code points']);
  assert.equal((await service.call('POST', '/users/', { ...valid, password: 'twelve chars' })).status, 201);
  const { components } = (await service.call('GET', '/schema/openapi.json')).json;
  assert.equal(components.schemas.NewUser.properties.password.minLength, 12);
  assert.equal(components.schemas.UserChange.properties.password.minLength, 12);
});
