// What RabbitMQ refuses until somebody acts: the service runs on, and the log and /ready name the cure.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite, test } from 'node:test';
import { createUser, createVhost } from '../../harness/management.ts';
import { startBrokerProxy } from '../../harness/rabbitmq.ts';
import { withChannel } from '../../src/platform/events/rabbitmq/channel.ts';
import { createRefusals } from '../../src/platform/events/rabbitmq/refusals.ts';
import { readRabbitUrl } from '../../src/platform/events/rabbitmq/url.ts';
import { captureLog, type Line } from '../support/log.ts';
import { runNode } from '../support/process.ts';
import { startService, type TestService } from '../support/service.ts';

const refused = ({ event }: Line) => event === 'RabbitMQ cannot be used as it is set up; events wait';

function brokerUrl(): string {
  return process.env['TEST_RABBITMQ_URL'] ?? '';
}

type Ready = { broker: string; broker_reason?: string };

/** What /ready says once PostgreSQL is there: a broker that refuses makes nobody unready. */
async function readiness(service: TestService): Promise<Ready> {
  for (;;) {
    const { status, json } = await service.call('GET', '/ready');
    if (json.database !== 'ok') continue;
    assert.equal(status, 200);
    return json as Ready;
  }
}

/** A service on this broker runs, takes users, and says the same in the log and on /ready. */
async function assertRefused(url: string, component: string, reason: RegExp): Promise<void> {
  await using service = await startService({ RABBITMQ_URL: url });
  await readiness(service);
  await service.createUser();
  const line = await service.line((each) => refused(each) && each['component'] === component && reason.test(String(each['reason'])));
  assert.match(String(line['reason']), /\.$/);
  const { broker, broker_reason } = await readiness(service);
  assert.equal(broker, 'refused');
  assert.match(broker_reason ?? '', reason);
  const { password } = readRabbitUrl(url);
  assert.ok(!service.text().includes(password));
}

suite('RabbitMQ that refuses', { concurrency: 2 }, () => {
  test('user and password', async () => {
    await using vhost = await createVhost(brokerUrl());
    const url = new URL(vhost.url);
    url.password = 'wr0ng-s3cret';
    await assertRefused(url.href, 'publisher', /does not accept the user and password of RABBITMQ_URL: correct them/);
  });

  test('the virtual host, which is missing', async () => {
    const url = new URL(brokerUrl());
    url.pathname = '/nobody-made-this';
    await assertRefused(url.href, 'consumer', /has no virtual host of the name in RABBITMQ_URL: correct the name, or make/);
  });

  test('the virtual host, on which the user has no permission', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using user = await createUser(vhost.url);
    await assertRefused(user.url, 'publisher', /may not use the virtual host: give it permissions/);
  });

  test('exchange and queue, for which a permission is missing', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using user = await createUser(vhost.url, { configure: '^$', write: '.*', read: '.*' });
    await assertRefused(user.url, 'publisher', /lacks a permission: give it configure, write and read/);
    await assertRefused(user.url, 'consumer', /lacks a permission/);
  });

  test('the exchange, which is there with another type', async () => {
    await using vhost = await createVhost(brokerUrl());
    await withChannel(vhost.url, (channel) => channel.exchangeDeclare({ exchange: 'user_events', type: 'fanout', durable: true }));
    await assertRefused(vhost.url, 'publisher', /of the same name with other properties: delete it/);
  });

  test('the queue, which is there as a classic one', async () => {
    await using vhost = await createVhost(brokerUrl());
    await withChannel(vhost.url, (channel) => channel.queueDeclare({ queue: 'rollcall.user_events', durable: true }));
    await assertRefused(vhost.url, 'consumer', /of the same name with other properties: delete it/);
  });

  test('only after an outage', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using proxy = await startBrokerProxy(vhost.url);
    await proxy.refuse();
    const url = new URL(proxy.url);
    url.password = 'wr0ng-s3cret';
    await using service = await startService({ RABBITMQ_URL: url.href });
    await service.line(({ event, reason }) => event === 'RabbitMQ connection lost' && reason === 'ECONNREFUSED');
    assert.equal((await readiness(service)).broker, 'away');
    await proxy.heal();
    assert.match(String((await service.line(refused))['reason']), /does not accept the user and password/);
  });

  test('until it is set right; no restart is needed', async () => {
    await using vhost = await createVhost(brokerUrl());
    await using user = await createUser(vhost.url);
    await using service = await startService({ RABBITMQ_URL: user.url });
    await service.line(refused);
    await readiness(service);
    const { id } = await service.createUser();
    await user.permit({ configure: '.*', write: '.*', read: '.*' });
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    assert.deepEqual(await readiness(service), { status: 'ready', database: 'ok', broker: 'ok' });
  });

  test('is reported by the commands in a sentence', async () => {
    await using service = await startService();
    const url = new URL(brokerUrl());
    url.password = 'wr0ng-s3cret';
    const env = { DATABASE_URL: service.database.url, RABBITMQ_URL: url.href };
    const replay = ['replay', '--from', '2020-01-01', '--to-queue', 'q'];
    const { code, stderr } = await runNode('src/cli/events.ts', env, replay);
    assert.equal(code, 1);
    assert.match(stderr, /^RabbitMQ does not accept the user and password of RABBITMQ_URL: [^\n]+ \(ACCESS_REFUSED\)\n$/);
  });
});

