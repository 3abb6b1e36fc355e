// The main job on a real RabbitMQ: from the HTTP request to the consumer's line, and what happens when the broker is away.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type AsyncMessage, Connection } from 'rabbitmq-client';
import { createVhost } from '../../harness/management.ts';
import { startBrokerProxy } from '../../harness/rabbitmq.ts';
import { startService } from '../support/service.ts';

const brokerUrl = () => process.env['TEST_RABBITMQ_URL'] ?? '';

/** Messages of a queue that another service might have bound to the exchange. */
async function listen(url: string, routingKey = 'user.*') {
  const connection = new Connection(url);
  connection.on('error', () => {});
  const messages: AsyncMessage[] = [];
  const waiting: (() => void)[] = [];
  const consumer = connection.createConsumer(
    {
      queue: `other-service-${crypto.randomUUID()}`,
      queueOptions: { durable: true },
      exchanges: [{ exchange: 'user_events', type: 'topic', durable: true }],
      queueBindings: [{ exchange: 'user_events', routingKey }],
    },
    (message) => {
      messages.push(message);
      for (const look of waiting.splice(0)) look();
    },
  );
  consumer.on('error', () => {});
  await new Promise<void>((resolve) => consumer.once('ready', resolve));
  return {
    messages,
    connection,
    async count(wanted: number) {
      while (messages.length < wanted) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      await consumer.close();
      await connection.close();
    },
  };
}

/** What events have of a user. */
function stateOf({ last_login_at: _, ...state }: Record<string, unknown>): object {
  return state;
}

