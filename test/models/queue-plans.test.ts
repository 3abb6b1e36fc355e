// Tables that events pass through go from empty to thousands of rows between two runs of autovacuum: what the planner believes
// of their size is wrong exactly when there is much to do. No statement may read more than its share of them for that.
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { updated } from '../../src/features/users/events.ts';
import { type Pool, startPool } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { createConsumer } from '../../src/platform/events/consumer.ts';
import type { Delivery } from '../../src/platform/events/contract/delivery.ts';
import { queue } from '../../src/platform/events/contract/topology.ts';
import { redrive } from '../../src/platform/events/operations/redrive.ts';
import { runOnce } from '../../src/platform/events/relay.ts';
import { measureBacklog } from '../../src/platform/events/store/backlog.ts';
import { erase, find } from '../../src/platform/events/store/dead-letters.ts';
import { prune } from '../../src/platform/events/store/inbox.ts';
import { readAfter } from '../../src/platform/events/store/log.ts';
import { readEnd, readLog } from '../../src/platform/events/store/reading.ts';
import { maintain } from '../../src/platform/events/store/retention.ts';
import type { Reaction } from '../../src/platform/events/subscriptions.ts';
import { Type } from '../../src/platform/runtime/schema.ts';
import { captureLog } from '../support/log.ts';
import { type Examined, examine } from '../support/plans.ts';
import { startPostgres, type TestPostgres, versions } from '../support/postgres.ts';
import { createPublisher, type Fate } from '../support/publisher.ts';

const waiting = 20_000;
/** Rows that the nodes of one plan may handle, for each row that the statement takes: 2000 at most. */
const rowsMax = 30_000;
/** The same where a round takes few: all that waits is a hundred times as much. */
const grownMax = 2000;
/** A statement that reads the tables many times over takes longer. */
const statementTimeoutMs = 5000;

const queues = ['outbox', 'event', 'event_retry', 'event_state', 'inbox', 'delivery_retry', 'dead_letter'];
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
    `insert into delivery_retry (event_id, event_type, trace_id, subject, version, attempts, retry_at, body, properties, headers)
     select gen_random_uuid(), 'user.updated', '', 'busy', n, 0, 'infinity', '', '{}', '{}' from generate_series(1, 5000) as n`,
    'analyze event_retry, event, inbox, delivery_retry',
    'truncate event_retry, event, inbox, delivery_retry',
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
  const metrics = createMetrics({ name: 'test', version: '0' }).events;
  const publisher = createPublisher(({ subject }) => fateOf(subject.replace(/^user:/, '')));
  return (limit?: number) => runOnce({ pool, publisher, violationOf: () => undefined, onLogged: () => {}, metrics, log }, limit);
};

// In the log: a thousand changes of one user, and one of each of thousands. In the consumer's tables: as many deliveries that are due,
// each with another behind it, and as many dead letters. Of the busy user the first half was handled.
const consumerSeed = [
  `insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
   select n, now() - interval '1 hour', gen_random_uuid(), 'user.updated', 'user:' || user_id, now(), 'trace', '',
     json_build_object('user_id', user_id::bigint, 'version', version, 'changed', json_build_array('name'))
   from (select n, case when n % 20 = 0 then '1' else (n + 100)::text end as user_id, case when n % 20 = 0 then n / 20 else 1 end as version
         from generate_series(1, ${waiting}) as n) as made`,
  `update event_state set logged_position = ${waiting}, published_position = ${waiting}`,
  `insert into inbox (event_id, trace_id, subject, version)
   select event_id, trace_id, subject, (data ->> 'version')::bigint from event where subject <> 'user:1' or (data ->> 'version')::bigint <= 500`,
  `insert into delivery_retry (event_id, event_type, trace_id, subject, version, attempts, retry_at, body, properties, headers)
   select event_id, 'user.updated', 'trace', 'user:' || user_id, version, 1, case version when 2 then now() else 'infinity' end,
     convert_to(json_build_object('event_id', event_id, 'event_type', 'user.updated', 'trace_id', 'trace', 'occurred_at',
       '2025-01-01T10:00:00.000000Z', 'data', json_build_object('user_id', user_id, 'version', version))::text, 'UTF8'), '{}', '{}'
   from (select gen_random_uuid() as event_id, n as user_id, version
         from generate_series(101, 100 + ${waiting / 2}) as n, generate_series(2, 3) as version) as made`,
  `insert into dead_letter (message_id, event_id, event_type, trace_id, subject, version, attempts, reason, body)
   select n::text, gen_random_uuid(), 'user.updated', 'trace', 'user:' || n, 9, 1, 'a test', 'x' from generate_series(1, ${waiting}) as n`,
];

