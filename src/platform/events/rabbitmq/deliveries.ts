// The consumer's side of RabbitMQ: one channel that takes deliveries, opened anew whenever it is lost. It ends without a cancel: RabbitMQ
// makes the next consumer active as soon as one cancels, while this one may still hold deliveries.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AsyncMessage, Channel, Connection, HeaderFields } from 'rabbitmq-client';
import { backoffMs } from '../../runtime/backoff.ts';
import { type Loop, startLoop } from '../../runtime/loop.ts';
import type { Handle } from '../broker.ts';
import type { Delivery } from '../contract/delivery.ts';
import { closeConnection } from './channel.ts';

export type SubscriptionOptions = {
  /** Declares what is consumed, on each channel anew. */
  readonly declare: (channel: Channel) => Promise<void>;
  readonly prefetch: number;
  readonly queues: Readonly<Record<string, Handle>>;
  readonly onReady: () => void;
  readonly onLost: (error: unknown) => void;
};

/**
 * Before a queue that was deleted is declared anew. RabbitMQ 3.10 tells consumers while it still deletes: a quorum queue that is declared
 * at that moment stays without a leader, and RabbitMQ rejects all that is published to it.
 */
const deletionMs = { least: 2000, most: 4000 };

/** Longest wait for what is under way, when it ends; every statement of an effect has a shorter limit. */
const settleMsMax = 5000;

export function startSubscription(connection: Connection, options: SubscriptionOptions): AsyncDisposable {
  const { declare, prefetch, queues, onReady, onLost } = options;
  const underWay = new Set<Promise<void>>();
  let channel: Channel | undefined;
  let stopping = false;
  let failures = 0;
  let openAt = 0;

  async function open(): Promise<void> {
    const fresh = await connection.acquire({ emitErrorsFromChannel: true });
    let isLost = false;
    const lose = (error: unknown) => {
      if (isLost) return;
      isLost = true;
      channel = undefined;
      if (!stopping) onLost(error);
      loop.wake();
    };
    fresh.on('error', lose);
    fresh.on('close', () => lose(new Error('the channel was closed')));
    // The queue was deleted. Deliveries of it are still acknowledged, to nobody.
    fresh.on('basic.cancel', (_tag, error) => {
      openAt = performance.now() + deletionMs.least + Math.random() * (deletionMs.most - deletionMs.least);
      lose(error);
      void fresh.close();
    });
    try {
      keepBytes(fresh);
      await declare(fresh);
      await fresh.basicQos({ prefetchCount: prefetch });
      channel = fresh;
      const acknowledge = createAcknowledgements(fresh);
      for (const [queue, handle] of Object.entries(queues)) {
        if (stopping) return;
        await fresh.basicConsume({ queue }, (message) => {
          const taking = take(fresh, message, handle, acknowledge).finally(() => underWay.delete(taking));
          underWay.add(taking);
        });
      }
    } catch (error) {
      isLost = true;
      channel = undefined;
      void fresh.close();
      throw error;
    }
    if (!isLost) onReady();
  }

  async function take(
    from: Channel,
    message: AsyncMessage,
    handle: Handle,
    acknowledge: (deliveryTag: number) => Promise<void>,
  ): Promise<void> {
    const verdict = await handle(deliveryOf(message, () => from.active && !stopping));
    // What is given back goes with its channel; on a channel that is gone it has gone already.
    if (verdict === 'settled') await acknowledge(message.deliveryTag);
  }

  const loop: Loop = startLoop(async () => {
    if (channel !== undefined || stopping) return 60_000;
    const waitMs = openAt - performance.now();
    if (waitMs > 0) return waitMs;
    try {
      await open();
      failures = 0;
      return 60_000;
    } catch (error) {
      if (!stopping) onLost(error);
      failures += 1;
      return backoffMs(failures, { firstMs: 250, maxMs: 5000 });
    }
  });

  return {
    async [Symbol.asyncDispose]() {
      stopping = true;
      const ended = loop[Symbol.asyncDispose]();
      await closeConnection(
        connection,
        async () => {
          await ended;
          await Promise.all(underWay);
          await channel?.close();
        },
        settleMsMax,
      );
      // Where the limit came first: the connection is gone now, and so is what it waited for.
      await ended;
    },
  };
}

/**
 * Acknowledges together what is settled in one turn of the event loop, as far as no earlier delivery is under way.
 * @returns a function that resolves when the acknowledgement is written
 */
function createAcknowledgements(channel: Channel): (deliveryTag: number) => Promise<void> {
  const settled = new Set<number>();
  /** Acknowledged ahead of earlier ones. */
  const ahead = new Set<number>();
  /** The tag up to which all are. RabbitMQ counts them from 1, without gaps, for each channel. */
  let done = 0;
  let flushing: Promise<void> | undefined;

  async function flush(): Promise<void> {
    await nextTurn();
    flushing = undefined;
    if (!channel.active) return;
    let last: number | undefined;
    while (settled.has(done + 1) || ahead.has(done + 1)) {
      done += 1;
      if (settled.delete(done)) last = done;
      else ahead.delete(done);
    }
    // RabbitMQ closes the channel for a tag that it does not wait for: never one that was acknowledged before.
    if (last !== undefined) channel.basicAck({ deliveryTag: last, multiple: true });
    for (const deliveryTag of settled) {
      channel.basicAck({ deliveryTag });
      ahead.add(deliveryTag);
    }
    settled.clear();
  }

  return (deliveryTag) => {
    settled.add(deliveryTag);
    flushing ??= flush();
    return flushing;
  };
}

function deliveryOf(message: AsyncMessage, isHeld: () => boolean): Delivery {
  const { body, headers = {}, consumerTag, deliveryTag, redelivered, exchange, routingKey, durable, ...properties } = message;
  const { [contentType]: type, ...others } = properties as typeof properties & { [contentType]?: string };
  return { body: body as Buffer, properties: { ...(type !== undefined && { contentType: type }), ...others }, headers, isHeld };
}

const contentType = Symbol('content type');

type ContentHeader = { readonly fields: HeaderFields & { [contentType]?: string | undefined } };

/**
 * The client parses a body by its content type and drops the bytes (rabbitmq-client 5, Channel._onBody). So the content type is put
 * aside before it looks; test/integration/consumer.test.ts, "byte for byte", fails where a new version of the client works otherwise.
 */
function keepBytes(channel: Channel): void {
  const inside = channel as unknown as { _onHeader(frame: ContentHeader): void };
  const original = inside._onHeader.bind(channel);
  inside._onHeader = (frame) => {
    frame.fields[contentType] = frame.fields.contentType;
    delete frame.fields.contentType;
    original(frame);
  };
}
