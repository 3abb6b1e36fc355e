// Pages of users from a cursor on.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { formatKeyCursor } from '../../src/platform/http/cursor.ts';
import { startService, type TestService } from '../support/service.ts';

suite('GET /users/ by cursor', { concurrency: true }, () => {
  let service: TestService;
  before(async () => {
    service = await startService({ RUN: 'api' });
    await service.database.query(`insert into "user" (name, surname, password) select 'A', 'B', 'x' from generate_series(1, 25)`);
  });
  after(() => service[Symbol.asyncDispose]());

  test('reads every user once, in order of id, over `next` and `Link` alike, and the last page has neither', async () => {
    const ids: number[] = [];
    for (let path: string | undefined = '/users/?limit=10'; path !== undefined; ) {
      const { status, json, headers } = await service.call('GET', path);
      assert.equal(status, 200);
      assert.deepEqual(Object.keys(json), json.next === undefined ? ['users'] : ['users', 'next']);
      ids.push(...json.users.map(({ id }: { id: number }) => id));
      const link = headers.get('link');
      assert.equal(link, json.next === undefined ? null : `</users/?limit=10&after=${json.next}>; rel="next"`);
      path = link === null ? undefined : /^<(.+)>; rel="next"$/.exec(link)?.[1];
    }
    assert.deepEqual(
      ids,
      Array.from({ length: 25 }, (_, n) => n + 1),
    );
  });

  test('a page that ends with the last user has no next', async () => {
    const { json } = await service.call('GET', '/users/?limit=25');
    assert.equal(json.users.length, 25);
    assert.equal(json.next, undefined);
  });

  test('has total only with count=true, on an empty page too', async () => {
    const { json } = await service.call('GET', '/users/?count=true&limit=2');
    assert.deepEqual([json.total, json.users.length], [25, 2]);
    const { json: behind } = await service.call('GET', `/users/?count=true&after=${formatKeyCursor('users', '25')}`);
    assert.deepEqual(behind, { users: [], total: 25 });
    assert.equal((await service.call('GET', '/users/?count=false')).json.total, undefined);
  });

  test('limit is 100 where it is left out, and 1 to 1000', async () => {
    assert.equal((await service.call('GET', '/users/?count=true')).json.users.length, 25);
    for (const limit of ['0', '1001', '-1', 'x', ''])
      assert.equal((await service.call('GET', `/users/?limit=${limit}`)).status, 400, limit);
    assert.equal((await service.call('GET', '/users/?limit=1000')).status, 200);
  });

  test('a cursor that this service has not made for users is a 400 that says so', async () => {
    const { json: events } = await service.call('GET', '/events/?limit=1');
    const own = formatKeyCursor('users', '10');
    const alien = [
      events.next,
      formatKeyCursor('events', '10'),
      formatKeyCursor('users', ''),
      formatKeyCursor('users', '-1'),
      formatKeyCursor('users', '01'),
      formatKeyCursor('users', "1' or true"),
      formatKeyCursor('users', '99999999999999999999'),
      '10',
      'MTA',
      own.slice(0, -1),
      `${own}A`,
    ];
    for (const cursor of alien) {
      const { status, json } = await service.call('GET', `/users/?after=${encodeURIComponent(cursor)}`);
      assert.deepEqual([status, json.extra], [400, [{ key: 'after', message: 'is no cursor of this service', source: 'query' }]], cursor);
    }
  });

  test('a cursor of which anything was changed is a 400', async () => {
    const own = formatKeyCursor('users', '10');
    const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'];
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: own.length - 1 }), fc.constantFrom(...letters), async (at, letter) => {
        fc.pre(own[at] !== letter);
        const { status } = await service.call('GET', `/users/?after=${own.slice(0, at)}${letter}${own.slice(at + 1)}`);
        assert.equal(status, 400);
      }),
    );
  });

  test('cannot be mixed with page numbers; each parameter is named', async () => {
    const { status, json } = await service.call('GET', '/users/?page=1&per_page=5&limit=3');
    assert.deepEqual(
      [status, json.extra],
      [400, ['page', 'per_page'].map((key) => ({ key, message: 'is not allowed with limit', source: 'query' }))],
    );
  });

  test('neither repeats a user nor skips one that existed throughout, under concurrent changes', async () => {
    await using other = await startService({ RUN: 'api' });
    await other.database.query(`insert into "user" (name, surname, password) select 'A', 'B', 'x' from generate_series(1, 400)`);
    const seen: number[] = [];
    for (let next: string | undefined, turn = 0; turn === 0 || next !== undefined; turn += 1) {
      const { json } = await other.call('GET', `/users/?limit=7${next === undefined ? '' : `&after=${next}`}`);
      seen.push(...json.users.map(({ id }: { id: number }) => id));
      next = json.next;
      if (turn < 40) await other.database.query(`insert into "user" (name, surname, password) values ('New', 'B', 'x')`);
      await other.database.query(`delete from "user" where id <= 400 and id % 5 = 0 and id % 41 = $1::int % 41`, [turn]);
    }
    assert.equal(new Set(seen).size, seen.length);
    const stayed = Array.from({ length: 400 }, (_, n) => n + 1).filter((id) => id % 5 !== 0);
    assert.deepEqual(
      stayed.filter((id) => !seen.includes(id)),
      [],
    );
  });
});
