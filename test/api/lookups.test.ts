// Users by their identifiers: one by its path, many by a body; and no path shows in a log or an answer whom it names.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

const base = { name: 'Ann', surname: 'Lee', password: 'correct horse' };

suite('users by their identifiers', { concurrency: true }, () => {
  let service: TestService;
  let ids: number[] = [];
  before(async () => {
    service = await startService({ RUN: 'api' });
    const people = [
      { email: 'Strauß+x@Müller.example', username: 'Strauß', external_id: 'aB/1 ü' },
      { email: 'bob@example.com', username: 'bob', external_id: 'ab/1 ü' },
      {},
    ];
    ids = [];
    for (const one of people) ids.push((await service.call('POST', '/users/', { ...base, ...one })).json.id);
  });
  after(() => service[Symbol.asyncDispose]());

  test('one is found in whatever spelling, and by an external id as it stands', async () => {
    for (const [path, place] of [
      ['by-email/Strau%C3%9F+x@M%C3%BCller.example', 0],
      ['by-email/STRAUSS%2Bx@xn--mller-kva.EXAMPLE', 0],
      ['by-email/bob@example.com/', 1],
      ['by-username/strauss', 0],
      ['by-username/BOB', 1],
      ['by-external-id/aB%2F1%20%C3%BC', 0],
      ['by-external-id/ab%2F1%20u%CC%88', 1],
    ] as const) {
      const answer = await service.call('GET', `/users/${path}`);
      assert.deepEqual([answer.status, answer.json.id, answer.headers.get('etag')], [200, ids[place], '"1"'], path);
      assert.deepEqual(answer.json, (await service.call('GET', `/users/${ids[place]}`)).json);
    }
    assert.deepEqual(Object.keys((await service.call('GET', '/users/by-email/bob@example.com?fields=name')).json), ['id', 'name']);
    assert.equal((await service.call('GET', '/users/by-email/bob@example.com', undefined, { 'if-none-match': '"1"' })).status, 304);
    const head = await service.call('HEAD', '/users/by-username/bob');
    assert.deepEqual([head.status, head.text], [200, '']);
  });

  test('nobody is a 404, also under what is no identifier at all', async () => {
    for (const path of [
      'by-email/nobody@example.com',
      'by-email/x',
      'by-email/%00',
      'by-username/%20',
      'by-username/nobody',
      'by-external-id/AB%2F1%20%C3%BC',
    ]) {
      const answer = await service.call('GET', `/users/${path}`);
      assert.deepEqual([answer.status, answer.json.code], [404, 'user_not_found'], path);
    }
    assert.equal((await service.call('GET', `/users/by-email/${'x'.repeat(501)}`)).status, 404);
  });

  test('many are found by one request, each once, in order of id', async () => {
    const look = (body: object, query = '') => service.call('POST', `/users/lookup${query}`, body);
    const idsOf = ({ json }: { json: { users: { id: number }[] } }) => json.users.map(({ id }) => id);
    assert.deepEqual(idsOf(await look({ ids: [ids[2], ids[0], 9999], emails: ['STRAUSS+x@müller.example', 'x'] })), [ids[0], ids[2]]);
    assert.deepEqual(idsOf(await look({ usernames: ['Bob', 'bob', 'nobody'], external_ids: [' aB/1 ü '] })), [ids[0], ids[1]]);
    assert.deepEqual(idsOf(await look({ ids: [ids[1]], emails: ['\u0000', '\ud800'], external_ids: ['\u0000'] })), [ids[1]]);
    assert.deepEqual((await look({ emails: ['bob@example.com'] }, '?fields=username')).json, { users: [{ id: ids[1], username: 'bob' }] });
    const thousand = Array.from({ length: 1000 }, (_, n) => `${'x'.repeat(200)}${n}@example.com`);
    assert.deepEqual(idsOf(await look({ emails: thousand })), []);
    assert.deepEqual(idsOf(await look({ ids: [] })), []);
    for (const body of [
      {},
      { emails: [...thousand, 'a'] },
      { ids: [1], emails: thousand },
      { ids: ['1'] },
      { ids: [0] },
      { email: ['a'] },
      { emails: [''] },
    ]) {
      const { status, json } = await look(body);
      assert.deepEqual([status, json.code], [400, 'validation_failed'], JSON.stringify(body).slice(0, 80));
    }
  });

  test('no log line and no problem shows whom a path names, wherever it leads', async () => {
    const secret = 'very.secret';
    for (const [method, path] of [
      ['GET', `/users/by-email/${secret}@example.com`],
      ['GET', `/users/by-email/${secret}@example.com/more?x=1`],
      ['GET', `/users/by-username/${secret}?nope=1`],
      ['POST', `/users/by-username/${secret}`],
      ['GET', `//users//by-external-id/${secret}`],
      ['GET', `/users/%62y-email/${secret}`],
      ['GET', `/Users/By-Email/${secret}`],
      ['GET', `/users/by-email/${secret}%zz`],
      ['OPTIONS', `/users/by-email/${secret}`],
    ] as const) {
      const { text, status } = await service.call(method, path);
      assert.ok(status !== 500 && !text.includes(secret), `${method} ${path}: ${text}`);
    }
    await service.line(({ path, status }) => path === '/users/by-email/{email}' && status === 204, 'the last answer');
    assert.ok(!service.text().includes(secret));
    assert.equal((await service.call('GET', '/users/by-email/nobody@example.com')).json.instance, '/users/by-email/{email}');
  });
});
