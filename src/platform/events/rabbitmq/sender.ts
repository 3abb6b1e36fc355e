// Sends messages one by one and tells what the broker says of each: confirmed and routed, or returned.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Channel, Connection, Envelope } from 'rabbitmq-client';

type Sent = 'routed' | { readonly returned: string };

export type Sender = {
  /** Resolves on the broker's confirm. `messageId` tells which message came back: without it, send one at a time. */
  send(envelope: Envelope, body: Buffer): Promise<Sent>;
  close(): Promise<void>;
};

/** One confirm channel, opened when it is first needed and again after it was lost. */
export function createSender(connection: Connection, declare: (channel: Channel) => Promise<void>, confirmTimeoutMs: number): Sender {
  let channel: Promise<Channel> | undefined;
  const returned = new Map<string, string>();

  function open(): Promise<Channel> {
    const opening = (async () => {
      const fresh = await connection.acquire({ emitErrorsFromChannel: true });
      // The error also rejects what is under way, which is where it is reported.
      fresh.on('error', () => {});
      fresh.on('close', () => forget(opening));
      fresh.on('basic.return', ({ messageId, replyText }) => {
        returned.set(messageId ?? '', replyText);
      });
      await fresh.confirmSelect();
      await declare(fresh);
      return fresh;
    })();
    channel = opening;
    return opening;
  }

  function forget(gone: Promise<Channel>): void {
    if (channel === gone) channel = undefined;
  }

  // Neither has a time limit of its own: under an alarm a confirm would wait until the alarm ends, a channel on a frozen
  // connection until the heartbeat fails.
  async function withinTime<Result>(what: 'confirm' | 'channel', answer: Promise<Result>): Promise<Result> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no ${what} within ${confirmTimeoutMs} ms`)), confirmTimeoutMs);
    });
    answer.catch(() => {});
    try {
      return await Promise.race([answer, timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async send(envelope, body) {
      const opening = channel ?? open();
      try {
        const ready = await withinTime('channel', opening);
        await withinTime('confirm', ready.basicPublish({ ...envelope, mandatory: true, durable: true }, body));
      } catch (error) {
        // A nack, or no answer in time: what else is under way on this channel is as uncertain, so all of it ends.
        forget(opening);
        opening.then((late) => late.close()).catch(() => {});
        throw error;
      }
      // The client resolves the confirm before it emits the return that came ahead of it.
      await nextTurn();
      const id = envelope.messageId ?? '';
      const reason = returned.get(id);
      returned.delete(id);
      return reason === undefined ? 'routed' : { returned: reason };
    },
    async close() {
      if (channel === undefined) return;
      const last = await withinTime('channel', channel).catch(() => undefined);
      await last?.close();
    },
  };
}
