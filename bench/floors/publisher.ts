// Publishes messages that the relay has published before, byte for byte, in a bare loop with confirms.
import { type Channel, Connection, type Envelope } from 'rabbitmq-client';
import { exchange } from '../../src/platform/events/contract/topology.ts';
import { answerQuestions, readInput } from './questions.ts';

export type PublisherQuestion = { readonly task: 'bind' | 'purge' | 'publish' } | { readonly task: 'collect'; readonly count: number };

/** As many as the relay has under way. */
const underWayMax = 500;
/** Of the type of the service's own queue. */
const queue = { queue: 'bench', durable: true, arguments: { 'x-queue-type': 'quorum' } } as const;

const { url } = readInput<{ url: string }>();
const connection = new Connection({ url, noDelay: true });
const channel: Channel = await connection.acquire();
await channel.confirmSelect();
let messages: { envelope: Envelope; body: Buffer }[] = [];

async function bind(): Promise<void> {
  await channel.exchangeDeclare({ exchange, type: 'topic', durable: true });
  await channel.queueDeclare(queue);
  await channel.queueBind({ exchange, queue: queue.queue, routingKey: '#' });
}

async function collect(count: number): Promise<void> {
  const taken: typeof messages = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const subscription = connection.createConsumer({ queue: queue.queue, queueOptions: queue, noAck: true }, ({ body, ...properties }) => {
    const { messageId, type, timestamp, correlationId, appId, contentType, headers, routingKey } = properties;
    const copied = Object.fromEntries(
      Object.entries({ messageId, type, timestamp, correlationId, appId, contentType, headers }).filter(([, value]) => value !== undefined),
    );
    taken.push({
      envelope: { ...copied, exchange, routingKey, durable: true, mandatory: true },
      body: Buffer.from(JSON.stringify(body)),
    });
    if (taken.length === count) resolve();
  });
  await promise;
  await subscription.close();
  messages = taken;
}

/** Confirmed messages a second. */
async function publish(): Promise<number> {
  const waiting = messages.values();
  const startedAt = performance.now();
  async function send(): Promise<void> {
    for (const { envelope, body } of waiting) await channel.basicPublish(envelope, body);
  }
  await Promise.all(Array.from({ length: underWayMax }, send));
  return (messages.length * 1000) / (performance.now() - startedAt);
}

answerQuestions(async (question: PublisherQuestion) => {
  switch (question.task) {
    case 'bind':
      await bind();
      return true;
    case 'purge':
      await channel.queuePurge(queue.queue);
      return true;
    case 'collect':
      await collect(question.count);
      return true;
    case 'publish':
      return publish();
  }
});
