// Sends dead letters to the service's own queue on RabbitMQ once more. A letter counts as sent when RabbitMQ has confirmed it and the
// queue has it.

import { readRabbitUrl } from '../config/rabbitmq-url.ts';
import { BrokerError, closeConnection, reachable } from './channel.ts';
import { openConnection } from './connection.ts';
import type { Send } from './dead-letters.ts';
import { createSender } from './sender.ts';
import { attemptsHeader, queue, reasonHeader } from './topology.ts';

const confirmTimeoutMs = 5000;
/** Properties and headers have to fit one frame, which RabbitMQ makes 128 KiB long (frame_max). */
const frameBytesMax = 131_072;
const headersBytesMax = frameBytesMax - 4096;

/** An expiration would drop the letter unread, and RabbitMQ refuses a user id that is not that of the connection. */
const unsendable: ReadonlySet<string> = new Set(['expiration', 'userId', 'deliveryMode']);
/** Written by RabbitMQ and by former versions of this service about the death of the message. */
const aboutDeath = new RegExp(`^(x-(first-|last-)?death.*|x-delivery-count|${attemptsHeader}|${reasonHeader})$`);

/** @throws BrokerError where RabbitMQ cannot be reached */
export async function withSend<Result>(url: string, work: (send: Send) => Promise<Result>): Promise<Result> {
  const connection = openConnection(readRabbitUrl(url), { frameMax: frameBytesMax });
  await reachable(connection);
  const sender = createSender(connection, async () => {}, confirmTimeoutMs);
  try {
    return await work(async ({ body, properties, headers }) => {
      const { kept, leftOut } = sendable(headers);
      const envelope = Object.fromEntries(Object.entries(properties).filter(([name]) => !unsendable.has(name)));
      const sent = await sender.send({ ...envelope, routingKey: queue, headers: kept }, body);
      if (sent !== 'routed') throw new BrokerError(`RabbitMQ has no queue ${queue} (${sent.returned})`);
      return [...leftOut, ...Object.keys(properties).filter((name) => unsendable.has(name) && name !== 'deliveryMode')];
    });
  } finally {
    await closeConnection(connection, sender.close);
  }
}

/** What the client can encode as it was, the shortest headers first until the frame is full. */
function sendable(headers: Readonly<Record<string, unknown>>) {
  const kept: Record<string, unknown> = {};
  const leftOut: string[] = [];
  let bytes = 0;
  const sized = Object.entries(headers)
    .filter(([name]) => !aboutDeath.test(name))
    .map(([name, value]) => ({ name, value, text: JSON.stringify(value) }));
  for (const { name, value, text } of sized.sort((a, b) => a.text.length - b.text.length)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(text) + 16;
    if (bytes > headersBytesMax || /"\$(bytes|number|tooDeep)":/.test(text)) leftOut.push(name);
    else kept[name] = value;
  }
  return { kept, leftOut };
}
