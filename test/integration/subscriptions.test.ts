// Subscriptions that read the log: each with its inbox, its retries, its dead letters and its place, and none in another's way.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Connection } from 'rabbitmq-client';
import { definitions } from '../../src/features/users/events.ts';
import { subscriptions } from '../../src/features/users/subscriptions.ts';
import { Envelope, type EventDefinition } from '../../src/platform/events/contract/envelope.ts';
import { readLog } from '../../src/platform/events/store/reading.ts';
import { maintain } from '../../src/platform/events/store/retention.ts';
import { readStates, subscriptionIssues } from '../../src/platform/events/subscriptions.ts';
import { Type } from '../../src/platform/runtime/schema.ts';
import { brokerKinds, retryDelaysMs, startCarrier, versionOf } from '../support/events.ts';

function define(type: string, audience: EventDefinition['audience']): EventDefinition {
  const [kind] = type.split('.');
  const data = Type.Object({ [`${kind}_id`]: Type.Integer(), version: Type.Integer() }, { additionalProperties: false });
  return { type, audience, name: type, schema: Envelope(type, data), summary: '', example: {} };
}
const mailRequested = define('mail.requested', 'internal');

const insertSql = `insert into outbox (event_id, event_type, internal, aggregate_id, subject, occurred_at, trace_id, traceparent, data)
  values (gen_random_uuid(), $1, $2, $3::bigint, split_part($1, '.', 1) || ':' || $3::bigint, now(), 'the trace', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    json_build_object(split_part($1, '.', 1) || '_id', $3::bigint, 'version', $4::int))`;

const readAll = async (consumer: { read(): Promise<number> }) => {
  while ((await consumer.read()) > 0);
};

test('an event without a queue, or a subscription without events, stops the start', () => {
  const other = (part: object) => ({ name: 'mail', source: 'log' as const, reactions: {}, ...part });
  const reaction = { about: () => ({ kind: 'mail', name: 'mail_id', id: 1, version: 1 }) };
  assert.deepEqual(subscriptionIssues(subscriptions, definitions), []);
  const all = [...definitions, mailRequested];
  assert.match(subscriptionIssues(subscriptions, all).join(), /^The event mail\.requested is internal, and no subscription/);
  assert.deepEqual(subscriptionIssues([...subscriptions, other({ reactions: { 'mail.requested': reaction } })], all), []);
  assert.match(
    subscriptionIssues([other({ source: 'queue', reactions: { 'mail.requested': reaction } })], all).join(),
    /is internal and reaches no queue: let it read the log/,
  );
  assert.match(
    subscriptionIssues([other({ reactions: { 'mail.sent': reaction } })], definitions).join(),
    /mail\.sent, which is no type of event/,
  );
  assert.match(subscriptionIssues([other({}), other({})], definitions).join(), /Two subscriptions have the name "mail"/);
});

