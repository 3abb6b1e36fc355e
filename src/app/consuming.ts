// The subscriptions at work: each with its consumer, its loops and, where it reads the log, connections of its own, so that a slow one
// holds up no other.
import { type ConnectionSettings, type Pool, startPool } from '../platform/db/client.ts';
import { DatabaseUnavailableError } from '../platform/db/unavailable.ts';
import type { Broker } from '../platform/events/broker.ts';
import { type ConsumerParts, createConsumer } from '../platform/events/consumer.ts';
import { createLogReader, settledAtOnce } from '../platform/events/log-reader.ts';
import * as failedAttempts from '../platform/events/store/failed-attempts.ts';
import * as inbox from '../platform/events/store/inbox.ts';
import type { Subscription } from '../platform/events/subscriptions.ts';
import { type Loop, startLoop } from '../platform/runtime/loop.ts';
import { atMostOnceAMinute } from '../platform/telemetry/repeats.ts';

export type ConsumingParts = Omit<ConsumerParts, 'subscription' | 'stopping' | 'pool'> & {
  readonly subscriptions: readonly Subscription[];
  readonly connection: ConnectionSettings;
  /** For the subscription that the queue feeds. */
  readonly pool: Pool;
  readonly broker: Broker;
};

export type Consuming = AsyncDisposable & {
  /** The log has grown. */
  wake(): void;
};

/** For what other processes put off, and hints that were missed. */
const pollMs = 1000;
const retryPollMs = { shortest: 500, longest: 2000 };

export function startConsuming(parts: ConsumingParts): Consuming {
  const { subscriptions, connection, pool, broker, log } = parts;

  const stack = new AsyncDisposableStack();

  /** Starts a loop that takes up to `limit` at a time, and goes on at once after a full round. */
  function repeat(once: (limit: number) => Promise<number>, limit: number, pauseMs: number | (() => number)): Loop {
    return stack.use(
      startLoop(async () => {
        if (await isFull(once, limit)) return 0;
        return typeof pauseMs === 'number' ? pauseMs : pauseMs();
      }),
    );
  }

  async function isFull(once: (limit: number) => Promise<number>, limit: number): Promise<boolean> {
    try {
      return (await once(limit)) >= limit;
    } catch (error) {
      // Not each time: the schema may be on its way, made by another instance.
      if (!(error instanceof DatabaseUnavailableError))
        atMostOnceAMinute(log, 'round of the consumer', (count) => log.error({ error, count }, 'The consumer failed and tries again'));
      return false;
    }
  }

  const readers: Loop[] = [];
  for (const subscription of subscriptions) {
    const stopping = new AbortController();
    const own = subscription.source === 'queue' ? pool : stack.use(startPool(connection, settledAtOnce));
    let pauseMs = retryPollMs.longest;
    function onPutOff(): void {
      pauseMs = retryPollMs.shortest;
      retrying.wake();
    }
    const consumer = createConsumer({ ...parts, subscription, pool: own, stopping: stopping.signal, onPutOff });
    if (subscription.source === 'queue') {
      stack.use(broker.startSubscription(consumer));
      repeat(consumer.reconcileOnce, 1000, 5000);
    } else {
      const locks = stack.use(startPool(connection, 1));
      const reader = createLogReader(locks, subscription.name, consumer.takeLogged);
      readers.push(repeat(reader.readOnce, 100, pollMs));
    }
    async function retryOnce(limit: number): Promise<number> {
      const taken = await consumer.retryOnce(limit);
      // Those behind one that was settled are due now.
      pauseMs = taken > 0 ? retryPollMs.shortest : Math.min(retryPollMs.longest, pauseMs * 2);
      return taken;
    }
    const retrying = repeat(retryOnce, 20, () => pauseMs);
    repeat(consumer.unparkOnce, 100, 5000);
    stack.defer(() => stopping.abort());
  }
  repeat((limit) => inbox.prune(pool, inbox.inboxDays, limit), 1000, 60_000);
  repeat((limit) => failedAttempts.prune(pool, inbox.inboxDays, limit), 1000, 60_000);
  return {
    wake() {
      for (const reader of readers) reader.wake();
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
