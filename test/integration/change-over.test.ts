// Beside the LiteStar service on one virtual host: its consumer reads our events, and its events are told apart here.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { suite, test } from 'node:test';
import { Connection } from 'rabbitmq-client';
import { createVhost } from '../../harness/management.ts';
import { definitions } from '../../src/features/users/events.ts';
import { createEventReader } from '../../src/platform/events/contract/schemas.ts';
import { adopt } from '../support/adoption.ts';
import { createDatabase } from '../support/database.ts';
import { runNode } from '../support/process.ts';
import { startService } from '../support/service.ts';

const brokerUrl = () => process.env['TEST_RABBITMQ_URL'] ?? '';
/** One of each type, as the LiteStar service's consumer has read them without an error. */
const recordedFile = new URL('./recorded-messages.json', import.meta.url);

type Recorded = Readonly<Record<'exchange' | 'contentType' | 'correlationId' | 'messageId' | 'type' | 'durable', unknown>> & {
  readonly routingKey: string;
  readonly headers: Record<string, unknown>;
  readonly body: unknown;
};

async function recordMessages(): Promise<Recorded[]> {
  await using vhost = await createVhost(brokerUrl());
  const connection = new Connection(vhost.url);
  const messages: Recorded[] = [];
  const all = Promise.withResolvers<void>();
  const consumer = connection.createConsumer(
    {
      queue: 'litestar',
      queueOptions: { durable: true },
      exchanges: [{ exchange: 'user_events', type: 'topic', durable: true }],
      queueBindings: [{ exchange: 'user_events', routingKey: 'user.*' }],
    },
    ({ exchange, routingKey, contentType, correlationId, messageId, type, durable, headers = {}, body }) => {
      messages.push({ exchange, routingKey, contentType, correlationId, messageId, type, durable, headers, body });
      if (messages.length === 3) all.resolve();
    },
  );
  await new Promise<void>((resolve) => consumer.once('ready', resolve));
  {
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    const headers = { 'x-request-id': 'recorded-1' };
    const { json } = await service.call('POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse' }, headers);
    await service.call('PUT', `/users/${json.id}`, { name: 'Jane' }, headers);
    await service.call('DELETE', `/users/${json.id}`, undefined, headers);
    await all.promise;
  }
  await consumer.close();
  await connection.close();
  return messages;
}

/** What a reader can rely on: names, types, and the values that are the same in every message of a type. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, shapeOf(part)]));
}

/** Whether everything of `recorded` is in `now` too. */
function assertStill(now: unknown, recorded: unknown, where: string): void {
  if (typeof recorded !== 'object' || recorded === null) assert.equal(now, recorded, where);
  else for (const [name, part] of Object.entries(recorded)) assertStill((now as Record<string, unknown>)?.[name], part, `${where}.${name}`);
}

suite('beside the LiteStar service', { concurrency: true }, () => {
  test('each event still has every field that the LiteStar consumer reads, with the trace id of the request', async () => {
    const messages = await recordMessages();
    if (process.env['RECORD'] === 'yes') await writeFile(recordedFile, `${JSON.stringify(messages, null, 2)}\n`);
    const recorded = JSON.parse(await readFile(recordedFile, 'utf8')) as Recorded[];
    assert.deepEqual(
      messages.map(({ routingKey }) => routingKey),
      ['user.created', 'user.updated', 'user.deleted'],
    );
    for (const [index, then] of recorded.entries()) {
      const now = messages[index] as Recorded;
      const { exchange, routingKey, contentType, type, durable } = then;
      assertStill(now, { exchange, routingKey, contentType, type, durable }, routingKey);
      assertStill(shapeOf(now), shapeOf(then), routingKey);
      const { trace_id, event_type } = now.body as Record<string, unknown>;
      assert.deepEqual([trace_id, now.headers['trace_id'], event_type], ['recorded-1', 'recorded-1', routingKey]);
    }
  });

  test('it goes on reading and writing the adopted table, as needed for the way back', async () => {
    await using database = await createDatabase({ template: 'empty' });
    await database.query(`create table "user" (
      id serial primary key, name varchar(255) not null, surname varchar(255) not null, password varchar(255) not null,
      created_at timestamp not null default now(), updated_at timestamp not null default now())`);
    const insert = `insert into "user" (name, surname, password) values ('Ann', 'Lee', 'as typed') returning id, created_at, updated_at`;
    const [first] = await database.query<{ id: number }>(insert);
    await adopt(database);
    const [second] = await database.query<{ id: string }>(insert);
    assert.deepEqual([first?.id, second?.id], [1, '2']);
    assert.deepEqual(await database.query(`update "user" set name = 'Eve', updated_at = now() where id = 2 returning name`), [
      { name: 'Eve' },
    ]);
    assert.deepEqual(await database.query('delete from "user" where id = 1 returning id'), [{ id: '1' }]);
    await using service = await startService({}, { database });
    const { json } = await service.call('GET', '/users/');
    assert.deepEqual([json.total, json.users[0].name], [1, 'Eve']);
    assert.equal((await service.createUser()).id, 3);
  });

  test('its events become dead letters that say so in line, reason and list, and can be purged by reason', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    await service.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer');
    const connection = new Connection(vhost.url);
    const publisher = connection.createPublisher({ confirm: true });
    const send = (body: object) => publisher.send({ exchange: 'user_events', routingKey: 'user.created', durable: true }, body);
    await send({ event_type: 'user.created', trace_id: 'old-1', data: { user_id: 7, name: 'John' } });
    await send({ event_type: 'user.created', event_id: 'no uuid' });
    await publisher.close();
    await connection.close();
    const lines = () => service.lines.filter(({ event }) => event === 'Received a message that is no event of ours; dead-lettered');
    await service.line(() => lines().length === 2);
    const ofPredecessor = lines().filter(({ reason }) => /LiteStar service/.test(String(reason)));
    assert.equal(ofPredecessor.length, 1);
    assert.equal(ofPredecessor[0]?.trace_id, 'old-1');

    const env = { DATABASE_URL: service.database.url };
    const events = (...args: string[]) => runNode('src/cli/events.ts', env, args);
    assert.match((await events('dlq', 'list')).stdout, /LiteStar service that Rollcall replaces/);
    assert.equal((await events('dlq', 'purge', '--reason', 'LiteStar service', '--yes')).stdout, '1 thrown away.\n');
    assert.match((await events('dlq', 'list')).stderr, /^1 in all/);
  });

  test('only a message with a known type and without id and version counts as one of its events', () => {
    const read = createEventReader(definitions);
    const isTold = (event: object) => /LiteStar/.test(JSON.stringify(read(event)));
    for (const old of [
      { event_type: 'user.created', user_id: 1 },
      { event_type: 'user.deleted', trace_id: 'a', data: { user_id: 1 } },
      { event: 'user.updated', data: { id: 1 } },
      { type: 'user.updated', payload: { id: 1 }, timestamp: '2025-01-01T10:00:00' },
      { event_type: 'user.created', data: null },
    ])
      assert.ok(isTold(old), JSON.stringify(old));
    for (const other of [
      {},
      [],
      { event_type: 7 },
      { event_type: 'order.created', data: { user_id: 1 } },
      { event_type: 'user.created', event_id: 'x', data: {} },
      { event_type: 'user.created', data: { user_id: 1, version: 1 } },
      { event_type: 'user.created', version: 1 },
      { user_id: 1 },
    ])
      assert.ok(!isTold(other), JSON.stringify(other));
  });
});
