// Subjects of different kinds: the same number and the same version are another subject, and neither is in the other's way.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { definitions } from '../../src/features/users/events.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { readMigrations } from '../../src/platform/db/migrations.ts';
import { Envelope, type EventDefinition } from '../../src/platform/events/contract/envelope.ts';
import { bindingsOf } from '../../src/platform/events/contract/topology.ts';
import { Type } from '../../src/platform/runtime/schema.ts';
import { createDatabase } from '../support/database.ts';
import { brokerKinds, startCarrier } from '../support/events.ts';
import { startService } from '../support/service.ts';

const orderPlaced: EventDefinition = {
  type: 'order.placed',
  audience: 'public',
  name: 'OrderPlaced',
  schema: Envelope('order.placed', Type.Object({ order_id: Type.Integer(), version: Type.Integer() })),
  summary: 'An order was placed.',
  example: {},
};

const orderSql = `insert into outbox (event_id, event_type, aggregate_id, subject, occurred_at, trace_id, traceparent, data)
  values (gen_random_uuid(), 'order.placed', $1::bigint, 'order:' || $1::bigint, now(), 'order trace', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    json_build_object('order_id', $1::bigint, 'version', $2::int))`;

test('the queue is bound for each kind of event, and a type without a kind is refused', () => {
  assert.deepEqual(bindingsOf([...definitions, orderPlaced]), ['user.*', 'order.*']);
  for (const type of ['ping', 'user.', '.created', 'user.created.twice', 'User.created'])
    assert.throws(() => bindingsOf([{ ...orderPlaced, type }]), /no queue would take it/, type);
});

suite('subjects', { concurrency: true }, () => {
  for (const broker of brokerKinds)
    test(`of two kinds with the same id and version both take effect, and one that fails holds up no other (${broker})`, async () => {
      await using carrier = await startCarrier(broker, [orderPlaced]);
      const taken: string[] = [];
      carrier.consume(async (_tx, { event_type, data }) => {
        if (event_type === 'order.placed' && data['version'] === 1) throw new Error('the order is refused');
        taken.push(`${event_type} ${data['version']}`);
      });
      await carrier.database.query(orderSql, [1, 1]);
      await carrier.append(1, 1);
      await carrier.append(1, 2);
      await carrier.relay();
      await carrier.line(({ event }) => /dead-lettered$/.test(event));
      await carrier.line(
        (line) => /^Received event user/.test(line.event) && carrier.lines.filter(({ event }) => /^Received/.test(event)).length === 2,
      );
      assert.deepEqual(taken, ['user.updated 1', 'user.updated 2']);
      assert.deepEqual(await carrier.database.query('select subject, version from inbox order by version'), [
        { subject: 'user:1', version: '1' },
        { subject: 'user:1', version: '2' },
      ]);
      assert.deepEqual(await carrier.database.query('select subject from dead_letter'), [{ subject: 'order:1' }]);
    });

  test('of another kind are not among the events of a user', async () => {
    await using service = await startService();
    const { id } = await service.createUser();
    await service.database.query(orderSql, [id, 1]);
    await service.call('PUT', `/users/${id}`, { name: 'Bea' });
    let events: { event_type: string }[] = [];
    while (events.length < 3) ({ events } = (await service.call('GET', '/events/')).json);
    const own = (await service.call('GET', `/events/?user_id=${id}`)).json.events;
    assert.deepEqual(
      own.map(({ event_type }: { event_type: string }) => event_type),
      ['user.created', 'user.updated'],
    );
  });

  test('of rows from before are named, with the key that they are distributed by', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(
      'create table schema_migration (version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())',
    );
    for (const { version, name, sql, checksum } of (await readMigrations()).slice(0, 8)) {
      await database.query(sql);
      await database.query('insert into schema_migration (version, name, checksum) values ($1, $2, $3)', [version, name, checksum]);
    }
    const event = `'user.updated', '7', now(), 't', 'x', '{}'`;
    await database.query(
      `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data) values (gen_random_uuid(), ${event})`,
    );
    await database.query(
      `insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data) values (1, now(), gen_random_uuid(), ${event})`,
    );
    await database.query('update event_state set logged_position = 1, logged_at = now()');
    await database.query(`insert into event_retry (position, logged_at, subject, attempts, retry_at) values (1, now(), '7', 1, now())`);
    await database.query(
      `insert into inbox (event_id, trace_id, subject, version) values (gen_random_uuid(), 't', '7', 1), (gen_random_uuid(), 't', null, null)`,
    );
    await migrate({ url: database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 0 });
    for (const table of ['outbox', 'event', 'event_retry', 'inbox'])
      assert.deepEqual(await database.query(`select subject from ${table} where subject is not null`), [{ subject: 'user:7' }], table);
    assert.deepEqual(await database.query('select aggregate_id from outbox'), [{ aggregate_id: '7' }]);

    // As an instance of an older version still writes it.
    await database.query(
      `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data) values (gen_random_uuid(), ${event})`,
    );
    await using _service = await startService({}, { database });
    while ((await database.query('select from outbox')).length > 0);
    assert.deepEqual(await database.query('select distinct subject from event'), [{ subject: 'user:7' }]);
  });
});
