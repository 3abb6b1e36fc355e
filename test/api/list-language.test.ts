// Lists of users in any order and by any filter: what each answers, and what is refused with what would do.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createDatabase } from '../support/database.ts';
import { startService, type TestService } from '../support/service.ts';

suite('GET /users/ sorted and filtered', () => {
  let service: TestService;
  before(async () => {
    service = await startService({ RUN: 'api' });
    const people = [
      { name: 'Ann', surname: 'Zed', email: 'zed@example.com', username: 'zed' },
      { name: 'Anna', surname: 'Berg', email: 'berg@example.com', status: 'suspended' },
      { name: 'Hannah', surname: 'Ann', username: 'hann' },
      { name: 'Łukasz', surname: 'Öztürk', email: 'lukasz@example.com' },
      { name: 'Мария', surname: 'Иванова' },
      { name: '李', surname: '小龍', external_id: 'A-1' },
    ];
    for (const person of people)
      assert.equal((await service.call('POST', '/users/', { password: 'correct horse', ...person })).status, 201);
  });
  after(() => service[Symbol.asyncDispose]());

  const ids = async (query: string) => {
    const { status, json, text } = await service.call('GET', `/users/?${query}`);
    assert.equal(status, 200, `${query}: ${text}`);
    return json.users.map(({ id }: { id: number }) => id);
  };

  const orders: readonly (readonly [string, readonly number[]])[] = [
    ['sort=name', [1, 2, 3, 4, 5, 6]],
    ['sort=-name', [6, 5, 4, 3, 2, 1]],
    ['sort=surname', [3, 2, 4, 1, 5, 6]],
    ['sort=surname,name,id', [3, 2, 4, 1, 5, 6]],
    ['sort=-id', [6, 5, 4, 3, 2, 1]],
    ['sort=email', [2, 4, 1, 3, 5, 6]],
    ['sort=-email', [6, 5, 3, 1, 4, 2]],
    ['sort=username', [3, 1, 2, 4, 5, 6]],
    ['sort=created_at', [1, 2, 3, 4, 5, 6]],
    ['sort=-updated_at', [6, 5, 4, 3, 2, 1]],
    ['status=suspended', [2]],
    ['status=active&sort=-name', [6, 5, 4, 3, 1]],
    ['email=ZED@EXAMPLE.com', [1]],
    ['username=Hann', [3]],
    ['external_id=A-1', [6]],
    ['ids=3,1,99', [1, 3]],
    ['ids=3,1&email=zed@example.com', [1]],
    ['ids=3,2&status=suspended&sort=-surname', [2]],
    ['ids=1,2,3&q=ann', [1, 3, 2]],
    ['ids=1,2,3&q=ann&sort=-id', [3, 2, 1]],
    ['created_after=2020-01-01T00:00:00Z', [1, 2, 3, 4, 5, 6]],
    ['created_before=2020-01-01T00:00:00Z', []],
    ['updated_after=2020-01-01T00:00:00Z&sort=-updated_at&status=suspended', [2]],
    ['q=ann', [1, 3, 2]],
    ['q=AN', [1, 2, 3]],
    ['q=lukasz', [4]],
    ['q=ozturk', [4]],
    ['q=%C3%96zt%C3%9C', [4]],
    ['q=%D0%9C%D0%90%D0%A0%D0%98', [5]],
    ['q=%E6%9D%8E', [6]],
    ['q=%E6%9D%8E%20%E5%B0%8F', [6]],
    ['q=example.com', [1, 2, 4]],
    ['q=example.com&sort=-id', [4, 2, 1]],
    ['q=example.com&status=suspended', [2]],
    ['q=anna%20be', [2]],
    ['q=zzz', []],
    // Nothing of it is left to look for.
    ['q=%20', []],
    ['q=%0A%00', []],
    ['q=%0Aann%0A', [1, 3, 2]],
    ['q=%CC%81', []],
  ];
  for (const [query, expected] of orders)
    test(query, async () => {
      assert.deepEqual(await ids(query), expected);
      // The same in pages of two, by cursor and by number.
      const paged: number[] = [];
      for (let after: string | undefined = ''; after !== undefined; ) {
        const { json, text } = await service.call('GET', `/users/?${query}&limit=2${after === '' ? '' : `&after=${after}`}`);
        assert.ok(json.users !== undefined, text);
        paged.push(...json.users.map(({ id }: { id: number }) => id));
        after = json.next;
      }
      assert.deepEqual(paged, expected);
      const { json: second, text } = await service.call('GET', `/users/?${query}&per_page=2&page=2&count=true`);
      assert.ok(second.users !== undefined, text + JSON.stringify(service.lines.filter((line) => line.level === 'error')));
      assert.deepEqual(
        [second.users.map(({ id }: { id: number }) => id), second.total, second.page, second.per_page],
        [expected.slice(2, 4), expected.length, 2, 2],
      );
    });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['sort=name,email', 'sort', /must be one of id created_at .* name,surname surname,name/],
    ['sort=surname,-name', 'sort', /with - ahead of each, or of none/],
    ['sort=created_at,-id', 'sort', /with - ahead of each, or of none/],
    ['sort=name,name', 'sort', /each once/],
    ['created_after=2020-01-01T00:00:00Z&sort=name', 'sort', /must be created_at or -created_at with created_after/],
    ['updated_before=2020-01-01T00:00:00Z&sort=id', 'sort', /must be updated_at or -updated_at/],
    ['created_after=2020-01-01T00:00:00Z&updated_after=2020-01-01T00:00:00Z', 'updated_after', /does not go with created_after/],
    ['q=ann&sort=name', 'sort', /must be id or -id with q, or left out for the order of relevance/],
    ['q=ann&created_before=2020-01-01T00:00:00Z', 'q', /does not go with created_after or created_before/],
    ['attributes.department=Sales', 'attributes.department', /is not marked as indexed in USER_ATTRIBUTES_SCHEMA; none is/],
    ['sort=name&page=1001', 'page', /reaches row 10000 .*after/],
    ['status=active&page=101&per_page=100', 'page', /reaches row 10000/],
  ];
  for (const [query, key, message] of refused)
    test(`${query} is a 400 that says what would do`, async () => {
      const { status, json } = await service.call('GET', `/users/?${query}`);
      assert.deepEqual([status, json.code, json.extra[0].key, json.extra[0].source], [400, 'unsupported_query', key, 'query']);
      assert.match(json.extra[0].message, message);
    });

  test('pages by number reach row 10,000 with a sort or filter, and any row without', async () => {
    assert.equal((await service.call('GET', '/users/?status=active&page=100&per_page=100')).status, 200);
    assert.equal((await service.call('GET', '/users/?sort=id&page=101&per_page=100')).status, 200);
    assert.equal((await service.call('GET', '/users/?page=9007199254740991&per_page=100')).status, 200);
  });

  test('a value that breaks its rule is named', async () => {
    const parameters = [
      'sort=age',
      'sort=',
      'status=gone',
      'ids=0',
      'ids=1,',
      'ids=a',
      'created_after=yesterday',
      'q=',
      'ids=9007199254740992',
    ];
    for (const parameter of [...parameters, `q=${'x'.repeat(256)}`, `ids=${Array.from({ length: 101 }, (_, n) => n + 1).join(',')}`]) {
      const { status, json } = await service.call('GET', `/users/?${parameter}`);
      assert.deepEqual([status, json.code, json.extra[0].key], [400, 'validation_failed', parameter.split('=')[0]], parameter);
    }
  });

  test('a cursor of another order, or of another search, is a 400', async () => {
    const next = async (query: string) => (await service.call('GET', `/users/?${query}&limit=1`)).json.next as string;
    const [byName, byNameBack, bySurname, found] = [
      await next('sort=name'),
      await next('sort=-name'),
      await next('sort=surname'),
      await next('q=ann'),
    ];
    for (const [query, cursor] of [
      ['sort=name', byNameBack],
      ['sort=surname', byName],
      ['', bySurname],
      ['sort=created_at', byName],
      ['q=anna', found],
      ['q=ann&sort=id', found],
      ['', found],
    ] as const) {
      const { status, json } = await service.call('GET', `/users/?${query}&after=${cursor}`);
      assert.deepEqual([status, json.extra?.[0]?.message], [400, 'is no cursor of this service'], query);
    }
  });

  test('total is there when it is asked for, of all that fit', async () => {
    const total = async (query: string) => {
      const { json } = await service.call('GET', `/users/?${query}`);
      return [json.total, json.total_at_least];
    };
    assert.deepEqual(await total('status=active'), [undefined, undefined]);
    assert.deepEqual(await total('status=active&count=true&limit=1'), [5, undefined]);
    assert.deepEqual(await total('status=active&count=true&page=1&per_page=2'), [5, undefined]);
    assert.deepEqual(await total('sort=-name&page=1&per_page=2'), [6, undefined]);
    assert.deepEqual(await total('q=ann&count=true&limit=1'), [3, undefined]);
    assert.deepEqual(await total('q=an&count=true&limit=1&status=active'), [2, undefined]);
  });

  test('Link names the next page with everything that was asked', async () => {
    const { headers, json } = await service.call('GET', '/users/?per_page=2&page=1&sort=name&status=active&fields=name');
    assert.equal(headers.get('link'), `</users/?limit=2&sort=name&status=active&fields=name&after=${json.next}>; rel="next"`);
  });
});

