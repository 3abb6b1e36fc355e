// Behind a PgBouncer in transaction mode, which keeps what a client says at its start from the server.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { startPool } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import type { Publisher } from '../../src/platform/events/broker.ts';
import { runOnce, startRelay } from '../../src/platform/events/relay.ts';
import { captureLog } from '../support/log.ts';
import { startPgbouncer } from '../support/pgbouncer.ts';
import { startPostgres } from '../support/postgres.ts';
import { createPublisher } from '../support/publisher.ts';
import { startService } from '../support/service.ts';

suite('behind PgBouncer in transaction mode', { concurrency: true }, async () => {
  const server = await startPostgres(15);
  const bouncer = await startPgbouncer(server);
  after(async () => {
    await bouncer[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const databaseNamed = async (name: string) => {
    await server.query(`create database ${name}`);
    return bouncer.url.replace(/postgres$/, name);
  };
  const settings = (url: string) => ({ url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 1500 });

  test('the time limits hold in every transaction', async () => {
    await using pool = startPool(settings(bouncer.url), 1);
    const names = ['statement_timeout', 'idle_in_transaction_session_timeout'];
    const shown = await pool.inTransaction((tx) =>
      tx.query('select name, setting from pg_settings where name = any($1) order by name', [names]),
    );
    assert.deepEqual(shown, [
      { name: 'idle_in_transaction_session_timeout', setting: '15000' },
      { name: 'statement_timeout', setting: '1500' },
    ]);
    const after = await pool.query('select setting from pg_settings where name = any($1)', [names]);
    assert.deepEqual(after, [{ setting: '0' }, { setting: '0' }], 'and are gone for the next client of that connection');
  });

  test('a relay that freezes while it holds the lock loses it, and another goes on', async () => {
    const url = await databaseNamed('frozen');
    await migrate(settings(url));
    // Its own limits are not the subject.
    const patient = { ...settings(url), statementTimeoutMs: 60_000 };
    await using pool = startPool(patient, 2);
    await using frozenPool = startPool(patient, 2);
    await pool.query(
      `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
       select gen_random_uuid(), 'user.updated', n::text, now(), 'trace', '', '{}' from generate_series(1, 10) as n`,
    );
    const metrics = createMetrics({ name: 'test', version: '0' }).events;
    const { log } = captureLog();
    const parts = { violationOf: () => undefined, onLogged: () => {}, metrics, log };
    const holds = Promise.withResolvers<void>();
    const woken = Promise.withResolvers<'routed'>();
    const frozen: Publisher = {
      ready: true,
      publish() {
        holds.resolve();
        return woken.promise;
      },
      async [Symbol.asyncDispose]() {},
    };
    const stuck = assert.rejects(runOnce({ ...parts, pool: frozenPool, publisher: frozen }), { name: 'DatabaseUnavailableError' });
    await Promise.race([holds.promise, stuck]);
    const taken = Promise.withResolvers<void>();
    const publisher = createPublisher(() => {
      if (publisher.sent.length === 10) taken.resolve();
      return 'routed';
    });
    assert.equal((await runOnce({ ...parts, pool, publisher })).taken, 0, 'the lock is held');
    await using _relay = startRelay({ ...parts, pool, publisher });
    await taken.promise;
    woken.resolve('routed');
    await stuck;
  });

  test('a default isolation above read committed works', async () => {
    const url = await databaseNamed('serializable');
    await server.query(`alter database serializable set default_transaction_isolation = 'serializable'`);
    const limits = { DATABASE_STATEMENT_TIMEOUT_MS: '30000', DATABASE_CONNECT_TIMEOUT_MS: '30000' };
    await using service = await startService({ DATABASE_URL: url, ...limits });
    const { id } = await service.createUser();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => service.call('PUT', `/users/${id}`, { name: `Ann ${n}` })));
    assert.deepEqual(
      answers.map(({ status }) => status),
      answers.map(() => 200),
    );
    await service.backlog(0);
  });

  test('without prepared statements, no request fails; one line says what to set', async () => {
    const limits = { DATABASE_STATEMENT_TIMEOUT_MS: '30000', DATABASE_CONNECT_TIMEOUT_MS: '30000', RATE_LIMIT_PER_MINUTE: '0' };
    await using service = await startService({ DATABASE_URL: await databaseNamed('unprepared'), ...limits });
    const users = await Promise.all(Array.from({ length: 10 }, () => service.createUser()));
    for (let round = 0; round < 10; round += 1) {
      const answers = await Promise.all(
        users.flatMap(({ id }) => [
          service.call('GET', `/users/${id}`),
          service.call('GET', `/users/?page=${round + 1}&per_page=1`),
          service.call('PUT', `/users/${id}`, { name: `Name ${round}` }),
        ]),
      );
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    }
    for (const { id } of users) {
      await service.call('DELETE', `/users/${id}`);
      await service.line(({ event }) => event === `Received event user.deleted with user_id=${id}`);
    }
    const told = service.lines.filter(({ event }) => /max_prepared_statements/.test(String(event)));
    assert.equal(told.length, 1);
    const wrong = service.lines.filter(({ level, event }) => level === 'error' || /interrupted/.test(String(event)));
    assert.deepEqual(wrong, []);
  });

  test('a service starts, migrates, answers and publishes its events', async () => {
    await using service = await startService({ DATABASE_URL: await databaseNamed('served') });
    const { id } = await service.createUser();
    assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    await service.backlog(0);
  });
});