// What lies in the tables of the consumer, without what is in the log.
const consumerRowsSeed = [
  `insert into inbox (event_id, trace_id, subject, version) select gen_random_uuid(), '', 'user:' || n, 1 from generate_series(1, ${waiting}) as n`,
  ...consumerSeed.slice(3),
];

/** Whatever is in it. */
const anyUpdate = { ...updated, schema: Type.Unknown() };

function consume(pool: Pool, effect: NonNullable<Reaction['effect']>, retryDelaysMs = [3_600_000]) {
  const about: Reaction['about'] = ({ data }) => ({
    kind: 'user',
    name: 'user_id',
    id: Number(data['user_id']),
    version: Number(data['version']),
  });
  const { log } = captureLog();
  const metrics = createMetrics({ name: 'test', version: '0' }).events;
  const stopping = new AbortController().signal;
  return createConsumer({
    pool,
    subscription: { name: queue, source: 'queue', reactions: { 'user.updated': { about, effect } } },
    definitions: [anyUpdate],
    deliveryGraceMs: 0,
    retryDelaysMs,
    appName: 'test',
    metrics,
    log,
    stopping,
  });
}

function delivery(userId: number, version: number): Delivery {
  const event = { event_id: crypto.randomUUID(), event_type: 'user.updated', trace_id: 'trace', data: { user_id: userId, version } };
  return { body: Buffer.from(JSON.stringify(event)), properties: {}, headers: {}, isHeld: () => true };
}

type Pools = { readonly relayPool: Pool; readonly consumerPool: Pool; readonly other: Pool };

/** Every statement of the event path once or twice, for events of their own. */
async function passOne(n: number, { relayPool, consumerPool, other }: Pools): Promise<void> {
  const subjects = [1, 2].map((part) => `${part}${String(n).padStart(6, '0')}`);
  await other.query(
    `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
     select gen_random_uuid(), 'user.updated', subject, now(), 'trace', '', json_build_object('user_id', subject, 'version', 1)
     from unnest($1::text[]) as made (subject)`,
    [subjects],
  );
  await relay(relayPool, (subject) => (subject === subjects[0] ? 'returned' : 'routed'))(20);
  await other.query('update event_retry set retry_at = now() where subject = any($1)', [subjects.map((subject) => `user:${subject}`)]);
  await relay(relayPool, () => 'routed')(20);
  for (const look of [
    () => measureBacklog(relayPool),
    () => readEnd(relayPool),
    () => readLog(relayPool, undefined, 10),
    () => readLog(relayPool, undefined, 10, { subject: `user:${subjects[0]}` }),
    () => readAfter(relayPool, { position: '0', loggedAt: '1970-01-01T00:00:00Z' }, 10),
    () => maintain(relayPool, 30),
  ])
    await look();

  // One at once, one that fails, is tried again and given up, one after a gap.
  const [plain = 0, failing = 0, gap = 0] = [3, 4, 5].map((part) => part * 1_000_000 + n);
  const consumer = consume(
    consumerPool,
    async (_tx, { data }) => {
      if (data['user_id'] === failing) throw new Error('never');
    },
    [0],
  );
  await consumer.handle(delivery(plain, 1));
  await consumer.handle(delivery(plain, 2));
  await consumer.handle(delivery(failing, 1));
  await consumer.retryOnce(20);
  await consumer.handle(delivery(gap, 7));
  await consumer.reconcileOnce(10);
  await prune(consumerPool, 7, 10);
}