suite('a subscription that reads the log', { concurrency: true }, () => {
  for (const broker of brokerKinds)
    test(`that fails or is slow holds up no other, and has retries and dead letters of its own (${broker})`, async () => {
      await using carrier = await startCarrier(broker);
      const taken: Record<string, number[]> = { queue: [], good: [], bad: [] };
      carrier.consume(async (_tx, event) => void taken['queue']?.push(versionOf(event)));
      const good = await carrier.subscribe('good', { 'user.updated': async (_tx, event) => void taken['good']?.push(versionOf(event)) });
      const bad = await carrier.subscribe('bad', {
        'user.updated': async (_tx, event) => {
          if (versionOf(event) === 1) throw new Error('the receiver is away');
          taken['bad']?.push(versionOf(event));
        },
      });
      const id = await carrier.append(1, 1, { traceId: 'the trace' });
      await carrier.append(1, 2);
      await carrier.relay();
      await Promise.all([readAll(good), readAll(bad)]);
      await carrier.line(() => taken['queue']?.length === 2, 'both through the queue');
      assert.deepEqual(taken['good'], [1, 2]);
      assert.deepEqual(taken['bad'], []);
      while (taken['bad']?.length === 0) await bad.retryOnce(10);
      assert.deepEqual(taken['bad'], [2]);
      assert.deepEqual(await carrier.database.query('select subscription, event_id, attempts, reason from dead_letter'), [
        { subscription: 'bad', event_id: id, attempts: retryDelaysMs.length + 1, reason: 'the receiver is away' },
      ]);
      const inbox = await carrier.database.query('select subscription, count(*)::int as n from inbox group by 1 order by 1');
      assert.deepEqual(inbox, [
        { subscription: 'bad', n: 1 },
        { subscription: 'good', n: 2 },
        { subscription: 'rollcall.user_events', n: 2 },
      ]);
      const attempts = await carrier.database.query(
        `select subscription, attempt, reason from failed_attempt where trace_id = 'the trace' order by id`,
      );
      assert.deepEqual(
        attempts,
        [1, 2, 3].map((attempt) => ({ subscription: 'bad', attempt, reason: 'the receiver is away' })),
      );
    });

  test('starts at the end of the log, resumes from its position, and takes each event once beside a second reader', async () => {
    await using carrier = await startCarrier('in-process');
    carrier.consume(async () => {});
    await carrier.append(1, 1);
    await carrier.relay();
    const taken: string[] = [];
    const effect = async (_tx: unknown, event: Parameters<typeof versionOf>[0]) =>
      void taken.push(`${event.data['user_id']}/${versionOf(event)}`);
    const [one, other] = [
      await carrier.subscribe('good', { 'user.updated': effect }),
      await carrier.subscribe('good', { 'user.updated': effect }),
    ];
    for (let user = 2; user <= 40; user += 1) for (const version of [1, 2]) await carrier.append(user, version);
    await carrier.relay();
    while (taken.length < 78) await Promise.all([one.read(10), other.read(10)]);
    assert.equal(new Set(taken).size, 78);
    for (let user = 2; user <= 40; user += 1) assert.ok(taken.indexOf(`${user}/1`) < taken.indexOf(`${user}/2`), String(user));
    await readAll(one);
    const [state] = await readStates(carrier.pool, [{ name: 'good', source: 'log', reactions: {} }]);
    assert.deepEqual([state?.backlog, state?.lagSeconds, state?.source], [0, 0, 'log']);
    await carrier.append(50, 1);
    const [behind] = await readStates(carrier.pool, [{ name: 'good', source: 'log', reactions: {} }]);
    assert.equal(behind?.backlog, 1);
    assert.ok((behind?.lagSeconds ?? 0) > 0);
  });

  test('gets internal events, which never reach RabbitMQ or the readers of the log', async () => {
    await using carrier = await startCarrier('RabbitMQ', [mailRequested]);
    const own: string[] = [];
    carrier.consume(async (_tx, event) => void own.push(event.event_type));
    await carrier.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer');
    const taken: string[] = [];
    const mail = await carrier.subscribe('mail', { 'mail.requested': async (_tx, event) => void taken.push(event.event_type) });
    const connection = new Connection(carrier.vhost?.url ?? '');
    try {
      await connection.queueDeclare({ queue: 'everything', exclusive: true });
      await connection.queueBind({ queue: 'everything', exchange: 'user_events', routingKey: '#' });
      for (let n = 1; n <= 150; n += 1) await carrier.database.query(insertSql, ['mail.requested', true, n, 1]);
      await carrier.append(1, 1);
      await carrier.database.query(insertSql, ['mail.requested', true, 1, 2]);
      await carrier.relay();
      await readAll(mail);
      await carrier.line(() => own.length === 1, 'the public one');
      assert.equal(taken.length, 151);
      const first = await connection.basicGet({ queue: 'everything', noAck: true });
      assert.equal(first?.routingKey, 'user.updated');
      assert.equal(await connection.basicGet({ queue: 'everything', noAck: true }), undefined);
      // A page may be empty though more follows; the cursor goes on.
      const seen: string[] = [];
      for (let cursor: Parameters<typeof readLog>[1], isEnd = false; !isEnd; ) {
        const { events, next, end } = await readLog(carrier.pool, cursor, 100);
        seen.push(...events.map(({ event }) => event.event_type));
        isEnd = next.position === end.position;
        cursor = next;
      }
      assert.deepEqual(seen, ['user.updated']);
    } finally {
      await connection.close();
    }
  });

  test('dead-letters an event that breaks its schema, and goes on', async () => {
    await using carrier = await startCarrier('in-process', [mailRequested]);
    carrier.consume(async () => {});
    const taken: number[] = [];
    const mail = await carrier.subscribe('mail', { 'mail.requested': async (_tx, event) => void taken.push(versionOf(event)) });
    await carrier.database.query(insertSql.replace(`'version'`, `'edition'`), ['mail.requested', true, 1, 1]);
    await carrier.database.query(insertSql, ['mail.requested', true, 2, 1]);
    await carrier.relay();
    await readAll(mail);
    assert.deepEqual(taken, [1]);
    const letters = await carrier.database.query('select subscription, reason from dead_letter');
    assert.deepEqual(letters, [{ subscription: 'mail', reason: "breaks the schema: event/data must have required property 'version'" }]);
  });

  test('keeps the log from expiring before it has read it', async () => {
    await using carrier = await startCarrier('in-process');
    carrier.consume(async () => {});
    await carrier.database.query(`do $$ begin
      execute format('create table event_20200101 partition of event for values from (%L) to (%L)', '2020-01-01 00:00+00', '2020-01-02 00:00+00'); end $$`);
    await carrier.database.query(
      `insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
       select n, '2020-01-01 12:00+00', gen_random_uuid(), 'user.updated', 'user:1', now(), 't', 'x', json_build_object('user_id', 1, 'version', n, 'changed', json_build_array('name'))
       from generate_series(1, 5) as n`,
    );
    const reader = await carrier.subscribe('late', { 'user.updated': async () => {} });
    await carrier.database.query(
      `update event_state set logged_position = 5, logged_at = '2020-01-01 12:00+00', published_position = 5, published_at = '2020-01-01 12:00+00'`,
    );
    assert.deepEqual(await maintain(carrier.pool, 7, ['late']), []);
    await readAll(reader);
    assert.deepEqual(await maintain(carrier.pool, 7, ['late']), ['event_20200101']);
  });
});

