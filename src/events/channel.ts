// A channel of RabbitMQ for one piece of work, as a command needs it: nothing is tried twice.
import { type Channel, Connection } from 'rabbitmq-client';

/** RabbitMQ is not there, or has not what was asked for; the message is a sentence for the operator. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError';
}

/** The channel confirms what is published on it. @throws BrokerError */
export async function withChannel<Result>(url: string, work: (channel: Channel) => Promise<Result>): Promise<Result> {
  const connection = new Connection({ url, acquireTimeout: 5000, connectionTimeout: 5000 });
  const failed = new Promise<never>((_, reject) => connection.on('error', reject));
  failed.catch(() => {});
  try {
    const channel = await Promise.race([connection.acquire({ emitErrorsFromChannel: true }), failed]).catch((error: unknown) => {
      const { code, message } = error as { code?: string; message: string };
      throw new BrokerError(`RabbitMQ cannot be reached (${code ?? message}): is it running, and is RABBITMQ_URL right?`, { cause: error });
    });
    // It also rejects what is under way, which is where it is told.
    channel.on('error', () => {});
    await channel.confirmSelect();
    try {
      return await work(channel);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === 'NOT_FOUND') throw new BrokerError(`RabbitMQ says: ${message}.`, { cause: error });
      throw error;
    } finally {
      await channel.close().catch(() => {});
    }
  } finally {
    if (connection.ready) await connection.close();
    else connection.unsafeDestroy();
  }
}
