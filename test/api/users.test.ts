// The five operations on users, as a client sees them.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

const members = [
  ...['id', 'name', 'surname', 'email', 'username', 'external_id', 'status', 'attributes', 'locale', 'time_zone', 'email_verified_at'],
  ...['version', 'created_at', 'updated_at', 'last_login_at'],
];

suite('users over HTTP', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  test('POST /users/ answers 201 with the user and its Location, and shows no password', async () => {
    const { status, headers, json } = await service.call('POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse' });
    assert.equal(status, 201);
    assert.deepEqual(Object.keys(json), members);
    assert.equal(headers.get('location'), `/users/${json.id}`);
    assert.match(json.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.equal(json.updated_at, json.created_at);
    assert.deepEqual((await service.call('GET', `/users/${json.id}`)).json, json);
  });

  test('POST /users/ stores the password as an argon2id hash', async () => {
    const { id } = await service.createUser({ password: 'correct horse' });
    const [row] = await service.database.query<{ password: string }>('select password from "user" where id = $1', [id]);
    assert.match(row?.password ?? '', /^\$argon2id\$v=19\$m=\d+,t=\d+,p=1\$/);
    assert.ok(!service.text().includes('correct horse'), 'no log line holds the password');
  });

  test('a path answers the same with and without a slash at its end', async () => {
    const { id } = await service.createUser();
    for (const path of ['/users', '/users/']) assert.equal((await service.call('GET', path)).status, 200);
    for (const path of [`/users/${id}`, `/users/${id}/`]) assert.equal((await service.call('GET', path)).json.id, id);
  });

  test('GET /users/{id} of an unknown user is a 404 that names the id', async () => {
    const { status, json } = await service.call('GET', '/users/999999');
    assert.equal(status, 404);
    assert.equal(json.detail, 'User with id 999999 not found');
    assert.equal(json.status_code, 404);
  });

  test('a malformed id is a 404, never another user', async () => {
    const { id } = await service.createUser();
    for (const path of [
      'abc',
      '-1',
      '0',
      '1e3',
      `0${id}`,
      `%20${id}`,
      `${id}.0`,
      '9007199254740993',
      '9007199254740992',
      '9'.repeat(40),
      `+${id}`,
    ]) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const { status, json } = await service.call(method, `/users/${path}`, method === 'PUT' ? {} : undefined);
        assert.equal(status, 404, `${method} /users/${path}`);
        assert.equal(json.status, 404);
      }
    }
    assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
  });

  test('PUT changes what it names and keeps what is left out or null', async () => {
    const before = await service.createUser({ name: 'Ann', surname: 'Lee' });
    const { status, json } = await service.call('PUT', `/users/${before.id}`, { surname: 'Roe', name: null });
    assert.equal(status, 200);
    assert.deepEqual([json.name, json.surname, json.created_at], ['Ann', 'Roe', before['created_at']]);
    assert.ok(json.updated_at > (before['updated_at'] ?? ''));
  });

  test('PUT that changes nothing keeps the timestamp and writes no event, also with the same password', async () => {
    const before = await service.createUser({ password: 'correct horse' });
    for (const change of [{}, { name: null }, { name: ' John ' }, { name: 'John', surname: 'Doe', password: 'correct horse' }]) {
      const { status, json } = await service.call('PUT', `/users/${before.id}`, change);
      assert.deepEqual([status, json], [200, before]);
    }
    const [row] = await service.database.query<{ version: string }>('select version from "user" where id = $1', [before.id]);
    assert.equal(row?.version, '1');
  });

  test('PUT of a password changes only the hash and updated_at', async () => {
    const { id, updated_at: updatedAt } = await service.createUser({ password: 'correct horse' });
    const hashOf = async () =>
      (await service.database.query<{ password: string }>('select password from "user" where id = $1', [id]))[0]?.password;
    const old = await hashOf();
    const { json } = await service.call('PUT', `/users/${id}`, { password: 'battery staple' });
    assert.notEqual(await hashOf(), old);
    assert.deepEqual(Object.keys(json), members);
    assert.ok(json.updated_at > (updatedAt ?? ''));
  });

  test('PUT of an unknown user is a 404', async () => {
    assert.equal((await service.call('PUT', '/users/999999', { name: 'X' })).status, 404);
    assert.equal((await service.call('PUT', '/users/999999', { password: 'correct horse' })).status, 404);
  });

  test('DELETE answers with a message, and the user is gone', async () => {
    const { id } = await service.createUser();
    const { status, json } = await service.call('DELETE', `/users/${id}`);
    assert.deepEqual([status, json], [200, { message: `User with id ${id} has been deleted` }]);
    for (const method of ['GET', 'DELETE', 'PUT'])
      assert.equal((await service.call(method, `/users/${id}`, method === 'PUT' ? {} : undefined)).status, 404);
  });

  test('a hundred concurrent changes of one user reach version 101, each with its own event', async () => {
    const { id } = await service.createUser();
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => service.call('PUT', `/users/${id}`, { name: `Name ${n}` })));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    const [row] = await service.database.query<{ version: string; name: string }>('select version, name from "user" where id = $1', [id]);
    assert.equal(row?.version, '101');
    const instants = new Set(answers.map(({ json }) => json.updated_at));
    assert.equal(instants.size, 100, 'updated_at grows with each version');
    const last = answers.map(({ json }) => json).sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1))[0];
    assert.equal(last.name, row?.name);
  });
});

suite('the list of users', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
    await service.database.query(
      `insert into "user" (name, surname, password) select 'Name ' || n, 'Surname', 'x' from generate_series(1, 25) as n`,
    );
  });
  after(() => service[Symbol.asyncDispose]());

  test('is ordered by id, ten to a page by default', async () => {
    const { status, json } = await service.call('GET', '/users/');
    assert.equal(status, 200);
    assert.deepEqual([json.total, json.page, json.per_page], [25, 1, 10]);
    assert.deepEqual(
      json.users.map(({ id }: { id: number }) => id),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    );
    assert.deepEqual(Object.keys(json.users[0]), members);
  });

  test('ends with a short page, then empty pages', async () => {
    const third = (await service.call('GET', '/users/?page=3&per_page=10')).json;
    assert.deepEqual([third.users.length, third.total], [5, 25]);
    const far = (await service.call('GET', '/users/?page=9007199254740991&per_page=100')).json;
    assert.deepEqual([far.users, far.total], [[], 25]);
  });

  test('pages cover every user once', async () => {
    const pages = await Promise.all([1, 2, 3, 4].map((page) => service.call('GET', `/users/?page=${page}&per_page=7`)));
    assert.deepEqual(
      pages.flatMap(({ json }) => json.users.map(({ id }: { id: number }) => id)),
      Array.from({ length: 25 }, (_, n) => n + 1),
    );
  });
});
