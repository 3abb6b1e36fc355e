// RabbitMQ: the publisher on one connection, the subscription on another, so that a publisher that is blocked by an alarm
// never stops acknowledgements. Both reconnect by themselves; topology is declared anew on each connection.
import { randomUUID } from 'node:crypto';
import { type AsyncMessage, type Connection, ConsumerStatus } from 'rabbitmq-client';
import type { Logger } from '../telemetry/logger.ts';
import { createOutages, type Outages } from '../telemetry/outages.ts';
import type { Broker, Delivery, Publisher, Verdict } from './broker.ts';
import { closeConnection } from './channel.ts';
import { openConnection } from './connection.ts';
import type { LoggedEvent } from './log.ts';
import { createSender } from './sender.ts';
import { attemptsHeader, deadLetterQueue, definedOnly, exchange, queue, reasonHeader, retryQueue } from './topology.ts';

export type RabbitSettings = {
  readonly url: string;
  readonly appName: string;
  readonly confirmTimeoutMs: number;
  /** Deliveries that the consumer holds at once. */
  readonly prefetch: number;
  /** Whether this process reads the service's own queue. */
  readonly consumes: boolean;
  /** Every delay that the consumer may ask for, since each has a queue of its own. */
  readonly retryDelaysMs: readonly number[];
};

/**
 * Redeliveries without an answer of ours until the broker gives the message up: the last resort against one that kills the
 * process each time. Each lost connection counts for all that were handed out, so it is far above any series of those.
 */
const deliveryLimit = 1000;

const quorum = { 'x-queue-type': 'quorum' } as const;
// Nothing may be dropped on its way to another queue: at-least-once needs reject-publish (RabbitMQ, quorum queues).
const safeDeadLettering = {
  'x-dead-letter-strategy': 'at-least-once',
  'x-overflow': 'reject-publish',
  'x-dead-letter-exchange': '',
} as const;

const exchangeDeclaration = { exchange, type: 'topic', durable: true };
// Looking at a dead letter is a delivery too; RabbitMQ 4 would drop it after its default of twenty.
const deadLetterDeclaration = { queue: deadLetterQueue, durable: true, arguments: { ...quorum, 'x-delivery-limit': 1_000_000_000 } };
const queueDeclaration = {
  queue,
  durable: true,
  arguments: {
    ...quorum,
    ...safeDeadLettering,
    'x-dead-letter-routing-key': deadLetterQueue,
    'x-delivery-limit': deliveryLimit,
    // One instance consumes, the others stand by: the order of one user's events holds over all instances.
    'x-single-active-consumer': true,
  },
};

const binding = { exchange, queue, routingKey: 'user.*' };

function retryDeclaration(delayMs: number) {
  const args = { ...quorum, ...safeDeadLettering, 'x-dead-letter-routing-key': queue, 'x-message-ttl': delayMs };
  return { queue: retryQueue(delayMs), durable: true, arguments: args };
}

export function createRabbitBroker(settings: RabbitSettings, log: Logger): Broker {
  return {
    startPublisher: () => startPublisher(settings, log),
    startSubscription: (handle) => startSubscription(settings, handle, log),
  };
}

function connect(settings: RabbitSettings, purpose: 'publisher' | 'consumer', log: Logger): { connection: Connection; outages: Outages } {
  const connection = openConnection(settings.url, {
    connectionName: `${settings.appName} ${purpose}`,
    retryLow: 250,
    retryHigh: 5000,
    noDelay: true,
  });
  const outages = createOutages(log, purpose, { lost: 'RabbitMQ connection lost', back: 'RabbitMQ connected' });
  connection.on('error', (error) => outages.lost(describe(error)));
  const alarms = createOutages(log, purpose, { lost: 'RabbitMQ takes no messages', back: 'RabbitMQ takes messages again' }, 'back');
  connection.on('connection.blocked', alarms.lost);
  connection.on('connection.unblocked', alarms.back);
  // A connection that is lost under an alarm is never told of its end.
  connection.on('connection', alarms.back);
  return { connection, outages };
}

// Errors of the client may quote the address; the code and the server's own words say enough.
function describe(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return code ?? message ?? 'unknown';
}

function startPublisher(settings: RabbitSettings, log: Logger): Publisher {
  const { connection, outages } = connect(settings, 'publisher', log);
  connection.on('connection', outages.back);
  const sender = createSender(
    connection,
    async (channel) => {
      await channel.exchangeDeclare(exchangeDeclaration);
      // An exchange that was made anew has lost its bindings. With another service's queue bound first, an event would count as
      // published that never reached ours. Not on this channel: a queue that is not there yet would end it.
      if (settings.consumes) await connection.queueBind(binding).catch(() => {});
    },
    settings.confirmTimeoutMs,
  );
  return {
    get ready() {
      return connection.ready;
    },
    publish: (message) => sender.send(envelopeOf(message, settings.appName), Buffer.from(JSON.stringify(message.event))),
    [Symbol.asyncDispose]: () => closeConnection(connection, sender.close),
  };
}

