// Statements are planned once a connection, and what breaks prepared statements elsewhere never reaches a caller.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { type Db, startPool } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { queue } from '../../src/platform/events/contract/topology.ts';
import { runOnce } from '../../src/platform/events/relay.ts';
import { createClaims } from '../../src/platform/events/store/inbox.ts';
import { captureLog } from '../support/log.ts';
import { startPostgres, versions } from '../support/postgres.ts';
import { createPublisher } from '../support/publisher.ts';
import { startService, type TestService } from '../support/service.ts';

/** Of each kind of request. */
const requests = 200;
const atOnce = 8;
const connection = { applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 };
const settings = { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track_planning': 'on' };

async function ask(service: TestService): Promise<void> {
  const ids: number[] = [];
  const each = async (work: (n: number) => Promise<unknown>) => {
    let next = 0;
    const worker = async () => {
      while (next < requests) await work(next++);
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  };
  const expect = async (status: number, ...[method, path, body]: Parameters<TestService['call']>) =>
    assert.equal((await service.call(method, path, body)).status, status, `${method} ${path}`);
  await each(async () => ids.push((await service.createUser()).id));
  // One at a time: those that come at once share a statement.
  for (const id of ids) await expect(200, 'GET', `/users/${id}`);
  await each((n) => expect(200, 'GET', `/users/?page=${(n % 5) + 1}&per_page=10`));
  await each((n) => expect(200, 'PUT', `/users/${ids[n]}`, { name: `Name ${n}` }));
  await each((n) => expect(200, 'PUT', `/users/${ids[n % 20]}`, { password: `another word ${n}` }));
  await each((n) => expect(200, 'GET', `/events/?limit=${(n % 5) + 1}`));
  await each((n) => expect(200, 'GET', `/events/?user_id=${ids[n]}&types=user.updated`));
  await each((n) => expect(200, 'DELETE', `/users/${ids[n]}`));
}

for (const version of versions) {
  suite(`on PostgreSQL ${version}`, { concurrency: true }, async () => {
    const server = await startPostgres(version, { settings });
    after(() => server[Symbol.asyncDispose]());
    await server.query('create extension pg_stat_statements');
    const databaseNamed = async (name: string) => {
      await server.query(`create database ${name}`);
      return server.url.replace(/postgres$/, name);
    };

    async function assertPlannedOnce(database: string, expected: readonly string[]): Promise<void> {
      const statements = await server.query<{ query: string; plans: string; calls: string }>(
        `select query, plans, calls from pg_stat_statements join pg_database on pg_database.oid = dbid
         where datname = '${database}' and query ~* '^\\s*(select|with|insert|update|delete)' and calls >= ${requests / 2}`,
      );
      // The lock comes in the round trip of `begin`, and has nothing to plan.
      const planned = statements.filter(({ query }) => !/^select pg_try_advisory_xact_lock/.test(query));
      const often = planned.filter(({ plans, calls }) => Number(plans) * 10 >= Number(calls));
      assert.deepEqual(
        often.map(({ query, plans, calls }) => `${plans} plans for ${calls} calls: ${query}`),
        [],
      );
      for (const part of expected)
        assert.ok(
          statements.some(({ query }) => query.includes(part)),
          part,
        );
    }

    test('every statement of requests and of what follows them is planned for less than a tenth of its calls', async () => {
      const url = await databaseNamed('planned');
      await using service = await startService({ DATABASE_URL: url, DATABASE_POOL_SIZE: '2', RATE_LIMIT_PER_MINUTE: '0' });
      await ask(service);
      await service.line(({ event }) => event === `Received event user.deleted with user_id=${requests}`);
      await assertPlannedOnce('planned', [
        'where id = any',
        'update "user"',
        'insert into "user"',
        'delete from "user"',
        'left join lateral',
      ]);
    });

    test('and those of the relay and the consumer', async () => {
      const url = await databaseNamed('relayed');
      await migrate({ ...connection, url });
      await using pool = startPool({ ...connection, url }, 1);
      await using other = startPool({ ...connection, url }, 1);
      const publisher = createPublisher(() => 'routed');
      const metrics = createMetrics({ name: 'test', version: '0' }).events;
      const { log } = captureLog();
      const claim = createClaims(pool);
      const event = { event_type: 'user.updated', occurred_at: '2025-01-01T10:00:00.000000Z', trace_id: 'trace', data: {} };
      for (let n = 0; n < requests; n += 1) {
        await other.query(
          `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
           values (gen_random_uuid(), 'user.updated', '7', now(), 'trace', '', '{}')`,
        );
        await runOnce({ pool, publisher, violationOf: () => undefined, onLogged: () => {}, metrics, log });
        assert.ok(await claim({ subscription: queue, event: { ...event, event_id: crypto.randomUUID() }, subject: '7', version: n + 1 }));
      }
      assert.equal(publisher.sent.length, requests);
      await assertPlannedOnce('relayed', ['delete from outbox', 'from event', 'update event_state']);
    });

    test('a plan for few users does not outlive their growth', async () => {
      const url = await databaseNamed('grown');
      await using service = await startService({ DATABASE_URL: url, DATABASE_POOL_SIZE: '1', RATE_LIMIT_PER_MINUTE: '0' });
      await using pool = startPool({ ...connection, url }, 1);
      const { id } = await service.createUser();
      const other = await service.createUser();
      await pool.query('vacuum analyze "user"');
      const use = async (n: number) => {
        assert.equal((await service.call('GET', `/users/${id}`)).status, 200);
        assert.equal((await service.call('PUT', `/users/${id}`, { name: `Name ${n}` })).status, 200);
        assert.equal((await service.call('PUT', `/users/${id}`, { password: `another word ${n}` })).status, 200);
        assert.equal((await service.call('DELETE', '/users/999999')).status, 404);
      };
      for (let n = 0; n < 10; n += 1) await use(n);
      await pool.query(`insert into "user" (name, surname, password) select 'Ann', 'Lee', 'x' from generate_series(1, 20000)`);
      const scans = async () => {
        // What a session has counted shows when it is idle for a second, or is asked to.
        const [row] = await pool.query<{ rows: string }>(
          `select seq_tup_read as rows, pg_stat_clear_snapshot() from pg_stat_user_tables where relname = 'user'`,
        );
        return Number(row?.rows);
      };
      const before = await scans();
      for (let n = 10; n < 20; n += 1) await use(n);
      assert.equal((await service.call('DELETE', `/users/${other.id}`)).status, 200);
      const ended = await pool.query<{ pid: number }>(
        `select pid, pg_terminate_backend(pid) from pg_stat_activity where datname = 'grown' and pid <> pg_backend_pid()`,
      );
      const pids = ended.map(({ pid }) => pid);
      while ((await pool.query('select from pg_stat_activity where pid = any($1)', [pids])).length > 0);
      assert.ok((await scans()) - before < 20_000, 'the table was never read as a whole');
    });

    test('types that change under prepared statements fail no request and no transaction', async () => {
      const url = await databaseNamed('migrated');
      await using service = await startService({ DATABASE_URL: url, DATABASE_POOL_SIZE: '2', RATE_LIMIT_PER_MINUTE: '0' });
      await using pool = startPool({ ...connection, url }, 1);
      const { id } = await service.createUser();
      const use = async (n: number) => {
        const answers = await Promise.all([
          service.call('GET', `/users/${id}`),
          service.call('GET', '/users/'),
          service.call('GET', '/events/'),
          service.call('POST', '/users/', { name: 'Ann', surname: 'Lee', password: 'correct horse' }),
          service.call('PUT', `/users/${id}`, { name: `Name ${n}` }),
        ]);
        assert.deepEqual(
          answers.map(({ status }) => status),
          [200, 200, 200, 201, 200],
        );
        const [last] = await pool.query<{ event_id: string }>('select event_id from outbox union all select event_id from event limit 1');
        assert.ok(last);
      };
      for (let n = 0; n < 10; n += 1) await use(n);
      for (const type of ['varchar(500)', 'text']) {
        // As the migration of a newer version may do it, while this one serves.
        await pool.query(`alter table "user" alter column name type ${type}, alter column password type ${type}`);
        await pool.query(`alter table event alter column trace_id type ${type}, alter column event_type type ${type}`);
        await pool.query(`alter table inbox alter column trace_id type ${type}`);
        for (let n = 10; n < 20; n += 1) await use(n);
      }
      const deleted = await service.call('DELETE', `/users/${id}`);
      assert.equal(deleted.status, 200);
      await service.line(({ event }) => event === `Received event user.deleted with user_id=${id}`);
      const wrong = service.lines.filter(({ level, event }) => level === 'error' || /interrupted|plans each/.test(String(event)));
      assert.deepEqual(wrong, []);
    });

    test('a session that lost its prepared statements fails no request and no transaction', async () => {
      await using pool = startPool({ ...connection, url: server.url }, 1);
      const count = async (db: Db) => assert.deepEqual(await db.query('select $1::int + 1 as n', [1]), [{ n: 2 }]);
      const named = async () => Number((await pool.query<{ n: string }>('select count(*) as n from pg_prepared_statements'))[0]?.n);
      for (let n = 0; n < 3; n += 1) await count(pool);
      assert.ok((await named()) > 0, 'they are prepared');
      await pool.query('discard all');
      await count(pool);
      for (let n = 0; n < 3; n += 1) await count(pool);
      assert.ok((await named()) > 0, 'and are again');
      let runs = 0;
      await pool.inTransaction(async (tx) => {
        runs += 1;
        await count(tx);
        await tx.query('deallocate all');
        await count(tx);
      });
      assert.equal(runs, 2, 'from its begin');
      await count(pool);
    });

    test('a transaction that survived such an error and fails for another reason is not retried', async () => {
      await using pool = startPool({ ...connection, url: server.url }, 1);
      const missing = 'select missing from pg_class';
      for (let n = 0; n < 2; n += 1) await assert.rejects(pool.query(missing));
      let runs = 0;
      const work = pool.inTransaction(async (tx) => {
        runs += 1;
        await tx.query('savepoint before');
        await assert.rejects(tx.query(missing));
        await tx.query('rollback to savepoint before');
        throw new Error('another reason');
      });
      await assert.rejects(work, /another reason/);
      assert.equal(runs, 1);
    });

    test('varying texts leave a bounded number of prepared statements', async () => {
      await using pool = startPool({ ...connection, url: server.url }, 1);
      for (let n = 0; n < 300; n += 1) for (let again = 0; again < 2; again += 1) await pool.query(`select $1::int + ${n}`, [n]);
      const [row] = await pool.query<{ n: number }>('select count(*)::int as n from pg_prepared_statements');
      assert.ok(row !== undefined && row.n > 0 && row.n <= 200, `${row?.n}`);
    });
  });
}
