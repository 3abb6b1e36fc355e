// What a query may say.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

suite('queries', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  async function refused(path: string, method = 'GET', body?: object): Promise<unknown> {
    const { status, json } = await service.call(method, path, body);
    assert.deepEqual([status, json.code], [400, 'validation_failed'], `${method} ${path}`);
    return json.extra;
  }

  test('page is a plain decimal from 1, per_page from 1 to 100', async () => {
    for (const [query, page, perPage] of [
      ['', 1, 10],
      ['?page=2', 2, 10],
      ['?per_page=1', 1, 1],
      ['?per_page=100&page=9007199254740991', 9007199254740991, 100],
      ['?page=%31', 1, 10],
      ['?', 1, 10],
      ['?&&page=3&', 3, 10],
    ] as const) {
      const { status, json } = await service.call('GET', `/users/${query}`);
      assert.deepEqual([status, json.page, json.per_page], [200, page, perPage], query);
    }
    for (const value of ['', '1.0', '1e1', '0x1', '+1', '-1', ' 1', '01', '1,2', 'one', 'NaN', 'Infinity', 'null', '9'.repeat(17), '１'])
      for (const name of ['page', 'per_page'])
        assert.deepEqual(await refused(`/users/?${name}=${value.replace('+', '%2B')}`), [
          { key: name, message: 'must be of type integer', source: 'query' },
        ]);
    assert.deepEqual(await refused('/users/?page=0&per_page=101'), [
      { key: 'page', message: 'must be >= 1', source: 'query' },
      { key: 'per_page', message: 'must be <= 100', source: 'query' },
    ]);
    assert.deepEqual(await refused('/users/?page=9007199254740992'), [
      { key: 'page', message: 'must be <= 9007199254740991', source: 'query' },
    ]);
  });

  test('a query that is no percent-encoding is refused', async () => {
    for (const query of ['page=%zz', 'email=%ff', 'q=100%', 'x=%C3%28', '%']) {
      const { status, json } = await service.call('GET', `/users/?${query}`);
      assert.deepEqual([status, json.code, json.detail], [400, 'malformed_request', 'The query is not valid percent-encoding.'], query);
    }
  });

  test('a repeated parameter is refused', async () => {
    for (const query of ['page=1&page=1', 'page=1&page=2', 'per_page=1&page=1&per_page=2'])
      assert.deepEqual(
        ((await refused(`/users/?${query}`)) as { message: string }[]).map(({ message }) => message),
        ['must be of type integer'],
      );
  });

  test('an unknown parameter is refused on every route, whatever its name', async () => {
    const { id } = await service.createUser();
    const routes = [
      ['GET', '/users/'],
      ['HEAD', '/users/'],
      ['POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse' }],
      ['GET', `/users/${id}`],
      ['PUT', `/users/${id}`, { name: 'Jane' }],
      ['DELETE', `/users/${id}`],
      ['GET', '/health'],
      ['GET', '/ready'],
      ['GET', '/metrics'],
    ] as const;
    for (const [method, path, body] of routes) {
      const { status, json } = await service.call(method, `${path}?verbose=1`, body);
      assert.equal(status, 400, `${method} ${path}`);
      if (method !== 'HEAD') assert.deepEqual(json.extra, [{ key: 'verbose', message: 'is not allowed', source: 'query' }]);
    }
    assert.equal((await service.call('GET', `/users/${id}`)).json.name, 'John', 'none of them was done');
    for (const name of ['__proto__', 'constructor', 'toString', 'Page', 'page[]', 'page%5B%5D', ''])
      assert.deepEqual(await refused(`/users/?${name}=1`), [{ key: decodeURIComponent(name), message: 'is not allowed', source: 'query' }]);
  });

  test('a query of a thousand parameters is refused with one line', async () => {
    const query = Array.from({ length: 1000 }, (_, n) => `p${n}=1`).join('&');
    assert.deepEqual(await refused(`/users/?${query}`), [{ key: '', message: 'must not have more than 100 fields', source: 'query' }]);
  });
});
