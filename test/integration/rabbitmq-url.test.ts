// RABBITMQ_URL against a real RabbitMQ with TLS and a private certificate authority, over IPv4 and IPv6.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, before, suite, test } from 'node:test';
import { type PrivateRabbit, startPrivateRabbit } from '../../harness/rabbitmq.ts';
import { withChannel } from '../../src/platform/events/rabbitmq/channel.ts';
import { openConnection } from '../../src/platform/events/rabbitmq/connection.ts';
import { readRabbitUrl } from '../../src/platform/events/rabbitmq/url.ts';
import { type Certificates, createCertificates } from '../support/certificates.ts';
import { runNode } from '../support/process.ts';
import { startService } from '../support/service.ts';

let certificates: Certificates;
let rabbit: PrivateRabbit;
let credentials: string;
let port: number;

before(async () => {
  certificates = await createCertificates();
  rabbit = await startPrivateRabbit(certificates);
  const url = new URL(rabbit.url);
  credentials = `${url.username}:${url.password}`;
  port = Number(url.port);
});
after(async () => {
  await rabbit?.[Symbol.asyncDispose]();
  await certificates?.[Symbol.asyncDispose]();
});

/** What the management plugin says, or does. */
async function manage(method: string, path: string, body?: object): Promise<unknown> {
  const headers = { authorization: `Basic ${Buffer.from(credentials).toString('base64')}`, 'content-type': 'application/json' };
  const response = await fetch(`${rabbit.managementUrl}/api/${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  const text = await response.text();
  return text === '' ? undefined : JSON.parse(text);
}

/** @returns 'connected', or the code of the failure */
async function connect(url: string): Promise<string> {
  try {
    return await withChannel(url, async () => 'connected');
  } catch (error) {
    const { code } = (error as Error).cause as { code?: string };
    // The time limits for the connection and for its channel are the same.
    return code === 'TIMEOUT' ? 'CONNECTION_TIMEOUT' : (code ?? String(error));
  }
}

const query = (parameters: Record<string, string>) =>
  Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');

suite('amqps:// with a private certificate authority', () => {
  test('carries events from the change to the consumer, and shows a client certificate', async () => {
    const { ca, client } = certificates;
    const files = query({ cacertfile: ca, certfile: client.cert, keyfile: client.key, verify: 'verify_peer' });
    await using service = await startService({ RABBITMQ_URL: `amqps://${credentials}@localhost:${rabbit.tlsPort}?${files}` });
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    let connections: { ssl: boolean; peer_cert_subject: string | null }[] = [];
    // Its statistics come a little later than the connection.
    while (connections.length < 2 || connections.some(({ ssl }) => ssl === undefined))
      connections = (await manage('GET', 'connections')) as typeof connections;
    for (const { ssl, peer_cert_subject } of connections) assert.deepEqual([ssl, peer_cert_subject], [true, 'CN=Rollcall test client']);
  });

  test('is used by the commands too', async () => {
    const RABBITMQ_URL = `amqps://${credentials}@127.0.0.1:${rabbit.tlsPort}?${query({ cacertfile: certificates.ca })}`;
    await using service = await startService({ RABBITMQ_URL });
    const replay = ['replay', '--from', '2020-01-01', '--to-queue', 'nowhere'];
    const { stderr } = await runNode('src/cli/events.ts', { RABBITMQ_URL, DATABASE_URL: service.database.url }, replay);
    assert.match(stderr, /^RabbitMQ says: .*no queue 'nowhere'/);
  });

  test('refuses an untrusted server certificate, unless verify_none is set', async () => {
    const { ca, otherCa, server } = certificates;
    const cases: Record<string, string> = {
      [query({ cacertfile: ca })]: 'connected',
      [query({ cacertfile: ca, server_name_indication: 'localhost' })]: 'connected',
      '': 'SELF_SIGNED_CERT_IN_CHAIN',
      [query({ cacertfile: otherCa })]: 'SELF_SIGNED_CERT_IN_CHAIN',
      [query({ cacertfile: ca, server_name_indication: 'other.host' })]: 'ERR_TLS_CERT_ALTNAME_INVALID',
      'verify=verify_none': 'connected',
      [query({ cacertfile: ca, certfile: server.cert, keyfile: server.key })]: 'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
    };
    for (const [parameters, outcome] of Object.entries(cases))
      assert.equal(await connect(`amqps://${credentials}@127.0.0.1:${rabbit.tlsPort}?${parameters}`), outcome, parameters);
  });
});