suite('users and RabbitMQ', { concurrency: true }, () => {
  test('one trace id leads from the HTTP header through rows and message to the line of the consumer', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using other = await listen(vhost.url);
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const { json, headers } = await service.call(
      'POST',
      '/users/',
      { name: 'John', surname: 'Doe', password: 'correct horse' },
      { 'x-request-id': 'order-4711', traceparent },
    );
    assert.equal(headers.get('x-trace-id'), 'order-4711');
    await other.count(1);
    const [message] = other.messages;
    const { body } = message as AsyncMessage;
    assert.deepEqual(body, {
      event_id: message?.messageId,
      event_type: 'user.created',
      occurred_at: json.created_at,
      trace_id: 'order-4711',
      data: { user_id: json.id, version: 1, changed: ['name', 'surname', 'password'], user: stateOf(json) },
    });
    assert.match(message?.messageId ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/);
    const { exchange, routingKey, type, correlationId, appId, contentType, durable, timestamp, headers: sent } = message as AsyncMessage;
    assert.deepEqual(
      { exchange, routingKey, type, correlationId, appId, contentType, durable, timestamp },
      {
        exchange: 'user_events',
        routingKey: 'user.created',
        type: 'user.created',
        correlationId: 'order-4711',
        appId: 'rollcall',
        contentType: 'application/json',
        durable: true,
        timestamp: Math.floor(Date.parse(json.created_at) / 1000),
      },
    );
    const { traceparent: continued, ...rest } = sent ?? {};
    assert.match(continued, /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/);
    assert.deepEqual(rest, {
      trace_id: 'order-4711',
      cloudEvents_specversion: '1.0',
      cloudEvents_id: message?.messageId,
      cloudEvents_source: '/rollcall',
      cloudEvents_type: 'user.created',
      cloudEvents_subject: String(json.id),
      cloudEvents_time: json.created_at,
    });
    const line = await service.line(({ event }) => event === `Received event user.created with user_id=${json.id}`);
    assert.deepEqual(
      [line.trace_id, line['event_type'], line['event_id'], line['user_id']],
      ['order-4711', 'user.created', message?.messageId, json.id],
    );
    const [row] = await service.database.query<{ trace_id: string }>('select trace_id from inbox where event_id = $1', [
      message?.messageId,
    ]);
    assert.equal(row?.trace_id, 'order-4711');
    assert.ok(!JSON.stringify(other.messages).includes('argon2'));
  });

  test('update and delete events carry what changed and the version', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using other = await listen(vhost.url);
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    const { id } = await service.createUser();
    const { json: changed } = await service.call('PUT', `/users/${id}`, { surname: 'Roe', password: 'battery staple' });
    await service.call('PUT', `/users/${id}`, { surname: 'Roe' });
    await service.call('DELETE', `/users/${id}`);
    await other.count(3);
    const data = other.messages.map(({ body }) => body.data);
    assert.deepEqual(data[1], { user_id: id, version: 2, changed: ['surname', 'password'], user: stateOf(changed) });
    assert.deepEqual(data[2], { user_id: id, version: 3 });
  });

  test('EVENT_PAYLOAD=id keeps the person out of message and outbox', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using other = await listen(vhost.url);
    await using service = await startService({ RABBITMQ_URL: vhost.url, EVENT_PAYLOAD: 'id' });
    const { id } = await service.createUser();
    await other.count(1);
    assert.deepEqual(other.messages[0]?.body.data, { user_id: id, version: 1, changed: ['name', 'surname', 'password'] });
  });

  test('a broker outage, at the start or later, fails no request, and every event arrives afterwards', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using proxy = await startBrokerProxy(vhost.url);
    await proxy.refuse();
    await using service = await startService({ RABBITMQ_URL: proxy.url });
    const ids: number[] = [];
    for (let n = 0; n < 10; n += 1) ids.push((await service.createUser()).id);
    assert.deepEqual((await service.call('GET', '/ready')).json, { status: 'ready', database: 'ok', broker: 'away' });
    const received = (id: number) => service.line(({ event }) => event === `Received event user.created with user_id=${id}`);

    await proxy.heal();
    await Promise.all(ids.map(received));
    await proxy.refuse();
    const later = (await service.createUser()).id;
    await proxy.heal();
    await received(later);
    await service.backlog(0);
    const lost = service.lines.filter(({ event, component }) => event === 'RabbitMQ connection lost' && component === 'publisher');
    assert.ok(lost.length <= 2, 'one line for each outage');
  });

  test('a broker that stops answering is given up after the confirm timeout, and the event is sent again', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using proxy = await startBrokerProxy(vhost.url);
    await using service = await startService({ RABBITMQ_URL: proxy.url, RABBITMQ_CONFIRM_TIMEOUT_MS: '300' });
    await service.createUser();
    await service.line(({ event }) => event.startsWith('Received event user.created'));
    proxy.hold('toServer', 'toClient');
    const { id } = await service.createUser();
    // On a busy machine the first channel may have been late as well, and that line is the one of this outage too; PostgreSQL
    // may have been late before.
    const late = /no (confirm|channel) within 300 ms/;
    await service.line(({ event, reason }) => event.startsWith('Relay interrupted') && late.test(String(reason)));
    await proxy.heal();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
  });

  for (const how of ['away', 'frozen'] as const) {
    test(`a broker that is ${how} does not hold up the end of the service`, async () => {
      await using vhost = await createVhost(brokerUrl());
      await using proxy = await startBrokerProxy(vhost.url);
      await using service = await startService({ RABBITMQ_URL: proxy.url, RABBITMQ_CONFIRM_TIMEOUT_MS: '300' });
      await service.createUser();
      await service.line(({ event }) => event.startsWith('Received event user.created'));
      if (how === 'frozen') proxy.hold('toServer', 'toClient');
      else {
        await proxy.refuse();
        for (const part of ['publisher', 'consumer'])
          await service.line(({ event, component }) => event === 'RabbitMQ connection lost' && component === part);
      }
      await service[Symbol.asyncDispose]();
      await assert.rejects(service.call('GET', '/health'));
    });
  }

  test('after a failed round one event is tried alone, so that the others are not sent again each time', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using other = await listen(vhost.url);
    await using service = await startService({ RABBITMQ_URL: vhost.url, RUN: 'api,relay' });
    // What was published cannot be noted.
    await service.database.query(`create function refuse() returns trigger language plpgsql as 'begin raise exception ''not now''; end'`);
    await service.database.query(`create constraint trigger refuse after update on event_state deferrable initially deferred
      for each row when (new.published_position <> old.published_position) execute function refuse()`);
    for (let n = 0; n < 5; n += 1) await service.createUser();
    const times = () => other.messages.map(({ body }) => body.data.user_id);
    const ofFirst = () => times().filter((id) => id === 1).length;
    for (let wanted = 1; ofFirst() < 4; wanted += 1) await other.count(wanted);
    await service.database.query('drop trigger refuse on event_state');
    await service.backlog(0);
    const others = Map.groupBy(
      times().filter((id) => id !== 1),
      (id) => id,
    );
    assert.equal(others.size, 4);
    for (const [id, all] of others) assert.ok(all.length <= 2, `the event of user ${id} came ${all.length} times`);
  });

  test('unroutable events wait, and do not stop the others', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using other = await listen(vhost.url, 'user.created');
    await using service = await startService({ RABBITMQ_URL: vhost.url, RUN: 'api,relay' });
    const { id } = await service.createUser();
    await service.call('PUT', `/users/${id}`, { name: 'Nobody hears this' });
    await service.line(({ event, reason }) => event.startsWith('Event user.updated was returned by the broker') && reason === 'NO_ROUTE');
    await service.createUser();
    await other.count(2);
    await service.backlog(1);
    // At least: it is tried again each second.
    assert.match((await service.call('GET', '/metrics')).text, /^rollcall_events_unroutable_total [1-9]\d*$/m);
  });

  test('a deleted exchange is declared again with its queue bound, before anything is published', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    await service.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer');
    const first = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${first.id}`);
    const connection = new Connection(vhost.url);
    await connection.exchangeDelete({ exchange: 'user_events' });
    await connection.close();
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    await service.backlog(0);
    assert.match((await service.call('GET', '/metrics')).text, /^rollcall_events_unroutable_total 0$/m);
  });

  test('each part may run in its own process', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using api = await startService({ RABBITMQ_URL: vhost.url, RUN: 'api' });
    const one = { database: api.database };
    const env = { RABBITMQ_URL: vhost.url, DATABASE_URL: api.database.url };
    await using relay = await startService({ ...env, RUN: 'relay' }, one);
    await using consumer = await startService({ ...env, RUN: 'consumer' }, one);
    const { id } = await api.createUser();
    await consumer.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    assert.equal((await relay.call('GET', '/users/')).status, 404);
    assert.equal((await relay.call('GET', '/health')).status, 200);
    assert.equal((await consumer.call('GET', '/ready')).json.broker, 'not used here');
  });
});