function assertBounded(examined: readonly Examined[], max = rowsMax): void {
  // The backlog is counted for the gauges, up to a bound of its own.
  const wrong = examined.filter(({ text, rows }) => rows > (/as depth/.test(text) ? 4 * waiting : max));
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
    const settings = (database: string) => ({
      url: urlOf(database),
      applicationName: 'test',
      connectTimeoutMs: 60_000,
      statementTimeoutMs,
    });
    await migrate(settings('migrated'));

    for (const executions of [1, 6, 100]) {
      test(`read their share and no more at execution ${executions} of a connection that knew the tables empty`, async () => {
        const database = `grown_${executions}`;
        await server.query(`create database ${database} template migrated`);
        // Of one connection each, so that it is that one.
        await using relayPool = startPool(settings(database), 1);
        await using consumerPool = startPool(settings(database), 1);
        await using other = startPool(settings(database), 1);
        await maintain(other, 30);
        await other.query('analyze');
        for (let n = 1; n < executions; n += 1) await passOne(n, { relayPool, consumerPool, other });

        await other.query(seed);
        await relay(other, (subject) => (Number(subject) % 2 === 0 ? 'returned' : 'routed'))(1000);
        for (const statement of consumerRowsSeed) await other.query(statement);
        const [relayed, consumed] = [examine(relayPool, 'kept plans'), examine(consumerPool, 'kept plans')];
        await passOne(executions, { relayPool: relayed, consumerPool: consumed, other });
        if (executions > 2) assert.ok(relayed.examined.length > 10 && consumed.examined.length > 15, 'plans were kept');
        assertBounded([...relayed.examined, ...consumed.examined], grownMax);
      });
    }

    for (const [index, [title, force]] of Object.entries(statistics).entries()) {
      test(`read a bounded number of rows where the statistics say ${title}`, async () => {
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
          () => readEnd(examined),
          () => readLog(examined, undefined, 100),
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

      test(`those of the consumer read a bounded number of rows where the statistics say ${title}`, async () => {
        const database = `consumed_${index}`;
        await server.query(`create database ${database} template migrated`);
        await using pool = startPool(settings(database), 4);
        await maintain(pool, 30);
        for (const statement of force) await pool.query(statement);
        for (const statement of consumerSeed) await pool.query(statement);

        const examined = examine(pool);
        const seen: string[] = [];
        const consumer = consume(examined, async (_tx, { data }) => {
          if (data['user_id'] === 2) throw new Error('never');
          seen.push(`${data['user_id']}.${data['version']}`);
        });
        const deliver = (userId: number, version: number) => consumer.handle(delivery(userId, version));
        // The very next, the first of a user who was quiet, one that fails and is given up, one after a gap, one behind a waiting one.
        for (const [userId, version] of [
          [3, 1],
          [4, 7],
          [2, 1],
          [1, 1001],
          [101, 4],
        ] as const)
          await deliver(userId, version);
        assert.deepEqual(seen.slice(0, 3), ['3.1', '4.7', '1.501']);
        assert.equal(seen.length, 3 + 500);
        for (let rounds = 0; rounds < 10; rounds += 1) await consumer.retryOnce(20);
        while ((await consumer.reconcileOnce(1000)) > 0);
        for (const look of [
          () => prune(examined, 7, 1000),
          () => find(examined, ['17']),
          () => erase(examined, ['18']),
          () => redrive(examined, new Map(), '19'),
        ])
          await look();
        assertBounded(examined.examined);
        assert.deepEqual(await pool.query('select from inbox where subject = $1 offset 1000', ['user:1']), [{}]);
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