suite('lists of many users', () => {
  test('a total with a filter is exact up to 10,000, and total_at_least above', async () => {
    await using service = await startService({ RUN: 'api' });
    const insert = (count: number) =>
      service.database.query(`insert into "user" (name, surname, password) select 'Anna', 'Doe', 'x' from generate_series(1, $1::int)`, [
        count,
      ]);
    const total = async (query: string) => {
      const { json } = await service.call('GET', `/users/?count=true&fields=id&${query}`);
      return [json.total, json.total_at_least];
    };
    const filters = [
      'status=active&limit=1',
      'status=active&page=1&per_page=1',
      'created_after=2020-01-01T00:00:00Z&limit=1',
      'q=nna&limit=1',
    ];
    await insert(10_000);
    for (const filter of filters) assert.deepEqual(await total(filter), [10_000, undefined], filter);
    await insert(1);
    for (const filter of filters) assert.deepEqual(await total(filter), [undefined, 10_000], filter);
    assert.deepEqual(await total('sort=-name&limit=1'), [10_001, undefined], 'no filter');
    const { json } = await service.call('GET', '/users/?sort=name&page=100&per_page=100');
    const { json: following } = await service.call('GET', `/users/?sort=name&limit=100&after=${json.next}`);
    assert.deepEqual(
      [json.users.length, following.users.length, following.next],
      [100, 1, undefined],
      'the cursor goes on where numbers end',
    );
  });
});

