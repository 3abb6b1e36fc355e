// `npm run events -- ...`, run as an operator runs it, beside a service at work.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Connection } from 'rabbitmq-client';
import { runNode } from '../support/process.ts';
import { createVhost } from '../support/rabbitmq.ts';
import { startService, type TestService } from '../support/service.ts';

/** @returns a function that runs the command against the service's database and broker */
function commandFor({ database }: TestService, rabbitUrl?: string) {
  const env = { DATABASE_URL: database.url, ...(rabbitUrl !== undefined && { RABBITMQ_URL: rabbitUrl }) };
  return (...args: string[]) => runNode('src/cli/events.ts', env, args);
}

async function withConnection<Result>(url: string, work: (connection: Connection) => Promise<Result>): Promise<Result> {
  const connection = new Connection(url);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

const brokerUrl = () => process.env['TEST_RABBITMQ_URL'] ?? '';

suite('npm run events', { concurrency: true }, () => {
  test('lists a dead letter of RabbitMQ, shows it, gives it to the consumer again, and throws it away', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    const events = commandFor(service, vhost.url);
    await service.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer');
    await withConnection(vhost.url, async (connection) => {
      const publisher = connection.createPublisher({ confirm: true });
      const to = { exchange: 'user_events', routingKey: 'user.created', messageId: 'poison-1', correlationId: 'trace-1' };
      await publisher.send({ ...to, contentType: 'application/json' }, Buffer.from('{"event_type":"user.exploded"}'));
      await publisher.close();
    });
    const deadLettered = (count: number) => () =>
      service.lines.filter(({ event }) => event === 'Received a message that is no event of ours; dead-lettered').length === count;
    await service.line(deadLettered(1));

    // The line comes before the broker's confirm of the copy.
    let listed = await events('dlq', 'list');
    while (listed.stdout === '') listed = await events('dlq', 'list');
    assert.match(listed.stdout, /^poison-1 {2}.*attempts=1 {2}trace_id=trace-1 {2}breaks the schema: .+\n$/);
    assert.equal(listed.stderr, '1 in all.\n');
    assert.deepEqual(JSON.parse((await events('dlq', 'show', 'poison-1')).stdout).body, { event_type: 'user.exploded' });

    assert.equal((await events('dlq', 'redrive', 'another')).stdout, '0 of 1 on their way again.\n');
    assert.equal((await events('dlq', 'redrive', '--all')).stdout, '1 of 1 on their way again.\n');
    await service.line(deadLettered(2));

    const unsure = await events('dlq', 'purge');
    assert.deepEqual([unsure.code, unsure.stdout, unsure.stderr], [1, '', 'This cannot be undone: say --yes.\n']);
    let purged = await events('dlq', 'purge', '--yes');
    while (purged.stdout === '0 thrown away.\n') purged = await events('dlq', 'purge', '--yes');
    assert.equal(purged.stdout, '1 thrown away.\n');
    assert.deepEqual(await events('dlq', 'list'), { code: 0, stdout: '', stderr: 'There are none.\n' });
  });

  test('gives a dead letter of the in-process broker to the consumer again', async () => {
    await using service = await startService();
    const events = commandFor(service);
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    await service.database.query(
      `with letter as (
         insert into dead_letter (event_id, event_type, trace_id, attempts, reason, body, position, logged_at, subject)
         select event_id, event_type, trace_id, 5, 'it was full', data, position, logged_at, subject from event returning event_id
       )
       delete from inbox where event_id in (select event_id from letter)`,
    );
    assert.match((await events('dlq', 'list')).stdout, /user\.created {2}attempts=5 {2}trace_id=\S+ {2}it was full\n$/);
    assert.equal((await events('dlq', 'redrive', '--all')).stdout, '1 of 1 on their way again.\n');
    const received = () => service.lines.filter(({ event }) => event === `Received event user.created with user_id=${id}`);
    await service.line(() => received().length === 2);
    assert.equal((await events('dlq', 'purge', '--yes')).stdout, '0 thrown away.\n');
  });

  test('tells what waits in the outbox', async () => {
    await using service = await startService({ RUN: 'api' });
    await service.createUser();
    await service.createUser();
    const { code, stdout } = await commandFor(service)('outbox', 'status');
    assert.equal(code, 0);
    assert.match(stdout, /^waiting {5}2\noldest {6}\d+\.\d s\ndead rows {3}\d+\n$/);
  });

  test("sends one user's events once more, in order, to one queue and no other", async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    const events = commandFor(service, vhost.url);
    const [{ id }, other] = [await service.createUser(), await service.createUser()];
    await service.call('PUT', `/users/${id}`, { name: 'Jane' });
    await service.call('DELETE', `/users/${id}`);
    await service.line(({ event }) => event === `Received event user.deleted with user_id=${id}`);
    const handled = service.lines.filter(({ event }) => event.startsWith('Received event')).length;

    await withConnection(vhost.url, async (connection) => {
      await connection.queueDeclare({ queue: 'newcomer', durable: true });
      const all = await events('replay', '--from', '2020-01-01T00:00:00Z', '--to-queue', 'newcomer', '--user', String(id));
      assert.deepEqual([all.code, all.stdout], [0, '3 events sent to newcomer.\n']);
      const types = [];
      for (let n = 0; n < 3; n += 1) types.push((await connection.basicGet({ queue: 'newcomer', noAck: true }))?.type);
      assert.deepEqual(types, ['user.created', 'user.updated', 'user.deleted']);

      const { json } = await service.call('GET', '/events/?limit=1');
      const later = await events('replay', '--from', json.next, '--to-queue', 'newcomer');
      assert.equal(later.stdout, '3 events sent to newcomer.\n');
      const first = await connection.basicGet({ queue: 'newcomer', noAck: true });
      assert.equal(first?.body.data.user_id, other.id);
    });
    assert.equal(service.lines.filter(({ event }) => event.startsWith('Received event')).length, handled);
  });

  test('ends with a sentence and code 1 where it cannot do what was asked for', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RUN: 'api' });
    const events = commandFor(service, vhost.url);
    const away = commandFor(service, 'amqp://guest:guest@127.0.0.1:1/');
    const inProcess = commandFor(service);
    const replay = ['replay', '--from', '2020-01-01', '--to-queue', 'nowhere'];
    const sentences = [
      [await away('dlq', 'list'), /^RabbitMQ cannot be reached \(ECONNREFUSED\): is it running, and is RABBITMQ_URL right\?\n$/],
      [await away(...replay), /^RabbitMQ cannot be reached \(ECONNREFUSED\)/],
      [await events('dlq', 'list'), /^RabbitMQ says: .*no queue 'rollcall\.user_events\.dlq'.*\.\n$/],
      [await events(...replay), /^RabbitMQ says: .*no queue 'nowhere'.*\.\n$/],
      [await inProcess(...replay), /^RABBITMQ_URL must be set/],
      [await inProcess('dlq', 'show', 'x'), /^There is no dead letter x\.\n$/],
      [await inProcess('dlq', 'redrive'), /^Name the event ids, or say --all\.\n$/],
      [await inProcess('replay', '--from', 'yesterday', '--to-queue', 'q'), /neither a cursor of GET \/events\/ nor an ISO 8601 time/],
    ] as const;
    for (const [{ code, stdout, stderr }, sentence] of sentences) {
      assert.match(stderr, sentence);
      assert.deepEqual([code, stdout], [1, '']);
    }
  });
});
