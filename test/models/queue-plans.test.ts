// Tables that events pass through go from empty to thousands of rows between two runs of autovacuum: what the planner believes
// of their size is wrong exactly when there is much to do. No statement may read more than its share of them for that.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { type Pool, startPool } from '../../src/db/client.ts';
import { migrate } from '../../src/db/migrate.ts';
import { readAfter, readBounds } from '../../src/events/log.ts';
import { measureBacklog } from '../../src/events/publishing.ts';
import { runOnce } from '../../src/events/relay.ts';
import { maintain } from '../../src/events/retention.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { captureLog } from '../support/log.ts';
import { type Examined, examine } from '../support/plans.ts';
import { startPostgres, type TestPostgres, versions } from '../support/postgres.ts';
import { createPublisher, type Fate } from '../support/publisher.ts';

const waiting = 20_000;
/** Rows that the nodes of one plan may handle, for each row that the statement takes: 2000 at most. */
const rowsMax = 30_000;
/** A statement that reads the tables many times over takes longer. */
const statementTimeoutMs = 5000;

const queues = ['outbox', 'event', 'event_retry', 'event_state', 'inbox', 'dead_letter'];
const ofQueues = `from pg_class where oid in (
  select oid from pg_class where relname = any('{${queues.join(',')}}') or relname ~ '^event_(default|\\d{8})$'
  union select indexrelid from pg_index join pg_class on pg_class.oid = indrelid where relname = any('{${queues.join(',')}}') or relname ~ '^event_(default|\\d{8})$')`;
const forced = (rows: number) =>
  `update pg_class set reltuples = ${rows}, relpages = 1 where relkind in ('r', 'i') and oid in (select oid ${ofQueues})`;

// What autovacuum may have noted before the 20,000 came. 'one subject' also says that whatever is there is of that one.
const statistics: Readonly<Record<string, readonly string[]>> = {
  'an empty table': [forced(0)],
  'a million rows': [forced(1_000_000)],
  'rows of one subject': [
    `insert into event_retry select n, now(), 'busy', 0, now() from generate_series(1, 5000) as n`,
    `insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
     select n, now(), gen_random_uuid(), 'user.updated', 'busy', now(), '', '', '{}' from generate_series(1, 5000) as n`,
    `insert into inbox (event_id, trace_id, subject, version) select gen_random_uuid(), '', 'busy', n from generate_series(1, 5000) as n`,
    'analyze event_retry, event, inbox',
    'truncate event_retry, event, inbox',
    forced(5000),
  ],
};

// One user with a thousand changes among thousands with one each.
const seed = `
  insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
  select gen_random_uuid(), 'user.updated', case when n % 20 = 0 then 'busy' else n::text end, now(), 'trace', '',
    json_build_object('user_id', n, 'version', 1, 'changed', json_build_array('name'))
  from generate_series(1, ${waiting}) as n`;

const relay = (pool: Pool, fateOf: (subject: string) => Fate) => {
  const { log } = captureLog();
  const metrics = createMetrics({ name: 'test', version: '0' });
  const publisher = createPublisher(({ subject }) => fateOf(subject));
  return (limit?: number) => runOnce({ pool, publisher, faultOf: () => undefined, onLogged: () => {}, metrics, log }, limit);
};

function assertBounded(examined: readonly Examined[]): void {
  // The backlog is counted for the gauges, up to a bound of its own.
  const wrong = examined.filter(({ text, rows }) => rows > (/as depth/.test(text) ? 4 * waiting : rowsMax));
  assert.deepEqual(
    wrong.map(({ text, rows, plan }) => `${rows} rows: ${text}\n${plan}`),
    [],
  );
}

for (const version of versions) {
  suite(`statements of the event path on PostgreSQL ${version}`, async () => {
    const server: TestPostgres = await startPostgres(version, { settings: { autovacuum: 'off' } });
    after(() => server[Symbol.asyncDispose]());
    await server.query('create database migrated');
    const urlOf = (database: string) => server.url.replace(/postgres$/, database);
    const settings = (database: string) => ({ url: urlOf(database), applicationName: 'test', connectTimeoutMs: 5000, statementTimeoutMs });
    await migrate(settings('migrated'));

    for (const [index, [title, force]] of Object.entries(statistics).entries()) {
      test(`read their share and no more where the statistics say ${title}`, async () => {
        const database = `test_${index}`;
        await server.query(`create database ${database} template migrated`);
        await using pool = startPool(settings(database), 4);
        await maintain(pool, 30);
        for (const statement of force) await pool.query(statement);
        await pool.query(seed);

        // Half of them have no queue, and some confirms do not come.
        const examined = examine(pool);
        let n = 0;
        const step = relay(examined, (subject) => (++n % 2500 === 0 ? 'lost' : Number(subject) % 2 === 0 ? 'returned' : 'routed'));
        for (let rounds = 0; (await step()).taken > 0 && rounds < 100; rounds += 1);
        const left = async () => Number((await pool.query<{ n: string }>('select count(*) as n from event_retry'))[0]?.n);
        assert.ok((await left()) > waiting / 3, `${await left()} wait for a retry`);

        for (const look of [
          () => measureBacklog(examined),
          () => readBounds(examined),
          () => readAfter(examined, { position: '0', loggedAt: '1970-01-01T00:00:00Z' }, 100),
          () => maintain(examined, 30),
        ])
          await look();

        // Then everything has a queue, and all are due at once.
        await pool.query(`update event_retry set retry_at = now() where retry_at is not null`);
        const last = relay(examined, () => 'routed');
        for (let rounds = 0; (await last(2000)).taken > 0; rounds += 1) assert.ok(rounds < 200, `${await left()} are left`);
        assertBounded(examined.examined);
        assert.equal((await measureBacklog(pool)).depth, 0);
      });

      test(`20,000 events leave within the fewest rounds where the statistics say ${title}`, async () => {
        const database = `drained_${index}`;
        await server.query(`create database ${database} template migrated`);
        await using pool = startPool(settings(database), 4);
        await maintain(pool, 30);
        for (const statement of force) await pool.query(statement);
        await pool.query(seed);
        const step = relay(pool, () => 'routed');
        let rounds = 0;
        for (; (await step()).taken > 0; rounds += 1);
        assert.equal((await measureBacklog(pool)).depth, 0);
        assert.equal(rounds, waiting / 500);
      });
    }
  });
}