suite('lists of users by attributes', () => {
  test('filter by what USER_ATTRIBUTES_SCHEMA marks, whose indexes come and go with it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rollcall-attributes-'));
    const file = join(folder, 'attributes.json');
    const write = (properties: object) => writeFile(file, JSON.stringify({ type: 'object', properties }));
    const indexed = { 'x-indexed': true };
    await using database = await createDatabase();
    try {
      await write({
        team: { ...indexed, type: 'string' },
        address: { type: 'object', properties: { city: indexed } },
        level: { type: 'integer' },
      });
      const indexes = 'select from pg_indexes where indexname like $1';
      {
        await using service = await startService({ RUN: 'api', USER_ATTRIBUTES_SCHEMA: file }, { database });
        for (const attributes of [{ team: 'A', level: 1 }, { team: 'B', address: { city: 'Bern' } }, { team: 'A' }, {}])
          await service.call('POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse', attributes });
        await service.call('PUT', '/users/3', { status: 'suspended' });
        const ids = async (query: string) => (await service.call('GET', `/users/?${query}`)).json.users.map(({ id }: { id: number }) => id);
        assert.deepEqual(await ids('attributes.team=A'), [1, 3]);
        assert.deepEqual(await ids('attributes.team=A&sort=-id'), [3, 1]);
        assert.deepEqual(await ids('attributes.team=A&status=suspended'), [3]);
        assert.deepEqual(await ids('attributes.address.city=Bern&count=true'), [2]);
        assert.deepEqual(await ids('attributes.team=A&attributes.address.city=Bern&ids=1,2,3'), []);
        const refused = await service.call('GET', '/users/?attributes.level=1');
        assert.match(refused.json.extra[0].message, /these are: team, address\.city$/);
        assert.equal((await service.call('GET', '/users/?attributes.team=A&sort=name')).status, 400);
        assert.equal((await service.call('GET', '/users/?attributes.team=A&attributes.address.city=Bern')).status, 400);
        await database.until(`${indexes} offset 1`, ['user_attribute_%']);
      }
      await write({ team: indexed });
      await using service = await startService({ RUN: 'api', USER_ATTRIBUTES_SCHEMA: file }, { database });
      assert.equal((await service.call('GET', '/users/?attributes.team=A')).status, 200);
      await database.until(`select where not exists (${indexes} offset 1)`, ['user_attribute_%']);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
