// How many connections there may be, in all and of one address.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';
import { type Connection, connect } from '../support/socket.ts';

const request = 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n';
const ofAddress = 'Too many connections of one address; more are closed as they come';
const inAll = 'Too many connections; more are closed as they come';

async function assertServed(connection: Connection): Promise<void> {
  connection.write(request);
  assert.equal((await connection.answer()).status, 200);
}

async function assertClosed(url: string, from?: string): Promise<void> {
  using connection = await connect(url, from);
  await connection.ended;
}

// A connection that was closed is off the count as soon as the service has seen the end, which an answer to another does not say.
async function assertServedInTime(url: string, from?: string): Promise<void> {
  for (;;) {
    using connection = await connect(url, from);
    connection.write(request);
    const status = await connection.answer().then(
      (answer) => answer.status,
      () => 'closed',
    );
    if (status === 200) return;
  }
}

async function connections(service: TestService): Promise<number> {
  const { text } = await service.call('GET', '/metrics', undefined, { connection: 'close' });
  return Number(/^rollcall_http_connections (\d+)$/m.exec(text)?.[1]);
}

suite('connections', () => {
  test('above the limit of one address are closed at once with one log line, and other addresses are served', async () => {
    await using service = await startService({ HTTP_CONNECTIONS_PER_ADDRESS_MAX: '3' });
    await using stack = new AsyncDisposableStack();
    for (let n = 0; n < 3; n += 1) await assertServed(stack.use(await connect(service.url, '127.0.0.2')));
    for (let n = 0; n < 20; n += 1) await assertClosed(service.url, '127.0.0.2');
    for (const from of ['127.0.0.1', '127.0.0.3']) await assertServed(stack.use(await connect(service.url, from)));
    const lines = service.lines.filter(({ event }) => event === ofAddress);
    assert.deepEqual(
      lines.map(({ level, address, limit }) => [level, address, limit]),
      [['warn', '127.0.0.2', 3]],
    );
  });

  test('that end make room, however they end', async () => {
    await using service = await startService({ HTTP_CONNECTIONS_PER_ADDRESS_MAX: '5' });
    for (let round = 0; round < 20; round += 1) {
      const opened = await Promise.all(Array.from({ length: 5 }, () => connect(service.url, '127.0.0.2')));
      await Promise.all(opened.map(assertServed));
      await assertClosed(service.url, '127.0.0.2');
      for (const [n, connection] of opened.entries()) {
        if (n % 2 === 0) connection.reset();
        else connection.end();
        await connection.closed;
      }
      await assertServedInTime(service.url, '127.0.0.2');
    }
    while ((await connections(service)) !== 1);
  });

  test('of one address may be three quarters of all by default', async () => {
    await using service = await startService({ HTTP_CONNECTIONS_MAX: '8' });
    await using stack = new AsyncDisposableStack();
    for (let n = 0; n < 6; n += 1) await assertServed(stack.use(await connect(service.url, '127.0.0.2')));
    await assertClosed(service.url, '127.0.0.2');
    for (const from of ['127.0.0.3', '127.0.0.4']) await assertServed(stack.use(await connect(service.url, from)));
  });

  test('above HTTP_CONNECTIONS_MAX are closed at once, with one log line', async () => {
    await using service = await startService({ HTTP_CONNECTIONS_MAX: '4' });
    await using stack = new AsyncDisposableStack();
    for (const from of ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'])
      await assertServed(stack.use(await connect(service.url, from)));
    for (const from of ['127.0.0.5', '127.0.0.6', '127.0.0.1']) await assertClosed(service.url, from);
    const lines = service.lines.filter(({ event }) => event === inAll);
    assert.deepEqual(
      lines.map(({ level, limit }) => [level, limit]),
      [['warn', 4]],
    );
  });

  test('from TRUST_PROXY networks have only the overall limit', async () => {
    for (const TRUST_PROXY of ['127.0.0.2', '127.0.0.0/30', 'loopback', '10.0.0.0/8,::ffff:127.0.0.2']) {
      await using service = await startService({ HTTP_CONNECTIONS_PER_ADDRESS_MAX: '1', TRUST_PROXY });
      await using stack = new AsyncDisposableStack();
      for (let n = 0; n < 5; n += 1) await assertServed(stack.use(await connect(service.url, '127.0.0.2')));
    }
    await using service = await startService({ HTTP_CONNECTIONS_PER_ADDRESS_MAX: '1', TRUST_PROXY: 'linklocal,uniquelocal,127.0.0.3' });
    using only = await connect(service.url, '127.0.0.2');
    await assertServed(only);
    await assertClosed(service.url, '127.0.0.2');
  });

  test('of an IPv4 address are counted as one on a dual-stack socket', async () => {
    await using service = await startService({ HOST: '::', AUTH: 'off', HTTP_CONNECTIONS_PER_ADDRESS_MAX: '1', TRUST_PROXY: '127.0.0.7' });
    const url = service.url.replace('[::]', '127.0.0.1');
    using first = await connect(url, '127.0.0.2');
    using second = await connect(url, '127.0.0.3');
    using third = await connect(service.url.replace('[::]', '[::1]'));
    for (const connection of [first, second, third]) await assertServed(connection);
    await assertClosed(url, '127.0.0.2');
    assert.equal((await service.line(({ event }) => event === ofAddress))['address'], '127.0.0.2');
    using ofProxy = await connect(url, '127.0.0.7');
    using another = await connect(url, '127.0.0.7');
    for (const connection of [ofProxy, another]) await assertServed(connection);
  });
});