suite('RABBITMQ_URL reaches', () => {
  test('an IPv6 address, with and without TLS', async () => {
    const loopbacks = networkInterfaces()['lo'] ?? networkInterfaces()['lo0'] ?? [];
    assert.ok(
      loopbacks.some(({ address }) => address === '::1'),
      'this test needs a machine with IPv6 on its loopback interface',
    );
    assert.equal(await connect(`amqp://${credentials}@[::1]:${port}`), 'connected');
    assert.equal(
      await connect(`amqps://${credentials}@[::1]:${rabbit.tlsPort}/%2f?${query({ cacertfile: certificates.ca })}`),
      'connected',
    );
    await using service = await startService({ RABBITMQ_URL: `amqp://${credentials}@[0:0::1]:${port}?channel_max=4` });
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
  });

  test('its virtual host and user, in any characters', async () => {
    const [vhost, user, password] = ['team/prod größe', 'a:b@c', 'p%/?#@:+ß 🔑'];
    await manage('PUT', `vhosts/${encodeURIComponent(vhost)}`);
    await manage('PUT', `users/${encodeURIComponent(user)}`, { password, tags: '' });
    await manage('PUT', `permissions/${encodeURIComponent(vhost)}/${encodeURIComponent(user)}`, {
      configure: '.*',
      write: '.*',
      read: '.*',
    });
    const url = `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@localhost:${port}/${encodeURIComponent(vhost)}`;
    await withChannel(url, (channel) => channel.queueDeclare({ queue: 'here', durable: true }));
    assert.deepEqual(
      ((await manage('GET', 'queues')) as { name: string; vhost: string }[])
        .filter(({ name }) => name === 'here')
        .map((queue) => queue.vhost),
      [vhost],
    );
    // Not the virtual host "team", nor the default one.
    assert.equal(await connect(url.replace('team%2Fprod', 'team')), 'NOT_ALLOWED');
  });

  test('the default virtual host by /%2F, by / and by no path', async () => {
    for (const path of ['/%2F', '/%2f', '/', ''])
      assert.equal(await connect(`amqp://${credentials}@localhost:${port}${path}`), 'connected');
  });

  test('a connection with its heartbeat and channel_max', async () => {
    const url = `amqp://${credentials}@localhost:${port}?heartbeat=7&channel_max=9`;
    const connection = openConnection(readRabbitUrl(url), { connectionName: 'asked' });
    try {
      await connection.onConnect();
      type Told = { client_properties: { connection_name?: string }; timeout?: number; channel_max?: number };
      let told: Told | undefined;
      while (told?.timeout === undefined)
        told = ((await manage('GET', 'connections')) as Told[]).find(
          ({ client_properties }) => client_properties.connection_name === 'asked',
        );
      assert.deepEqual([told.timeout, told.channel_max], [7, 9]);
    } finally {
      await connection.close();
    }
  });
});

suite('RABBITMQ_URL at a port where something else answers', () => {
  async function outcomeAt(server: Server, scheme: string, parameters = ''): Promise<string> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}?connection_timeout=500&${parameters}`;
    try {
      return await connect(url);
    } finally {
      server.close();
    }
  }

  test('is reported and never ends the process: HTTP, text, silence, TLS on one side only', async () => {
    const says = (text: string) => createServer((socket) => void socket.on('error', () => {}).write(text));
    const [cert, key] = await Promise.all([readFile(certificates.server.cert), readFile(certificates.server.key)]);
    const authority = query({ cacertfile: certificates.ca });
    assert.equal(await outcomeAt(createHttpServer(), 'amqp'), 'CONN_CLOSE');
    assert.equal(await outcomeAt(createHttpsServer({ cert, key }), 'amqps', authority), 'CONN_CLOSE');
    assert.equal(await outcomeAt(says('-ERR unknown command'), 'amqp'), 'CONNECTION_TIMEOUT');
    assert.equal(await outcomeAt(says('\xff'.repeat(100)), 'amqp'), 'CONNECTION_TIMEOUT');
    assert.equal(await outcomeAt(says(''), 'amqp'), 'CONNECTION_TIMEOUT');
    assert.equal(await connect(`amqp://${credentials}@127.0.0.1:${rabbit.tlsPort}`), 'ECONNRESET');
    assert.equal(await connect(`amqps://${credentials}@127.0.0.1:${port}`), 'EPROTO');
  });
});
