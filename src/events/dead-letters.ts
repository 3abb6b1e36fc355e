// Events that the consumer gave up on: to look at, to send once more, to throw away. One face for the two places where they
// are, RabbitMQ's dead-letter queue and the table of the in-process broker.
import type { Channel, SyncMessage } from 'rabbitmq-client';
import type { Pool } from '../db/client.ts';
import { withChannel } from './channel.ts';
import { attemptsHeader, deadLetterQueue, definedOnly, queue, reasonHeader } from './topology.ts';

export type DeadLetter = {
  /** The event_id, or the message id of what was no event. */
  readonly id: string;
  readonly type: string;
  readonly traceId: string;
  readonly attempts: number;
  readonly reason: string;
  readonly body: unknown;
};

export type DeadLetters = {
  list(): Promise<DeadLetter[]>;
  /** Hands them to the consumer again, with all attempts before them. @returns how many of the ids were found */
  redrive(ids: ReadonlySet<string>): Promise<number>;
  /** @returns how many were thrown away */
  purge(): Promise<number>;
};

export function deadLettersInTable(pool: Pool): DeadLetters {
  return {
    async list() {
      const rows = await pool.query<Omit<DeadLetter, 'traceId'> & { trace_id: string }>(
        'select event_id as id, event_type as type, trace_id, attempts, reason, body from dead_letter order by dead_at',
      );
      return rows.map(({ trace_id: traceId, ...letter }) => ({ ...letter, traceId }));
    },
    async redrive(ids) {
      // As an event that came back and is due: the relay publishes it before any later one of its subject.
      const rows = await pool.query(
        `with gone as (
           delete from dead_letter where event_id::text = any($1) and exists (
             select from event where event.position = dead_letter.position and event.logged_at = dead_letter.logged_at
           ) returning position, logged_at, subject
         )
         insert into event_retry (position, logged_at, subject, attempts, retry_at)
         select position, logged_at, subject, 0, now() from gone
         returning position`,
        [[...ids]],
      );
      return rows.length;
    },
    purge: async () => (await pool.query('delete from dead_letter returning event_id')).length,
  };
}

export function deadLettersInRabbit(url: string): DeadLetters {
  /** Takes every letter that is there now, and gives back those that `settle` leaves. */
  async function each(settle: (letter: DeadLetter, message: SyncMessage, channel: Channel) => Promise<'gone' | 'stays'>): Promise<void> {
    await withChannel(url, async (channel) => {
      // Only those of now: one that is sent to the consumer again may be back before the last one is looked at.
      const { messageCount } = await channel.queueDeclare({ queue: deadLetterQueue, passive: true });
      const staying: SyncMessage[] = [];
      for (let looked = 0; looked < messageCount; looked += 1) {
        const message = await channel.basicGet(deadLetterQueue);
        if (message === undefined) break;
        if ((await settle(letterOf(message), message, channel)) === 'gone') channel.basicAck({ deliveryTag: message.deliveryTag });
        else staying.push(message);
      }
      for (const { deliveryTag } of staying) channel.basicNack({ deliveryTag, requeue: true });
    });
  }

  return {
    async list() {
      const letters: DeadLetter[] = [];
      await each(async (letter) => {
        letters.push(letter);
        return 'stays';
      });
      return letters;
    },
    async redrive(ids) {
      let count = 0;
      await each(async ({ id }, message, channel) => {
        if (!ids.has(id)) return 'stays';
        const { messageId, type, timestamp, correlationId, appId, contentType, headers, body } = message;
        const { [attemptsHeader]: _attempts, [reasonHeader]: _reason, ...kept } = headers ?? {};
        // Confirmed before it leaves here: a crash in between gives two, never none.
        await channel.basicPublish(
          {
            routingKey: queue,
            durable: true,
            ...definedOnly({ messageId, type, timestamp, correlationId, appId, contentType }),
            headers: kept,
          },
          body,
        );
        count += 1;
        return 'gone';
      });
      return count;
    },
    async purge() {
      let count = 0;
      await each(async () => {
        count += 1;
        return 'gone';
      });
      return count;
    },
  };
}

function letterOf({ messageId, type, correlationId, headers, body }: SyncMessage): DeadLetter {
  return {
    id: messageId ?? '',
    type: type ?? '',
    traceId: String(headers?.['trace_id'] ?? correlationId ?? ''),
    attempts: Number(headers?.[attemptsHeader] ?? 0),
    // What the broker itself gave up carries no reason of ours.
    reason: String(headers?.[reasonHeader] ?? `given up by RabbitMQ (${headers?.['x-first-death-reason'] ?? 'unknown'})`),
    body: Buffer.isBuffer(body) ? body.toString() : body,
  };
}
