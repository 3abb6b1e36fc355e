// /ready and /metrics while PostgreSQL or the connections to it are in trouble: what is away, what is only busy, and how soon it shows.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { createDatabaseCheck } from '../../src/features/health/database.ts';
import { type Db, startPool } from '../../src/platform/db/client.ts';
import { createDatabase } from '../support/database.ts';
import { startDatabaseNetwork } from '../support/database-network.ts';
import { startService } from '../support/service.ts';

const settings = (url: string) => ({ url, applicationName: 'test', connectTimeoutMs: 1000, statementTimeoutMs: 1000 });

function counted(db: Db): Db & { readonly statements: number } {
  let statements = 0;
  return {
    get statements() {
      return statements;
    },
    query(text, values) {
      statements += 1;
      return db.query(text, values);
    },
  };
}

suite('/ready', { concurrency: true }, () => {
  test('is 200 while the pool is exhausted and requests wait for it', async () => {
    await using service = await startService({ DATABASE_POOL_SIZE: '2', DATABASE_STATEMENT_TIMEOUT_MS: '60000' });
    const { id } = await service.createUser();
    const holder = await service.database.hold('lock table "user", event, outbox in access exclusive mode');
    const paths = [`/users/${id}`, '/users/', '/users/?page=2', '/users/?page=3', '/users/?page=4', `/events/`, '/events/?limit=3'];
    const blocked = paths.map((path) => service.call('GET', path));
    await service.database.waitingForLock();
    const [ready, metrics] = await Promise.all([service.call('GET', '/ready'), service.call('GET', '/metrics')]);
    assert.deepEqual([ready.status, ready.json.database], [200, 'ok']);
    assert.equal(metrics.status, 200);
    assert.match(metrics.text, /^rollcall_database_connections_idle 0$/m);
    await holder.release();
    await Promise.all(blocked);
  });

  test('is 503 within three seconds if PostgreSQL freezes, and 200 again when it thaws', async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await createDatabase());
    const proxy = stack.use(await startDatabaseNetwork(database.url));
    const service = stack.use(
      await startService(
        { DATABASE_URL: proxy.url, DATABASE_CONNECT_TIMEOUT_MS: '60000', DATABASE_STATEMENT_TIMEOUT_MS: '60000' },
        { database },
      ),
    );
    assert.equal((await service.call('GET', '/ready')).status, 200);
    proxy.hold('toServer', 'toClient');
    let answer = await service.call('GET', '/ready');
    // The first waits for an answer on the connection that froze, the second for a connection.
    for (let times = 0; times < 2; times += 1) {
      const askedAt = performance.now();
      do answer = await service.call('GET', '/ready');
      while (answer.status === 200);
      assert.ok(performance.now() - askedAt < 3000, `${performance.now() - askedAt} ms`);
      assert.deepEqual([answer.status, answer.json.status, answer.json.database], [503, 'not ready', 'unreachable']);
    }
    await proxy.heal();
    while (answer.status !== 200) answer = await service.call('GET', '/ready');
  });

  test('says "migrations missing" only after it reached the database', async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await createDatabase({ template: 'empty' }));
    const proxy = stack.use(await startDatabaseNetwork(database.url));
    const migrating = await database.hold('select pg_advisory_xact_lock(1919904876)');
    await proxy.refuse();
    const service = stack.use(await startService({ DATABASE_URL: proxy.url }, { database }));
    const away = await service.call('GET', '/ready');
    assert.deepEqual([away.status, away.json.database], [503, 'unreachable']);
    await proxy.heal();
    let answer = away;
    while (answer.json.database === 'unreachable') answer = await service.call('GET', '/ready');
    assert.deepEqual([answer.status, answer.json.status, answer.json.database], [503, 'not ready', 'migrations missing']);
    await migrating.release();
    while (answer.status !== 200) answer = await service.call('GET', '/ready');
    assert.equal(answer.json.database, 'ok');
  });
});

suite('the check of PostgreSQL', { concurrency: true }, () => {
  test('is one statement for a thousand concurrent calls, and so is the backlog for a thousand scrapes', async () => {
    await using database = await createDatabase();
    await using pool = startPool(settings(database.url), 1);
    const own = counted(pool);
    const check = createDatabaseCheck({ own, others: [], prepared: () => true });
    assert.deepEqual(new Set(await Promise.all(Array.from({ length: 1000 }, check))), new Set(['ok']));
    assert.equal(own.statements, 1);

    let measured = 0;
    const metrics = createMetrics({ name: 'test', version: '1' });
    metrics.watch({
      pool: { size: 0, idle: 0, waiting: 0 },
      passwords: { waiting: 0 },
      streams: { open: 0 },
      isBrokerConnected: () => true,
      async backlog() {
        measured += 1;
        await own.query('select 1');
        return { depth: 0, oldestSeconds: 0, deadRows: 0 };
      },
    });
    await Promise.all(Array.from({ length: 50 }, () => metrics.registry.metrics()));
    assert.equal(measured, 1);
  });

  test('uses an open connection if the server accepts no more, and fails if there is none', async () => {
    await using database = await createDatabase();
    const limit = (connections: number) =>
      database.query(`alter database ${new URL(database.url).pathname.slice(1)} connection limit ${connections}`);
    // One for the test itself, one for the requests.
    await limit(2);
    await using own = startPool(settings(database.url), 1);
    {
      await using requests = startPool(settings(database.url), 1);
      await requests.query('select 1');
      const check = createDatabaseCheck({ own, others: [requests], prepared: () => true });
      assert.equal(await check(), 'ok');
    }
    await limit(1);
    assert.equal(await createDatabaseCheck({ own, others: [own], prepared: () => true })(), 'unreachable');
  });
});
