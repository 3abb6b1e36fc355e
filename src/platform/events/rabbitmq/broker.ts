// RabbitMQ: the publisher on one connection, the subscription on another, so that a publisher that is blocked by an alarm
// never stops acknowledgements. Both reconnect by themselves; topology is declared anew on each connection.
import type { Connection } from 'rabbitmq-client';
import type { Logger } from '../../telemetry/logger.ts';
import { createOutages, type Outages } from '../../telemetry/outages.ts';
import type { Broker, Publisher, Subscriber } from '../broker.ts';
import { messageOf } from '../contract/envelope.ts';
import { deadLetterQueue, exchange, queue } from '../contract/topology.ts';
import type { LoggedEvent } from '../store/log.ts';
import { closeConnection } from './channel.ts';
import { createProbe, openConnection, type Probe } from './connection.ts';
import { startSubscription } from './deliveries.ts';
import { createRefusals, type Refusals } from './refusals.ts';
import { createSender } from './sender.ts';
import { type RabbitAddress, readRabbitUrl } from './url.ts';

export type RabbitSettings = {
  readonly url: string;
  readonly appName: string;
  readonly confirmTimeoutMs: number;
  /** Deliveries that the consumer holds at once. */
  readonly prefetch: number;
  /** What the service's own queue takes from the exchange (`bindingsOf`). */
  readonly bindings: readonly string[];
  /** Whether this process reads the service's own queue. */
  readonly consumes: boolean;
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
// What RabbitMQ itself gave up, on its way to the table of dead letters. RabbitMQ 4 would drop it after its default of twenty deliveries.
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

/** @throws RabbitUrlError */
export function createRabbitBroker(settings: RabbitSettings, log: Logger): Broker {
  const refusals = createRefusals(log);
  const address = readRabbitUrl(settings.url);
  const link = (purpose: Link['purpose']) => connect({ address, appName: settings.appName, purpose, refusals }, log);
  return {
    startPublisher: () => startPublisher(settings, link('publisher')),
    startSubscription: (subscriber) => subscribe(settings, subscriber, link('consumer')),
    get refusal() {
      return refusals.current;
    },
  };
}

type Target = {
  readonly address: RabbitAddress;
  readonly appName: string;
  readonly purpose: 'publisher' | 'consumer';
  readonly refusals: Refusals;
};
type Link = Target & { readonly connection: Connection; readonly outages: Outages; readonly probe: Probe };

function connect(target: Target, log: Logger): Link {
  const { address, appName, purpose, refusals } = target;
  const connection = openConnection(address, { connectionName: `${appName} ${purpose}`, retryLow: 250, retryHigh: 5000, noDelay: true });
  const outages = createOutages(log, purpose, { lost: 'RabbitMQ connection lost', back: 'RabbitMQ connected' });
  let connectedBefore = false;
  const noteRefusal = (error: unknown) => refusals.note(purpose, error, connectedBefore);
  const probe = createProbe(address, { connectionName: `${appName} ${purpose} probe` }, noteRefusal);
  connection.on('error', (error) => {
    outages.lost(describe(error));
    noteRefusal(error);
    probe.start();
  });
  connection.on('connection', () => {
    connectedBefore = true;
    refusals.clear(purpose);
    probe.stop();
  });
  const alarms = createOutages(log, purpose, { lost: 'RabbitMQ takes no messages', back: 'RabbitMQ takes messages again' }, 'back');
  connection.on('connection.blocked', alarms.lost);
  connection.on('connection.unblocked', alarms.back);
  // A connection that is lost under an alarm is never told of its end.
  connection.on('connection', alarms.back);
  return { ...target, connection, outages, probe };
}

// Errors of the client may quote the address; the code and the server's own words say enough.
function describe(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return code ?? message ?? 'unknown';
}

function startPublisher(settings: RabbitSettings, { connection, outages, probe, purpose, refusals }: Link): Publisher {
  connection.on('connection', outages.back);
  const sender = createSender(
    connection,
    async (channel) => {
      await channel.exchangeDeclare(exchangeDeclaration).catch((error: unknown) => {
        refusals.note(purpose, error);
        throw error;
      });
      refusals.clear(purpose);
      // An exchange that was made anew has lost its bindings. With another service's queue bound first, an event would count as
      // published that never reached ours. Not on this channel: a queue that is not there yet would end it.
      if (settings.consumes)
        for (const routingKey of settings.bindings) await connection.queueBind({ exchange, queue, routingKey }).catch(() => {});
    },
    settings.confirmTimeoutMs,
  );
  return {
    get ready() {
      return connection.ready;
    },
    publish: (message) => sender.send(envelopeOf(message, settings.appName), Buffer.from(JSON.stringify(message.event))),
    async [Symbol.asyncDispose]() {
      probe[Symbol.dispose]();
      await closeConnection(connection, sender.close);
    },
  };
}

/** An event on the wire. */
export function envelopeOf(logged: LoggedEvent, appName: string) {
  const { properties, headers } = messageOf(logged, appName);
  return { exchange, routingKey: logged.event.event_type, ...properties, headers };
}

function subscribe(settings: RabbitSettings, { handle, bury }: Subscriber, link: Link): AsyncDisposable {
  const { connection, outages, probe, purpose, refusals } = link;
  const subscription = startSubscription(connection, {
    prefetch: settings.prefetch,
    queues: { [queue]: handle, [deadLetterQueue]: bury },
    async declare(channel) {
      await channel.exchangeDeclare(exchangeDeclaration);
      await channel.queueDeclare(deadLetterDeclaration);
      await channel.queueDeclare(queueDeclaration);
      for (const routingKey of settings.bindings) await channel.queueBind({ exchange, queue, routingKey });
    },
    onReady() {
      outages.back();
      refusals.clear(purpose);
    },
    // Also for a queue that was deleted.
    onLost(error) {
      outages.lost(describe(error));
      refusals.note(purpose, error);
    },
  });
  return {
    async [Symbol.asyncDispose]() {
      probe[Symbol.dispose]();
      await subscription[Symbol.asyncDispose]();
    },
  };
}
