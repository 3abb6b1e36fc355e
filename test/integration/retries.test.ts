// Events that no queue takes: they wait in order for each subject, and neither their number nor their log lines weigh on others.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { type Pool, startPool } from '../../src/platform/db/client.ts';
import { runOnce } from '../../src/platform/events/relay.ts';
import { measureBacklog } from '../../src/platform/events/store/backlog.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { captureLog } from '../support/log.ts';
import { createPublisher, type Fate } from '../support/publisher.ts';

async function startRelay(fateOf: (subject: string) => Fate) {
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await createDatabase());
  const pool: Pool = starting.use(
    startPool({ url: database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 }, 4),
  );
  const publisher = createPublisher(({ subject }) => fateOf(subject));
  const metrics = createMetrics({ name: 'test', version: '0' }).events;
  const captured = captureLog();
  const parts = { pool, publisher, violationOf: () => undefined, onLogged: () => {}, metrics, log: captured.log };
  const running = starting.move();
  return {
    ...captured,
    database,
    metrics,
    step: (limit?: number) => runOnce(parts, limit),
    /** Subjects in the order in which they were sent since the last call, with the number of their event. */
    sent: (
      (from = 0) =>
      () => {
        const since = publisher.sent.slice(from);
        from = publisher.sent.length;
        return since.map(({ subject, event }) => `${subject}:${event.data['n']}`);
      }
    )(),
    depth: async () => (await measureBacklog(pool)).depth,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function append(database: TestDatabase, subjects: readonly string[], type = 'user.updated') {
  return database.query(
    `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
     select gen_random_uuid(), $2, subject, now(), 'trace', '', json_build_object('n', n)
     from unnest($1::text[]) with ordinality as given (subject, n) order by n`,
    [subjects, type],
  );
}

const allDue = (database: TestDatabase) => database.query('update event_retry set retry_at = now() where retry_at is not null');
const times = (count: number, name: (n: number) => string) => Array.from({ length: count }, (_, n) => name(n));

suite('events that came back', { concurrency: true }, () => {
  test('thousands that are due at once take a share of a round, and new events go in the same round', async () => {
    await using relay = await startRelay((subject) => (subject.startsWith('fresh') ? 'routed' : 'returned'));
    await append(
      relay.database,
      times(3000, (n) => `stuck ${n}`),
    );
    // On a busy machine the first are due again before the last were tried.
    while ((await relay.step()).taken >= 500);
    await allDue(relay.database);
    relay.sent();
    await append(
      relay.database,
      times(300, (n) => `fresh ${n}`),
    );
    const { taken } = await relay.step();
    const sent = relay.sent();
    assert.equal(sent.filter((text) => text.startsWith('fresh')).length, 300);
    assert.deepEqual([taken, sent.length], [425, 425]);
    assert.ok(
      sent.slice(0, 300).every((text) => text.startsWith('fresh')),
      'and is sent first',
    );
  });

  test('each of those that are due gets its turn', async () => {
    await using relay = await startRelay(() => 'returned');
    await append(
      relay.database,
      times(1000, (n) => `${n}`),
    );
    // On a busy machine the first are due again before the last were tried.
    while ((await relay.step()).taken >= 500);
    await allDue(relay.database);
    relay.sent();
    while ((await relay.step()).taken > 0);
    assert.equal(new Set(relay.sent()).size, 1000);
  });

  test('of a subject only the earliest is tried, however many wait behind it, and they follow it in order', async () => {
    let routed = false;
    await using relay = await startRelay(() => (routed ? 'routed' : 'returned'));
    await append(
      relay.database,
      times(700, () => 'a'),
    );
    while ((await relay.step()).taken > 0);
    for (let rounds = 0; rounds < 3; rounds += 1) {
      await allDue(relay.database);
      await relay.step();
    }
    assert.deepEqual(relay.sent(), ['a:1', 'a:1', 'a:1', 'a:1']);
    assert.equal(await relay.depth(), 700);
    routed = true;
    await allDue(relay.database);
    // The rest is due as soon as what was ahead of it has left.
    while ((await relay.step()).taken > 0);
    assert.deepEqual(
      relay.sent(),
      times(700, (n) => `a:${n + 1}`),
    );
    assert.equal(await relay.depth(), 0);
  });

  test('a round that fails leaves the order of each subject as it was', async () => {
    let fate: Fate = 'lost';
    await using relay = await startRelay((subject) => (subject === 'a' ? fate : 'routed'));
    await append(relay.database, ['a', 'b', 'a', 'a']);
    assert.match(String((await relay.step()).failure), /no confirm/);
    relay.sent();
    fate = 'routed';
    while ((await relay.step()).taken > 0);
    assert.deepEqual(
      relay.sent().filter((text) => text.startsWith('a')),
      ['a:1', 'a:3', 'a:4'],
    );
    assert.equal(await relay.depth(), 0);
  });

  test('those behind one that was deleted by hand are due', async () => {
    await using relay = await startRelay(() => 'returned');
    await append(relay.database, ['a', 'a', 'a']);
    await relay.step();
    relay.sent();
    await relay.database.query('delete from event_retry where position = 1');
    await relay.step();
    assert.deepEqual(relay.sent(), ['a:2']);
  });

  test('one that an older version, or a dead letter sent again, left with a time of its own keeps its place', async () => {
    let routed = false;
    await using relay = await startRelay((subject) => (subject === 'a' && !routed ? 'returned' : 'routed'));
    await append(relay.database, ['a', 'a', 'b']);
    await relay.step();
    relay.sent();
    await relay.database.query(`update event_retry set retry_at = now() where position = 2`);
    await relay.step();
    assert.deepEqual(relay.sent(), [], 'its predecessor waits');
    // Position 3 was published: sent again, it comes before what is later of its subject.
    await relay.database.query(
      `insert into event_retry (position, logged_at, subject, attempts, retry_at) select position, logged_at, subject, 0, now() from event where position = 3`,
    );
    await append(relay.database, ['b']);
    routed = true;
    await allDue(relay.database);
    while ((await relay.step()).taken > 0);
    assert.deepEqual(relay.sent().toSorted(), ['a:1', 'a:2', 'b:1', 'b:3']);
    assert.equal(await relay.depth(), 0);
  });

  test('one whose event is no longer in the log delays no other', async () => {
    await using relay = await startRelay((subject) => (subject === 'a' ? 'returned' : 'routed'));
    await append(relay.database, ['a', 'a']);
    await relay.step();
    relay.sent();
    await relay.database.query('delete from event where position = 1');
    await allDue(relay.database);
    await relay.step();
    assert.deepEqual(relay.sent(), ['a:2']);
  });

  test('they are logged once for each type with their number, and counted one by one', async () => {
    await using relay = await startRelay(() => 'returned');
    await append(
      relay.database,
      times(400, (n) => `${n}`),
    );
    await append(
      relay.database,
      times(200, (n) => `deleted ${n}`),
      'user.deleted',
    );
    // On a busy machine the first are due again before the last were tried.
    while ((await relay.step()).taken >= 500);
    const told = relay.lines.filter(({ event }) => event.endsWith('was returned by the broker; will retry'));
    assert.deepEqual(
      told.map(({ event_type, count, reason, level, trace_id }) => ({ event_type, count, reason, level, trace_id })),
      ['user.updated', 'user.deleted'].map((event_type) => ({
        event_type,
        count: 1,
        reason: 'NO_ROUTE',
        level: 'warn',
        trace_id: 'trace',
      })),
    );
    assert.equal((await relay.metrics.unroutable.get()).values[0]?.value, 600);
  });
});
