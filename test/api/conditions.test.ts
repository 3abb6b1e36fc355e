// Safe edits: entity tags, If-Match, If-None-Match, and patches.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { startService, type TestService } from '../support/service.ts';

const merge = { 'content-type': 'application/merge-patch+json' };
const operations = { 'content-type': 'application/json-patch+json' };

suite('conditional requests', { concurrency: true }, () => {
  let service: TestService;
  before(async () => {
    service = await startService({ RUN: 'api' });
  });
  after(() => service[Symbol.asyncDispose]());

  test('every answer with a user has its version as ETag, which the event carries too', async () => {
    const created = await service.call('POST', '/users/', { name: 'Ann', surname: 'Lee', password: 'correct horse' });
    const path = `/users/${created.json.id}`;
    const answers = [
      created,
      await service.call('PUT', path, { name: 'Bea' }),
      await service.call('PATCH', path, { name: 'Cleo' }),
      await service.call('PATCH', path, JSON.stringify([{ op: 'add', path: '/locale', value: 'de' }]), operations),
    ];
    assert.deepEqual(
      answers.map(({ headers, json }) => [headers.get('etag'), json.version]),
      [1, 2, 3, 4].map((version) => [`"${version}"`, version]),
    );
    assert.equal((await service.call('GET', path)).headers.get('etag'), '"4"');
    const rows = await service.database.query<{ version: number }>(
      `select (data ->> 'version')::int as version from outbox where aggregate_id = $1 order by position`,
      [created.json.id],
    );
    assert.deepEqual(
      rows.map(({ version }) => version),
      [1, 2, 3, 4],
    );
  });

  test('If-Match lets a change through where the user has one of its tags, and is 412 where not, without a trace', async () => {
    const { id } = await service.createUser();
    const path = `/users/${id}`;
    await service.call('PUT', path, { name: 'Bea' });
    const stale = ['"1"', 'W/"2"', '"3"', '"1", "3"', '"x"', '""', '"02"', '"1",,"5"'];
    for (const tag of stale) {
      for (const [method, body] of [
        ['PUT', { name: 'Cleo' }],
        ['PUT', { password: 'another horse' }],
        ['PATCH', { name: 'Cleo' }],
        ['PATCH', { attributes: { a: 1 } }],
        ['DELETE', undefined],
      ] as const) {
        const answer = await service.call(method, path, body, { 'if-match': tag });
        assert.deepEqual([answer.status, answer.json.code], [412, 'version_mismatch'], `${method} with ${tag}`);
      }
    }
    assert.equal((await service.call('GET', path)).json.version, 2);
    let version = 2;
    for (const tag of ['"2"', '"1", "3"', '*', ' "5" ,W/"5"']) {
      const { status, json } = await service.call('PUT', path, { name: `Name ${version}` }, { 'if-match': tag });
      version += 1;
      assert.deepEqual([status, json.version], [200, version], tag);
    }
    for (const tag of ['5', '"5', 'W/5', '*, "6"', '"6" "5"', '"a\u00e4"x', ''])
      assert.equal((await service.call('PUT', path, { name: 'X' }, { 'if-match': tag })).status, 400, tag);
    assert.equal((await service.call('DELETE', path, undefined, { 'if-match': '"6"' })).status, 200);
    assert.equal((await service.call('PUT', path, { name: 'X' }, { 'if-match': '"6"' })).status, 404);
    assert.equal((await service.call('DELETE', path, undefined, { 'if-match': '*' })).status, 404);
  });

  test('of changes that all found the same version, one comes through', async () => {
    const { id } = await service.createUser();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        service.call(n % 2 === 0 ? 'PUT' : 'PATCH', `/users/${id}`, { name: `N${n}` }, { 'if-match': '"1"' }),
      ),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array<number>(19).fill(412)]);
  });

  test('If-None-Match on GET is 304 without a body where the user has the tag, weak ones too', async () => {
    const { id } = await service.createUser();
    for (const [tag, status] of [
      ['"1"', 304],
      ['W/"1"', 304],
      ['"9", "1"', 304],
      ['*', 304],
      ['"2"', 200],
      ['"x"', 200],
      ['1', 400],
    ] as const) {
      const answer = await service.call('GET', `/users/${id}`, undefined, { 'if-none-match': tag });
      assert.equal(answer.status, status, tag);
      if (status !== 400) assert.equal(answer.headers.get('etag'), '"1"');
      if (status === 304) assert.equal(answer.text, '');
    }
    assert.equal((await service.call('GET', '/users/999999', undefined, { 'if-none-match': '*' })).status, 404);
  });

  test('REQUIRE_IF_MATCH=true refuses a change without If-Match', async () => {
    await using strict = await startService({ RUN: 'api', REQUIRE_IF_MATCH: 'true' });
    const { id } = await strict.createUser();
    for (const [method, body] of [
      ['PUT', {}],
      ['PATCH', {}],
      ['DELETE', undefined],
    ] as const) {
      const answer = await strict.call(method, `/users/${id}`, body);
      assert.deepEqual([answer.status, answer.json.code], [428, 'if_match_required'], method);
    }
    assert.equal((await strict.call('PUT', `/users/${id}`, {}, { 'if-match': '*' })).status, 200);
  });

  test('`fields` narrows reads and lists to what it names', async () => {
    const { id } = await service.createUser();
    const one = await service.call('GET', `/users/${id}?fields=name,version`);
    assert.deepEqual(Object.keys(one.json), ['id', 'name', 'version']);
    for (const query of ['?fields=email', '?fields=email&limit=2', '?fields=id,email&page=1']) {
      const { json } = await service.call('GET', `/users/${query}`);
      for (const user of json.users) assert.deepEqual(Object.keys(user), ['id', 'email']);
    }
    const [, next] = /<(.*)>/.exec((await service.call('GET', '/users/?fields=email&limit=1')).headers.get('link') ?? '') ?? [];
    assert.match(next ?? '', /fields=email/);
    for (const text of ['', 'password', 'nope', 'name,', 'name,,email', 'Name', 'name email'])
      assert.equal((await service.call('GET', `/users/${id}?fields=${encodeURIComponent(text)}`)).status, 400, text);
  });
});