/** Properties and headers of an event on the wire. */
export function envelopeOf({ event, subject, traceparent }: LoggedEvent, appName: string) {
  return {
    exchange,
    routingKey: event.event_type,
    messageId: event.event_id,
    type: event.event_type,
    timestamp: Math.floor(Date.parse(event.occurred_at) / 1000),
    correlationId: event.trace_id,
    appId: appName,
    contentType: 'application/json',
    headers: {
      trace_id: event.trace_id,
      traceparent,
      // CloudEvents 1.0, AMQP protocol binding, binary mode; the underscore is the prefix for AMQP 0-9-1.
      cloudEvents_specversion: '1.0',
      cloudEvents_id: event.event_id,
      cloudEvents_source: `/${appName}`,
      cloudEvents_type: event.event_type,
      cloudEvents_subject: subject,
      cloudEvents_time: event.occurred_at,
    },
  };
}

function startSubscription(settings: RabbitSettings, handle: (delivery: Delivery) => Promise<Verdict>, log: Logger): AsyncDisposable {
  const { connection, outages } = connect(settings, 'consumer', log);
  const sender = createSender(
    connection,
    async (channel) => {
      for (const declaration of [deadLetterDeclaration, ...settings.retryDelaysMs.map(retryDeclaration)]) {
        await channel.queueDeclare(declaration);
      }
    },
    settings.confirmTimeoutMs,
  );
  const words = {
    lost: 'Events that failed cannot be put off; they are taken again at once',
    back: 'Events that failed are put off again',
  };
  const copies = createOutages(log, 'consumer', words, 'back');
  // The last delivery of each subject that is under way: the next one of that subject comes after it.
  const tails = new Map<string, Promise<unknown>>();

  async function inOrder<Result>(subject: string | undefined, work: () => Promise<Result>): Promise<Result> {
    if (subject === undefined) return work();
    const tail = (tails.get(subject) ?? Promise.resolve()).then(work, work);
    tails.set(subject, tail);
    try {
      return await tail;
    } finally {
      if (tails.get(subject) === tail) tails.delete(subject);
    }
  }

  async function settle(message: AsyncMessage): Promise<ConsumerStatus> {
    const delivery = deliveryOf(message);
    const verdict = await handle(delivery);
    if (verdict === 'done') return ConsumerStatus.ACK;
    if (verdict === 'give back') return ConsumerStatus.REQUEUE;
    // The copy is confirmed before the original is acknowledged: a crash in between gives two, never none.
    const target = 'dead' in verdict ? deadLetterQueue : retryQueue(verdict.retryInMs);
    const copy = copyFor(target, message, delivery.attempts + 1, 'dead' in verdict ? verdict.dead : undefined);
    const sent = await sender.send(copy, message.body).catch((error: unknown) => ({ returned: describe(error) }));
    if (sent === 'routed') {
      copies.back();
      return ConsumerStatus.ACK;
    }
    copies.lost(sent.returned);
    return ConsumerStatus.REQUEUE;
  }

  const subscription = connection.createConsumer(
    {
      queue,
      queueOptions: queueDeclaration,
      exchanges: [exchangeDeclaration],
      queueBindings: [binding],
      qos: { prefetchCount: settings.prefetch },
      requeue: true,
    },
    (message) => inOrder(deliveryOf(message).subject, () => settle(message)),
  );
  // Also for a queue that was deleted.
  subscription.on('error', (error) => outages.lost(describe(error)));
  subscription.on('ready', outages.back);

  return {
    [Symbol.asyncDispose]: () =>
      closeConnection(connection, async () => {
        await subscription.close();
        await sender.close();
      }),
  };
}

function deliveryOf({ body, headers, correlationId }: AsyncMessage): Delivery {
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return {
    body,
    subject: text(headers?.['cloudEvents_subject']),
    traceId: text(headers?.['trace_id']) ?? correlationId,
    traceparent: text(headers?.['traceparent']),
    attempts: Number(headers?.[attemptsHeader] ?? 0),
  };
}

function copyFor(target: string, message: AsyncMessage, attempts: number, reason: string | undefined) {
  const { messageId, type, timestamp, correlationId, appId, contentType, headers } = message;
  return {
    routingKey: target,
    messageId: messageId ?? randomUUID(),
    ...definedOnly({ type, timestamp, correlationId, appId, contentType }),
    headers: { ...headers, [attemptsHeader]: attempts, ...(reason !== undefined && { [reasonHeader]: reason }) },
  };
}
