// Sends a part of the log once more, to one queue that has missed it; nobody else hears of it.
import type { Db } from '../db/client.ts';
import { withChannel } from './channel.ts';
import { type Cursor, type LoggedEvent, positionsMax, readAfter, readBounds } from './log.ts';
import { envelopeOf } from './rabbitmq.ts';

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
 * @throws when the queue does not exist: nothing is sent then
 */
export async function replay(db: Db, { url, appName, queue, from, subject, onProgress }: ReplayOptions): Promise<number> {
  return withChannel(url, async (channel) => {
    // Passive: a name that was mistyped must not become a queue.
    await channel.queueDeclare({ queue, passive: true });
    const { end } = await readBounds(db);
    let sent = 0;
    for await (const batch of batches(db, from, subject, BigInt(end.position))) {
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
    return sent;
  });
}

async function* batches(db: Db, from: ReplayOptions['from'], subject: string | undefined, end: bigint): AsyncGenerator<LoggedEvent[]> {
  const since = 'since' in from ? from.since.getTime() : Number.NEGATIVE_INFINITY;
  let cursor: Cursor = 'since' in from ? { position: (await readBounds(db)).expiredPosition, loggedAt: from.since.toISOString() } : from;
  while (BigInt(cursor.position) < end) {
    const events = await readAfter(db, cursor, batchSize, { subject });
    yield events.filter(({ position, event }) => BigInt(position) <= end && Date.parse(event.occurred_at) >= since);
    const last = events.at(-1);
    if (events.length === batchSize && last !== undefined) cursor = last;
    else cursor = { position: (BigInt(cursor.position) + BigInt(positionsMax)).toString(), loggedAt: cursor.loggedAt };
  }
}
