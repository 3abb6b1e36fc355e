// One instance migrates at a time; the others say for whom they wait, hold up nobody by it, and give up in the end.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import pg from 'pg';
import { MigrationError, migrate, migrationStatus } from '../../src/platform/db/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { startPgbouncer } from '../support/pgbouncer.ts';
import { startPostgres } from '../support/postgres.ts';
import { startProcess } from '../support/process.ts';

const lockSql = 'select pg_advisory_xact_lock(1919904876)';
const settings = ({ url }: { url: string }) => ({ url, applicationName: 'second', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 });
const appliedIn = async (database: TestDatabase) =>
  (await migrationStatus(settings(database))).every(({ appliedAt }) => appliedAt !== undefined);

suite('the lock of the migrations', { concurrency: true }, () => {
  test('is awaited with a line that names its holder, and taken when it is free', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const holder = await database.hold(`set local application_name = 'the first'; ${lockSql}`);
    const told = Promise.withResolvers<string>();
    const migrating = migrate(settings(database), { onWaiting: told.resolve });
    assert.match(
      await told.promise,
      /^The lock of the migrations is held, by PostgreSQL process \d+, "the first", role \w+, for \d+ s; waiting for it, at most 600 s$/,
    );
    assert.equal(await appliedIn(database), false);
    await holder.release();
    assert.ok((await migrating).length > 5);
    assert.equal(await appliedIn(database), true);
  });

  test('held for too long ends the wait with a sentence', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const holder = await database.hold(lockSql);
    await assert.rejects(migrate(settings(database), { waitMsMax: 300 }), (error: Error) => {
      assert.ok(error instanceof MigrationError);
      assert.match(error.message, /^The lock of the migrations was not free within 0.3 s, by PostgreSQL process \d+.*start again\.$/);
      return true;
    });
    await holder.release();
  });

  test("of an older version, which is a session's, is respected", async () => {
    await using database = await createDatabase({ template: 'empty' });
    const session = new pg.Client({ connectionString: database.url });
    await session.connect();
    await session.query('select pg_advisory_lock(1919904876)');
    const told = Promise.withResolvers<string>();
    const migrating = migrate(settings(database), { onWaiting: told.resolve });
    await told.promise;
    await session.end();
    assert.ok((await migrating).length > 5);
  });

  test('lets an index be built concurrently while others wait for it', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query('create table t (n int)');
    const session = new pg.Client({ connectionString: database.url });
    await session.connect();
    await session.query('select pg_advisory_lock(1919904876)');
    const told = Promise.withResolvers<string>();
    const migrating = migrate(settings(database), { onWaiting: told.resolve });
    await told.promise;
    await session.query('create index concurrently t_n_idx on t (n)');
    await session.end();
    await migrating;
  });

  test('keeps a service neither from answering nor from stopping', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const holder = await database.hold(lockSql);
    await using service = await startProcess({ DATABASE_URL: database.url, SHUTDOWN_DRAIN_MS: '0' });
    const ready = await fetch(`${service.url}/ready`);
    assert.deepEqual([ready.status, ((await ready.json()) as { database: string }).database], [503, 'migrations missing']);
    assert.ok(service.lines.some(({ event, level }) => level === 'warn' && /^The lock of the migrations is held, by/.test(event)));
    service.child.kill('SIGTERM');
    assert.equal(await service.ended, 0);
    assert.ok(!service.lines.some(({ event }) => event.includes('cannot be reached')));
    await holder.release();
  });

  test('a service that waited for it goes on when it is free', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const holder = await database.hold(lockSql);
    await using service = await startProcess({ DATABASE_URL: database.url });
    await holder.release();
    while ((await fetch(`${service.url}/ready`)).status !== 200);
  });

  test('works behind PgBouncer for concurrent starts', async () => {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await startPostgres(15));
    const bouncer = stack.use(await startPgbouncer(server, { default_pool_size: '4' }));
    await server.query(`alter role postgres set default_transaction_isolation = 'repeatable read'`);
    const results = await Promise.all(Array.from({ length: 10 }, () => migrate({ ...settings(bouncer), statementTimeoutMs: 0 })));
    const names = results.flat();
    assert.deepEqual([names.length, new Set(names).size], [new Set(names).size, names.length]);
    assert.ok(names.length > 5);
    const locks = await server.query(`select from pg_locks where locktype = 'advisory'`);
    assert.equal(locks.length, 0, 'no lock stays with a connection of PgBouncer');
  });
});
