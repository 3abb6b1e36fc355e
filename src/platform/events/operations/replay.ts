// Sends a part of the log once more, to one queue that has missed it; nobody else hears of it.
import type { Db } from '../../db/client.ts';
import { Problem } from '../../problem.ts';
import { envelopeOf } from '../rabbitmq/broker.ts';
import { withChannel } from '../rabbitmq/channel.ts';
import { type Cursor, isBefore } from '../store/cursor.ts';
import type { LoggedEvent } from '../store/log.ts';
import { type Reading, readEnd, readLog } from '../store/reading.ts';

const batchSize = 500;

export type ReplayOptions = {
  readonly url: string;
  readonly appName: string;
  readonly queue: string;
  readonly from: Cursor | { readonly since: Date };
  readonly subject?: string | undefined;
  readonly onProgress: (sent: number) => void;
};

/**
 * Publishes every event from `from` to the end of the log as it is now, in order, straight to the queue, with confirms.
 * @throws when the queue does not exist: nothing is sent then; and cursor_expired, also where the log expires under it
 */
export async function replay(db: Db, { url, appName, queue, from, subject, onProgress }: ReplayOptions): Promise<number> {
  return withChannel(url, async (channel) => {
    // Passive: a name that was mistyped must not become a queue.
    await channel.queueDeclare({ queue, passive: true });
    const end = await readEnd(db);
    let sent = 0;
    try {
      for await (const batch of batches(db, from, subject, end)) {
        await Promise.all(
          batch.map((logged) =>
            channel.basicPublish(
              { ...envelopeOf(logged, appName), exchange: '', routingKey: queue, durable: true },
              Buffer.from(JSON.stringify(logged.event)),
            ),
          ),
        );
        sent += batch.length;
        onProgress(sent);
      }
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'cursor_expired') throw error;
      throw new Problem(error.kind, `${sent} events were sent, and no more can be: ${error.message}`, { cause: error });
    }
    return sent;
  });
}

async function* batches(db: Db, from: ReplayOptions['from'], subject: string | undefined, end: Cursor): AsyncGenerator<LoggedEvent[]> {
  const since = 'since' in from ? from.since.getTime() : Number.NEGATIVE_INFINITY;
  let cursor = 'since' in from ? undefined : from;
  do {
    const { events, next }: Reading = await readLog(db, cursor, batchSize, { subject });
    yield events.filter(({ position, event }) => !isBefore(end.position, position) && Date.parse(event.occurred_at) >= since);
    cursor = next;
  } while (isBefore(cursor.position, end.position));
}