suite('an event of a newer version', { concurrency: true }, () => {
  for (const broker of brokerKinds)
    test(`is parked where its type is unknown, and taken in order by a version that knows it (${broker})`, async () => {
      const renamed = define('user.renamed', 'public');
      await using carrier = await startCarrier(broker);
      const taken: string[] = [];
      const effect = async (_tx: unknown, event: { event_type: string; data: Readonly<Record<string, unknown>> }) =>
        void taken.push(`${event.event_type} ${event.data['user_id']}/${event.data['version']}`);
      await using old = carrier.consume(effect);
      await carrier.append(7, 1);
      await carrier.append(8, 1);
      await carrier.database.query(insertSql, ['user.renamed', false, 7, 2]);
      await carrier.append(7, 3);
      await carrier.append(8, 2);
      // By a newer relay.
      await carrier.relayAs([...definitions, renamed]);
      await carrier.line(({ event }) => /^Event user\.renamed is of a type that this version does not know/.test(event));
      await carrier.line(() => taken.length === 3, 'what the old version knows');
      await carrier.line(({ event }) => event === 'Event user.updated waits behind an earlier one of user_id=7');
      assert.deepEqual(taken.toSorted(), ['user.updated 7/1', 'user.updated 8/1', 'user.updated 8/2']);
      const [state] = await readStates(carrier.pool, subscriptions);
      assert.deepEqual([state?.parked, state?.retries, state?.backlog, state?.deadLetters], [1, 1, 0, 0]);
      await old[Symbol.asyncDispose]();

      await using _fresh = carrier.consume(effect, {}, [...definitions, renamed]);
      await carrier.line(() => taken.length === 5, 'the others');
      assert.deepEqual(taken.slice(3), ['user.renamed 7/2', 'user.updated 7/3']);
      assert.deepEqual(await carrier.database.query('select from delivery_retry'), []);
    });

  test('is dead-lettered if no version knows it within a day, and later events go on', async () => {
    await using carrier = await startCarrier('in-process');
    const taken: number[] = [];
    carrier.consume(async (_tx, event) => void taken.push(versionOf(event)));
    await carrier.database.query(insertSql, ['user.renamed', false, 7, 1]);
    await carrier.append(7, 2);
    await carrier.relayAs([...definitions, define('user.renamed', 'public')]);
    await carrier.line(({ event }) => /^Event user\.renamed is of a type/.test(event));
    await carrier.database.query(`update delivery_retry set parked_at = now() - interval '25 hours' where parked_at is not null`);
    await carrier.line(({ event }) => event === 'Gave up a parked event; dead-lettered');
    await carrier.line(() => taken.length === 1, 'the one behind');
    assert.deepEqual(await carrier.database.query('select event_type, subject, version, reason from dead_letter'), [
      { event_type: 'user.renamed', subject: 'user:7', version: '1', reason: 'no version that ran within 24 hours knew its type' },
    ]);
  });

  test('may have unknown fields, which are ignored', async () => {
    await using carrier = await startCarrier('in-process');
    const taken: unknown[] = [];
    carrier.consume(async (_tx, { data }) => void taken.push(data));
    await carrier.database.query(
      `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
       values (gen_random_uuid(), 'user.updated', 'user:7', now(), 't', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
         '{"user_id": 7, "version": 1, "changed": ["name", "nickname"], "origin": "import"}')`,
    );
    await carrier.relayAs(undefined);
    await carrier.line(() => taken.length === 1, 'the event');
    assert.deepEqual(taken, [{ user_id: 7, version: 1, changed: ['name', 'nickname'] }]);
  });
});
