// What is settled together is acknowledged together, in whatever order it was settled.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Connection } from 'rabbitmq-client';
import { createVhost } from '../../harness/management.ts';
import type { Verdict } from '../../src/platform/events/broker.ts';
import { startSubscription } from '../../src/platform/events/rabbitmq/deliveries.ts';

const queue = 'letters';
const count = 40;

async function start() {
  await using starting = new AsyncDisposableStack();
  const vhost = starting.use(await createVhost(process.env['TEST_RABBITMQ_URL'] ?? ''));
  const own = new Connection(vhost.url);
  starting.defer(() => own.close());
  await own.queueDeclare({ queue, durable: true, arguments: { 'x-queue-type': 'quorum' } });
  const publisher = own.createPublisher({ confirm: true });
  starting.defer(() => publisher.close());
  const held: ((verdict: Verdict) => void)[] = [];
  let onDelivery = () => {};
  const lost: unknown[] = [];
  const connection = new Connection(vhost.url);
  const subscription = startSubscription(connection, {
    declare: async () => {},
    prefetch: count,
    queues: {
      [queue]: () =>
        new Promise((resolve) => {
          held.push(resolve);
          onDelivery();
        }),
    },
    onReady: () => {},
    onLost: (error) => lost.push(error),
  });
  // No more than `count` are delivered that were not acknowledged.
  async function deliver(letters: number): Promise<void> {
    const last = held.length + letters;
    const { promise, resolve } = Promise.withResolvers<void>();
    onDelivery = () => held.length === last && resolve();
    for (let n = 0; n < letters; n += 1) await publisher.send(queue, String(n));
    await promise;
  }
  await deliver(count);
  const running = starting.move();
  return {
    held,
    lost,
    deliver,
    async left(letters: number) {
      while ((await own.queueDeclare({ queue, passive: true })).messageCount !== letters);
    },
    stop: () => subscription[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

suite('acknowledgements', { concurrency: true }, () => {
  const orders: Readonly<Record<string, (n: number) => number>> = {
    'in order': (n) => n,
    backwards: (n) => count - 1 - n,
    'every other first': (n) => (n < count / 2 ? 2 * n : 2 * (n - count / 2) + 1),
    'the first one last': (n) => (n + 1) % count,
  };
  for (const [title, place] of Object.entries(orders)) {
    for (const together of [1, 7, count]) {
      test(`${title}, ${together} at once: all are, and the channel stays`, async () => {
        await using queueOf = await start();
        for (let n = 0; n < count; n += 1) {
          queueOf.held[place(n)]?.('settled');
          if (n % together === together - 1) await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
        }
        await queueOf.deliver(count);
        for (const settle of queueOf.held) settle('settled');
        await queueOf.stop();
        assert.deepEqual(queueOf.lost, []);
      });
    }
  }

  test('a rejected message is not acknowledged with later ones', async () => {
    await using queueOf = await start();
    for (let n = 0; n < count; n += 1) queueOf.held[n]?.(n % 10 === 3 ? 'give back' : 'settled');
    await queueOf.deliver(0.9 * count);
    for (let n = count; n < 1.9 * count; n += 1) queueOf.held[n]?.('give back');
    await queueOf.stop();
    assert.deepEqual(queueOf.lost, []);
    await queueOf.left(count);
  });
});