test("a port that was never RabbitMQ's is reported as a guess, with the usual ports", async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await using service = await startService({ RABBITMQ_URL: `amqp://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const line = await service.line(refused);
    assert.match(String(line['reason']), /answers as RabbitMQ does, or not in time: RabbitMQ listens at 5672, or 5671 with TLS/);
    const { broker, broker_reason } = await readiness(service);
    assert.deepEqual([broker, broker_reason], ['away', line['reason']]);
  } finally {
    server.close();
  }
});

suite('refusals', () => {
  const error = (code: string, message = code) => Object.assign(new Error(message), { code, name: 'AMQPConnectionError' });

  test("carry the server's own words, and none of the client's", () => {
    const { log, lines } = captureLog();
    const refusals = createRefusals(log);
    refusals.note('publisher', error('ACCESS_REFUSED', 'undefined: ACCESS_REFUSED - Login was refused using PLAIN.'));
    refusals.note('consumer', error('CONNECTION_TIMEOUT', 'connection timed out'), false);
    assert.deepEqual(
      lines.map(({ code, says }) => [code, says]),
      [
        ['ACCESS_REFUSED', 'ACCESS_REFUSED - Login was refused using PLAIN.'],
        ['CONNECTION_TIMEOUT', undefined],
      ],
    );
  });

  test('are logged at most once a minute for each component and cause', () => {
    const { log, lines } = captureLog();
    const refusals = createRefusals(log);
    for (let round = 0; round < 100; round += 1) {
      for (const component of ['publisher', 'consumer']) {
        refusals.note(component, error('ACCESS_REFUSED', 'ACCESS_REFUSED - Login was refused using PLAIN'));
        refusals.note(component, error('NOT_ALLOWED', "NOT_ALLOWED - vhost 'x' not found"));
        refusals.clear(component);
      }
    }
    assert.equal(lines.length, 4);
    assert.equal(refusals.current, undefined);
  });

  test('are not reported where waiting helps', () => {
    const { log, lines } = captureLog();
    const refusals = createRefusals(log);
    for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'CONNECTION_FORCED', 'TIMEOUT'])
      refusals.note('publisher', error(code), false);
    for (const code of ['CONN_CLOSE', 'ECONNRESET', 'CONNECTION_TIMEOUT', 'SOCKET_TIMEOUT']) refusals.note('publisher', error(code), true);
    refusals.note('publisher', error('NOT_ALLOWED', "NOT_ALLOWED - access to vhost 'x' refused for user 'y': vhost 'x' is down"));
    refusals.note('consumer', error('PRECONDITION_FAILED', 'PRECONDITION_FAILED - unknown delivery tag 1'));
    assert.deepEqual([lines, refusals.current], [[], undefined]);
  });
});