suite('PATCH /users/{id}', { concurrency: true }, () => {
  let service: TestService;
  before(async () => {
    service = await startService({ RUN: 'api' });
  });
  after(() => service[Symbol.asyncDispose]());

  const person = { name: 'Ann', surname: 'Lee', password: 'correct horse', locale: 'de', attributes: { a: { b: 1 }, list: [1, 2] } };
  async function create(): Promise<string> {
    return `/users/${(await service.call('POST', '/users/', person)).json.id}`;
  }
  const patch = (path: string, body: unknown, headers: Record<string, string> = merge) =>
    service.call('PATCH', path, JSON.stringify(body), headers);

  test('merges: null takes away, members of attributes are merged, the rest stays', async () => {
    const path = await create();
    const merged = await patch(path, { name: 'Bea', locale: null, attributes: { a: { c: 2 }, list: null } });
    assert.equal(merged.status, 200);
    const { name, surname, locale, attributes } = merged.json;
    assert.deepEqual([name, surname, locale, attributes], ['Bea', 'Lee', null, { a: { b: 1, c: 2 } }]);
    assert.deepEqual((await patch(path, { attributes: null, status: null })).json.attributes, {});
    assert.equal((await patch(path, {})).json.version, 3, 'what changes nothing writes nothing');
    const packed = await service.call('PATCH', path, encode({ locale: 'fr' }), { 'content-type': 'application/msgpack' });
    assert.equal(packed.json.locale, 'fr');
  });

  test('runs operations one after the other, all of them or none', async () => {
    const path = await create();
    const done = await patch(
      path,
      [
        { op: 'test', path: '/version', value: 1 },
        { op: 'replace', path: '/name', value: '  Zoe\u0308 ' },
        { op: 'move', from: '/attributes/a/b', path: '/attributes/n' },
        { op: 'add', path: '/attributes/list/-', value: 3 },
        { op: 'remove', path: '/locale' },
      ],
      operations,
    );
    assert.equal(done.status, 200);
    assert.deepEqual([done.json.name, done.json.locale, done.json.attributes], ['Zoë', null, { a: {}, n: 1, list: [1, 2, 3] }]);
    const failed = await patch(
      path,
      [
        { op: 'replace', path: '/name', value: 'X' },
        { op: 'test', path: '/surname', value: 'Y' },
      ],
      operations,
    );
    assert.deepEqual([failed.status, failed.json.code], [409, 'patch_conflict']);
    assert.ok(!failed.text.includes('Lee'), 'no value is told');
    assert.deepEqual((await service.call('GET', path)).json, done.json);
  });

  test('a password may be set, and is never read', async () => {
    const path = await create();
    assert.equal((await patch(path, [{ op: 'add', path: '/password', value: 'battery staple' }], operations)).json.version, 2);
    assert.equal((await patch(path, { password: 'battery staple' })).json.version, 2, 'the same password is no change');
    assert.equal((await patch(path, [{ op: 'test', path: '/password', value: 'battery staple' }], operations)).status, 409);
    assert.equal((await patch(path, { password: null })).status, 400);
  });

  test('refuses what makes no user, naming each rule', async () => {
    const path = await create();
    const cases: readonly (readonly [body: unknown, keys: readonly string[], headers?: Record<string, string>])[] = [
      [{ name: null }, ['name']],
      [{ name: '', email: 'x', status: 'gone' }, ['email', 'name', 'status']],
      [{ version: 7 }, ['version']],
      [{ nope: 1, attributes: { x: 1 } }, ['nope']],
      [[], ['']],
      ['x', ['']],
      [{ attributes: [1] }, ['attributes']],
      [[{ op: 'replace', path: '/id', value: 9 }], ['id'], operations],
      [[{ op: 'remove', path: '/created_at' }], ['created_at'], operations],
      [[{ op: 'replace', path: '', value: 5 }], [''], operations],
      [[{ op: 'remove', path: '' }], [''], operations],
      [[{ op: 'remove', path: '/surname' }], ['surname'], operations],
      [[{ op: 'add', path: '/attributes/big', value: 'x'.repeat(16_400) }], ['attributes'], operations],
    ];
    for (const [body, keys, headers] of cases) {
      const answer = await patch(path, body, headers);
      assert.deepEqual([answer.status, answer.json.code], [400, 'validation_failed'], answer.text);
      const told = new Set(answer.json.extra.map(({ key }: { key: string }) => key));
      assert.deepEqual([...told].sort(), keys, JSON.stringify(body));
    }
    for (const body of [
      {},
      [1],
      [{ op: 'add' }],
      [{ op: 'add', path: 'name', value: 1 }],
      [{ op: 'add', path: '/attributes/__proto__/x', value: 1 }],
    ])
      assert.equal((await patch(path, body, operations)).json.code, 'malformed_body', JSON.stringify(body));
    assert.equal((await service.call('GET', path)).json.version, 1);
  });

  test('other types are 415 and told by Accept-Patch; a patch is none for POST and PUT', async () => {
    const path = await create();
    for (const type of ['text/plain', 'application/xml', 'application/json-patch']) {
      const { status, headers } = await service.call('PATCH', path, '{}', { 'content-type': type });
      assert.equal(status, 415);
      for (const one of ['application/merge-patch+json', 'application/json-patch+json'])
        assert.ok(headers.get('accept-patch')?.includes(one));
    }
    assert.ok((await service.call('OPTIONS', path)).headers.get('accept-patch')?.includes('application/merge-patch+json'));
    for (const headers of [merge, operations]) {
      assert.equal((await service.call('PUT', path, '{}', headers)).status, 415);
      assert.equal((await service.call('POST', '/users/', JSON.stringify(person), headers)).status, 415);
    }
  });

  test('a hundred at once to the same attributes all take effect', async () => {
    const path = await create();
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        n % 2 === 0
          ? patch(path, { attributes: { [`n${n}`]: n } })
          : patch(path, [{ op: 'add', path: `/attributes/n${n}`, value: n }], operations),
      ),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    const { json } = await service.call('GET', path);
    assert.equal(json.version, 101);
    for (let n = 0; n < 100; n += 1) assert.equal(json.attributes[`n${n}`], n);
  });
});
