// A channel of RabbitMQ for one piece of work, as a command needs it: nothing is tried twice. And the end of a connection.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, Connection } from 'rabbitmq-client';
import { openConnection } from './connection.ts';
import { refusalOf } from './refusals.ts';
import { readRabbitUrl } from './url.ts';

/** RabbitMQ is not there, or has not what was asked for; the message is a sentence for the operator. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError';
}

/** Resolves when the connection is there. @throws BrokerError; the connection is then closed */
export async function reachable(connection: Connection): Promise<void> {
  const connected = new Promise<void>((resolve, reject) => {
    connection.once('connection', resolve);
    // It stays: without a listener a later error would end the process. What is under way is rejected too, which is where it is reported.
    connection.on('error', reject);
  });
  try {
    await connected;
  } catch (error) {
    connection.unsafeDestroy();
    throw new BrokerError(sentenceOf(error), { cause: error });
  }
}

function sentenceOf(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  const refusal = refusalOf(error, false);
  if (refusal !== undefined) return `${refusal.sentence} (${code})`;
  return `RabbitMQ cannot be reached (${code ?? message}): is it running, and is RABBITMQ_URL right?`;
}

/** The channel confirms what is published on it. @throws BrokerError */
export async function withChannel<Result>(url: string, work: (channel: Channel) => Promise<Result>): Promise<Result> {
  const connection = openConnection(readRabbitUrl(url));
  await reachable(connection);
  let channel: Channel | undefined;
  try {
    channel = await connection.acquire({ emitErrorsFromChannel: true });
    // It also rejects what is under way, which is where it is reported.
    channel.on('error', () => {});
    await channel.confirmSelect();
    const result = await work(channel).catch((error: unknown) => {
      const { code, message } = error as { code?: string; message: string };
      if (code === 'NOT_FOUND') throw new BrokerError(`RabbitMQ says: ${message}.`, { cause: error });
      throw refusalOf(error) === undefined ? error : new BrokerError(sentenceOf(error), { cause: error });
    });
    // Acknowledgements are not answered: they have arrived when the channel has closed.
    await channel.close();
    return result;
  } finally {
    await closeConnection(connection, async () => channel?.close());
  }
}

/** What a broker that answers needs to close channels and connection. */
const closeMsMax = 2000;

/** Neither one that is away nor one that is frozen holds up the end of the process. */
export async function closeConnection(connection: Connection, closeChannels: () => Promise<void>, msMax = closeMsMax): Promise<void> {
  if (!connection.ready) connection.unsafeDestroy();
  const closing = closeChannels().then(() => (connection.ready ? connection.close() : undefined));
  const late = new AbortController();
  await Promise.race([closing.catch(() => {}), sleep(msMax, undefined, { signal: late.signal }).catch(() => {})]);
  late.abort();
  connection.unsafeDestroy();
}
