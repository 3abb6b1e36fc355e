// `npm run events -- ...`, run as an operator runs it, beside a service at work.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Connection } from 'rabbitmq-client';
import { createVhost } from '../../harness/management.ts';
import { type Db, startPool } from '../../src/platform/db/client.ts';
import { replay } from '../../src/platform/events/operations/replay.ts';
import { formatCursor } from '../../src/platform/events/store/cursor.ts';
import { fillLog } from '../support/feed.ts';
import { runNode } from '../support/process.ts';
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
  test('lists, shows and erases a dead letter, and says why it cannot be redriven', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RABBITMQ_URL: vhost.url });
    const events = commandFor(service, vhost.url);
    assert.deepEqual(await events('dlq', 'list'), { code: 0, stdout: '', stderr: 'There are none.\n' });
    await service.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer');
    await withConnection(vhost.url, async (connection) => {
      const publisher = connection.createPublisher({ confirm: true });
      const to = { exchange: 'user_events', routingKey: 'user.created', messageId: 'poison-1', correlationId: 'trace-1' };
      const headers = { bell: '\u0007', number: 9 };
      await publisher.send({ ...to, contentType: 'application/json', headers }, Buffer.from('{"event_type": 9007199254740993}'));
      await publisher.close();
    });
    await service.line(({ event }) => event === 'Received a message that is no event of ours; dead-lettered');

    const listed = await events('dlq', 'list');
    assert.match(listed.stdout, /^poison-1 {2}.*attempts=1 {2}trace_id=trace-1 {2}breaks the schema: .+\n$/);
    assert.equal(listed.stderr, '1 in all.\n');
    const shown = JSON.parse((await events('dlq', 'show', 'poison-1')).stdout);
    assert.deepEqual([shown.headers, shown.properties.correlationId], [{ bell: '\u0007', number: 9 }, 'trace-1']);
    assert.equal((await events('dlq', 'show', 'poison-1', '--raw')).stdout, '{"event_type": 9007199254740993}');

    assert.equal((await events('dlq', 'redrive', 'another')).stdout, '0 of 1 on their way again.\n');
    const refused = await events('dlq', 'redrive', '--all');
    assert.match(refused.stderr, /^\d+ stays: it is no event of ours: .+\.\n$/);
    assert.deepEqual([refused.code, refused.stdout], [1, '0 of 1 on their way again.\n']);
    const states = (await events('subscriptions')).stdout;
    assert.match(states, /^rollcall\.user_events {2}source=queue {2}backlog=0 {2}lag=0\.0s {2}retries=0 {2}parked=0 {2}dead_letters=1\n$/);

    const unsure = await events('dlq', 'purge');
    assert.deepEqual([unsure.code, unsure.stdout, unsure.stderr], [1, '', 'This cannot be undone: say --yes.\n']);
    assert.equal((await events('dlq', 'erase', 'another')).stdout, '0 thrown away.\n');
    assert.equal((await events('dlq', 'erase', 'poison-1')).stdout, '1 thrown away.\n');
    assert.equal((await events('dlq', 'purge', '--yes')).stdout, '0 thrown away.\n');
  });

  test("shows the failed attempts of one request's events", async () => {
    await using service = await startService({ RUN: 'api' });
    await service.database.query(
      `insert into failed_attempt (subscription, event_id, event_type, trace_id, attempt, reason, failed_at)
       select 'mail', '01940a3e-5c00-7c48-9f25-e0b39a08fcaa', 'user.created', trace, 1, 'the host is away', '2026-01-01 00:00+00'
       from unnest(array['one', 'other']) as trace`,
    );
    const { stdout } = await commandFor(service)('attempts', 'one');
    assert.equal(
      stdout,
      '2026-01-01T00:00:00.000000Z  mail  user.created  01940a3e-5c00-7c48-9f25-e0b39a08fcaa  attempt=1  the host is away\n',
    );
  });

  test('redrives a dead letter', async () => {
    await using service = await startService();
    const events = commandFor(service);
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    const { json } = await service.call('GET', '/events/?limit=1');
    await service.database.query('delete from inbox');
    await service.database.query(
      `insert into dead_letter (message_id, event_id, event_type, trace_id, subject, version, attempts, reason, body)
       select event_id::text, event_id, event_type, trace_id, subject, 1, 5, 'it was full', convert_to($1, 'UTF8') from event`,
      [JSON.stringify(json.events[0])],
    );
    await service.database.query(`insert into dead_letter (message_id, attempts, reason, body) values ('poison', 1, 'no event', 'x')`);
    assert.match((await events('dlq', 'list')).stdout, /user\.created {2}attempts=5 {2}trace_id=\S+ {2}it was full\n/);
    const redriven = await events('dlq', 'redrive', '--all');
    assert.deepEqual(
      [redriven.stdout, redriven.stderr],
      ['1 of 2 on their way again.\n', '2 stays: it is no event of ours: the body is not JSON in UTF-8.\n'],
    );
    const received = () => service.lines.filter(({ event }) => event === `Received event user.created with user_id=${id}`);
    await service.line(() => received().length === 2);
    assert.equal((await events('dlq', 'purge', '--yes')).stdout, '1 thrown away.\n');
  });

  test('shows what waits in the outbox', async () => {
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

  test('ends a replay with a sentence if its events have expired, before or during it', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RUN: 'api' });
    await using pool = startPool(
      { url: service.database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 },
      1,
    );
    await fillLog(service, { events: 1200, bytesEach: 1 });
    const from = { position: '1', loggedAt: '1970-01-01T00:00:00.000000Z' };
    await withConnection(vhost.url, async (connection) => {
      await connection.queueDeclare({ queue: 'newcomer', exclusive: false, durable: true });
      let readings = 0;
      const expiring: Db = {
        query: async (text, values) => {
          if (text.includes('lateral')) readings += 1;
          if (readings === 2) await pool.query('update event_state set expired_position = 900');
          return pool.query(text, values);
        },
      };
      const options = { url: vhost.url, appName: 'test', queue: 'newcomer', from, onProgress: () => {} };
      await assert.rejects(replay(expiring, options), {
        code: 'cursor_expired',
        message: /^500 events were sent, and no more can be: Events after this cursor have expired\. /,
      });
    });
    const late = await commandFor(service, vhost.url)('replay', '--from', formatCursor(from), '--to-queue', 'newcomer');
    assert.deepEqual([late.code, late.stdout], [1, '']);
    assert.match(late.stderr, /^0 events were sent, and no more can be: Events after this cursor have expired\. .+\n$/);
  });

  test('ends with a sentence and code 1 on failure', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using service = await startService({ RUN: 'api' });
    const events = commandFor(service, vhost.url);
    const away = commandFor(service, 'amqp://guest:guest@127.0.0.1:1/');
    const inProcess = commandFor(service);
    const replay = ['replay', '--from', '2020-01-01', '--to-queue', 'nowhere'];
    const sentences = [
      [await away(...replay), /^RabbitMQ cannot be reached \(ECONNREFUSED\)/],
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
