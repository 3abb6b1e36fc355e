// PostgreSQL away, slow or full: every request has an answer within three seconds, and the service mends itself.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { suite, test } from 'node:test';
import { startPool } from '../../src/platform/db/client.ts';
import { createDatabase } from '../support/database.ts';
import { startDatabaseNetwork } from '../support/database-network.ts';
import { type Answer, defaultLimits, startService, type TestService } from '../support/service.ts';

async function startBehindProxy(env: Record<string, string> = {}) {
  const stack = new AsyncDisposableStack();
  const database = stack.use(await createDatabase());
  const proxy = stack.use(await startDatabaseNetwork(database.url));
  return {
    stack,
    database,
    proxy,
    start: (more = {}) => startService({ ...defaultLimits, DATABASE_URL: proxy.url, ...env, ...more }, { database }),
  };
}

const requests: [method: string, path: string, body?: object][] = [
  ['GET', '/users/1'],
  ['GET', '/users/'],
  ['POST', '/users/', { name: 'A', surname: 'B', password: 'correct horse' }],
  ['PUT', '/users/1', { name: 'C' }],
  ['PUT', '/users/1', { password: 'battery staple' }],
  ['DELETE', '/users/1'],
];

async function callAll(service: TestService): Promise<Answer[]> {
  return Promise.all(requests.map(([method, path, body]) => service.call(method, path, body)));
}

function assertUnavailable(answers: readonly Answer[], startedAt: number): void {
  assert.ok(performance.now() - startedAt < 3000, 'within three seconds');
  for (const { status, headers, json, text } of answers) {
    assert.deepEqual([status, json.code, headers.get('retry-after')], [503, 'database_unavailable', '1']);
    assert.doesNotMatch(text, /select|insert|ECONN|\.ts/i);
  }
}

suite('PostgreSQL away', () => {
  test('cut off: 503 with Retry-After at once, and 200 again when it is back', async () => {
    const { stack, proxy, start } = await startBehindProxy();
    await using _ = stack;
    await using service = await start();
    await service.createUser();
    const { id } = await service.createUser();
    await proxy.refuse();
    const startedAt = performance.now();
    assertUnavailable(await callAll(service), startedAt);
    assert.equal((await service.call('GET', '/health')).status, 200);
    const { status, json } = await service.call('GET', '/ready');
    assert.deepEqual([status, json.status, json.database], [503, 'not ready', 'unreachable']);
    assert.equal((await service.call('GET', '/metrics')).status, 200);

    await proxy.heal();
    assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
    assert.equal((await service.call('PUT', `/users/${id}`, { name: 'Back' })).status, 200);
    assert.equal((await service.call('GET', '/ready')).status, 200);
  });

  test('frozen in the middle of connections: 503 within three seconds, and 200 again when it thaws', async () => {
    const { stack, proxy, start } = await startBehindProxy();
    await using _ = stack;
    await using service = await start();
    // What was sent into the ice may still arrive when it thaws: the user that is looked at later is another one.
    await service.createUser();
    const { id } = await service.createUser();
    proxy.hold('toServer', 'toClient');
    const startedAt = performance.now();
    assertUnavailable(await callAll(service), startedAt);
    await proxy.heal();
    assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
    assert.equal((await service.call('PUT', `/users/${id}`, { name: 'Back' })).status, 200);
  });

  test('away at the start: the service starts, says so, and is ready once it can reach it', async () => {
    const { stack, proxy, start } = await startBehindProxy();
    await using _ = stack;
    await proxy.refuse();
    await using service = await start();
    assert.ok(service.lines.some(({ event }) => event.startsWith('PostgreSQL cannot be reached')));
    assert.equal((await service.call('GET', '/users/1')).status, 503);
    assert.equal((await service.call('GET', '/ready')).json.database, 'unreachable');
    await proxy.heal();
    await service.line(({ event }) => event === 'PostgreSQL reached');
    assert.equal((await service.call('GET', '/ready')).status, 200);
    await service.createUser();
  });

  test('a pool that is used up is a 503, and reads by id go on', async () => {
    // The statement that waits for the row must still wait when the other one has given up its wait for a connection.
    await using service = await startService({
      DATABASE_POOL_SIZE: '1',
      DATABASE_CONNECT_TIMEOUT_MS: '1500',
      DATABASE_STATEMENT_TIMEOUT_MS: '60000',
    });
    const { id } = await service.createUser();
    const holder = await service.database.hold('select id from "user" where id = $1 for update', [id]);
    const blocked = service.call('PUT', `/users/${id}`, { name: 'Waits for the row' });
    // The only connection waits for the row's lock, so this one finds none.
    await service.database.waitingForLock();
    const { status, json } = await service.call('GET', '/users/');
    assert.deepEqual([status, json.code], [503, 'database_unavailable']);
    assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
    await holder.release();
    assert.equal((await blocked).status, 200);
  });

  test('a row that stays locked is a 503 within three seconds, and nothing was written', async () => {
    await using service = await startService(defaultLimits);
    const { id } = await service.createUser();
    const holder = await service.database.hold('select id from "user" where id = $1 for update', [id]);
    const startedAt = performance.now();
    assertUnavailable([await service.call('PUT', `/users/${id}`, { name: 'Never' })], startedAt);
    await holder.release();
    assert.equal((await service.call('GET', `/users/${id}`)).json.name, 'John');
  });

  test('backends that are ended fail at most what was under way, and the next request is answered', async () => {
    await using service = await startService();
    const { id } = await service.createUser();
    await service.database.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = current_user and pid <> pg_backend_pid()',
    );
    const answers = await callAll(service);
    for (const { status } of answers) assert.ok([200, 201, 404, 503].includes(status), String(status));
    assert.equal((await service.call('POST', '/users/', { name: 'A', surname: 'B', password: 'correct horse' })).status, 201);
    assert.ok([200, 404].includes((await service.call('GET', `/users/${id}`)).status));
  });
});

test('a server that ends a session in the moment of its beginning costs one statement, not the process', async () => {
  // What a server that stops may send at once: authentication ok, ready for queries, and the end (protocol 3.0, message formats).
  const message = (type: string, body: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length + 4);
    return Buffer.concat([Buffer.from(type), length, body]);
  };
  const end = 'SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0';
  const answer = Buffer.concat([message('R', Buffer.alloc(4)), message('Z', Buffer.from('I')), message('E', Buffer.from(end))]);
  await using server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `postgresql://rollcall@127.0.0.1:${port}/rollcall?sslmode=disable`;
  await using pool = startPool({ url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 }, 2);
  const refused = { name: 'DatabaseUnavailableError' };
  await assert.rejects(pool.query('select 1'), refused);
  await assert.rejects(
    pool.inTransaction((tx) => tx.query('select 1')),
    refused,
  );
});
