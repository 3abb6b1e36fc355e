// The wire as any other service sees it: a durable queue of the harness's own on the exchange, read straight from the broker.
import { type AsyncMessage, Connection } from 'rabbitmq-client';
import type { Vhost } from '../harness/management.ts';
import type { Delivery } from './history.ts';

export const exchange = 'user_events';
export const serviceQueue = 'rollcall.user_events';
export const bindingKey = 'user.*';
/** Where the harness listens. */
export const wireQueue = 'chaos.wire';
const traceQueue = 'chaos.trace';
/** Queues that the service does not answer for. */
export const ownQueues: ReadonlySet<string> = new Set([wireQueue, traceQueue]);

export type Wire = AsyncDisposable & {
  readonly deliveries: readonly Delivery[];
  /** How many different events came. */
  readonly distinct: number;
  /** Puts a copy of the last message into the service's queue, `times` over, all at once. @returns its event id */
  repeatLast(times: number): Promise<string>;
  /** The first delivery to come that matches. */
  next(matches: (delivery: Delivery) => boolean, signal: AbortSignal): Promise<Delivery>;
};

const quorum = { durable: true, arguments: { 'x-queue-type': 'quorum' } } as const;

/** Resolves when both queues are there and bound. @param now milliseconds since the run began */
export async function openWire(vhost: Vhost, now: () => number): Promise<Wire> {
  const connection = new Connection({ url: vhost.url, connectionName: 'chaos', retryLow: 200, retryHigh: 1000, heartbeat: 5 });
  // It reconnects by itself.
  connection.on('error', () => {});
  const deliveries: Delivery[] = [];
  const seen = new Set<string>();
  const waiting = new Set<(delivery: Delivery) => void>();
  let last: AsyncMessage | undefined;

  function take(message: AsyncMessage, source: Delivery['source']): void {
    const { event_id, event_type, trace_id, data } = read(message.body);
    const delivery: Delivery = {
      eventId: event_id,
      eventType: event_type,
      traceId: trace_id,
      userId: data.user_id,
      version: data.version,
      name: data.user?.name,
      appId: message.appId,
      receivedAt: now(),
      source,
      redelivered: message.redelivered,
    };
    deliveries.push(delivery);
    seen.add(event_id);
    if (source === 'queue') last = message;
    for (const look of [...waiting]) look(delivery);
  }

  // Kept in memory before it is acknowledged. Declared and bound again with each connection.
  const consumers = [
    connection.createConsumer(
      {
        queue: wireQueue,
        queueOptions: quorum,
        exchanges: [{ exchange, type: 'topic', durable: true }],
        queueBindings: [{ exchange, routingKey: bindingKey }],
        qos: { prefetchCount: 500 },
      },
      (message) => take(message, 'queue'),
    ),
    // https://www.rabbitmq.com/docs/firehose: publish.<exchange>, the body as it was published. Silent while tracing is off.
    connection.createConsumer(
      {
        queue: traceQueue,
        queueOptions: quorum,
        queueBindings: [{ exchange: 'amq.rabbitmq.trace', routingKey: `publish.${exchange}` }],
        qos: { prefetchCount: 500 },
      },
      (message) => take(message, 'trace'),
    ),
  ];
  for (const consumer of consumers) consumer.on('error', () => {});
  const publisher = connection.createPublisher({ confirm: true });
  await Promise.all(consumers.map((consumer) => new Promise<void>((resolve) => consumer.once('ready', resolve))));

  return {
    deliveries,
    get distinct() {
      return seen.size;
    },
    async repeatLast(times) {
      if (last === undefined) throw new Error('no event has come yet');
      const { body, messageId, type, timestamp, correlationId, appId, contentType, headers } = last;
      const properties = { messageId, type, timestamp, correlationId, appId, contentType, headers, durable: true };
      const envelope = { ...JSON.parse(JSON.stringify(properties)), routingKey: serviceQueue };
      await Promise.all(Array.from({ length: times }, () => publisher.send(envelope, Buffer.from(JSON.stringify(body)))));
      return read(body).event_id;
    },
    next(matches, signal) {
      return new Promise((resolve, reject) => {
        const stop = () => {
          waiting.delete(look);
          signal.removeEventListener('abort', giveUp);
        };
        const giveUp = () => {
          stop();
          reject(signal.reason);
        };
        const look = (delivery: Delivery) => {
          if (!matches(delivery)) return;
          stop();
          resolve(delivery);
        };
        if (signal.aborted) return reject(signal.reason);
        signal.addEventListener('abort', giveUp);
        waiting.add(look);
      });
    },
    async [Symbol.asyncDispose]() {
      if (!connection.ready) connection.unsafeDestroy();
      await Promise.all([...consumers, publisher].map((part) => part.close().catch(() => {})));
      await connection.close();
    },
  };
}

type Body = {
  readonly event_id: string;
  readonly event_type: string;
  readonly trace_id: string;
  readonly data: { readonly user_id: number; readonly version: number; readonly user?: { readonly name: string } };
};

// The trace carries what the publisher's content type says in a header, so its body may come as bytes.
function read(body: unknown): Body {
  return (Buffer.isBuffer(body) ? JSON.parse(body.toString('utf8')) : body) as Body;
}
