// The relay: gives committed events their place in the log, then publishes the log. None counts as published before its
// confirm, none of a subject is sent before the one ahead of it is confirmed, and one relay is active over all instances.
import { setTimeout as sleep } from 'node:timers/promises';
import * as context from '../context.ts';
import type { Pool, Tx } from '../db/client.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Loop, startLoop } from '../runtime/loop.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createOutages } from '../telemetry/outages.ts';
import { atMostOnceAMinute } from '../telemetry/repeats.ts';
import type { Publisher } from './broker.ts';
import type { Event } from './contract/envelope.ts';
import type { EventMetrics } from './metrics.ts';
import { type Message, settleBatch, takeBatch } from './store/backlog.ts';
import * as log from './store/log.ts';

const batchSize = 500;
const sequenceSize = 2000;
/** A burst is in the log before its first batch is published, up to this many. */
const loggedMax = 20_000;
/** No further event of a batch is started after this; the transaction then ends well within its own idle limit. */
export const batchMs = 3000;
/** The hints of other processes wake it sooner, as long as they come. */
const pollMs = { shortest: 20, longest: 2000 };
/**
 * The rest after a round: a millisecond for each event that it found beyond the first, up to this. What comes in meanwhile shares the
 * next round: under load a round for each event would cost more than the event, and an event that comes alone waits for nothing.
 */
const restMsMax = 25;

export type RelayParts = {
  readonly pool: Pool;
  readonly publisher: Publisher;
  /** Says why an event breaks its schema, if it does. */
  readonly violationOf: (event: Event) => string | undefined;
  /** Called when events have got their place in the log. */
  readonly onLogged: () => void;
  readonly metrics: EventMetrics;
  readonly log: Logger;
};

export type Round = {
  /** Events that got their place in the log. */
  readonly logged: number;
  /** Events that the batch took from the log, whatever became of them. */
  readonly taken: number;
  /** The first failure that says nothing about its event: no confirm, no connection. */
  readonly failure?: unknown;
};

const nothing: Round = { logged: 0, taken: 0 };

/** One round: what is in the outbox goes into the log, and up to `limit` events of the log are published, and a share of those that were put off. */
export async function runOnce(parts: RelayParts, limit = batchSize): Promise<Round> {
  const { pool, publisher, onLogged } = parts;
  let logged = 0;
  let told = 0;
  function tell(): void {
    if (logged > told) onLogged();
    told = logged;
  }
  const batch = await pool.underLock(log.relayLock, async (tx, renew) => {
    for (;;) {
      const { moved, unpublished, retries } = await log.sequence(tx, sequenceSize);
      logged += moved;
      const isFull = moved === sequenceSize && logged < loggedMax;
      const isPublished = !publisher.ready || !(unpublished || retries);
      // Readers of the log do not wait for the broker.
      if ((isPublished && !isFull) || !(await renew())) return nothing;
      tell();
      if (!isFull) return publishBatch(tx, limit, retries, parts);
    }
  });
  tell();
  return { ...(batch ?? nothing), logged };
}

/** What the broker did with the events of a batch. */
type Sent = { readonly published: Message[]; readonly returned: Message[]; failure?: unknown };

async function publishBatch(tx: Tx, limit: number, withRetries: boolean, parts: RelayParts): Promise<Omit<Round, 'logged'>> {
  const batch = await takeBatch(tx, limit, withRetries);
  const sent = await send(batch.messages, parts);
  await settleBatch(tx, batch, sent);
  return {
    taken: batch.retries.length + batch.unpublished.events.length,
    ...(sent.failure !== undefined && { failure: sent.failure }),
  };
}

/** Subjects beside each other, the events of one in turn. */
async function send(messages: readonly Message[], parts: RelayParts): Promise<Sent> {
  const sent: Sent = { published: [], returned: [] };
  const startedAt = performance.now();
  const bySubject = Map.groupBy(messages, ({ subject }) => subject);
  await Promise.all(
    [...bySubject.values()].map(async (inOrder) => {
      try {
        for (const message of inOrder) {
          if (performance.now() - startedAt > batchMs || sent.failure !== undefined) return;
          const work = { traceId: message.event.trace_id, traceparent: message.traceparent };
          if (!(await context.run(work, () => publish(message, sent, parts)))) return;
        }
      } catch (error) {
        sent.failure ??= error;
      }
    }),
  );
  return sent;
}

/** @returns whether the next event of the subject may follow */
async function publish(message: Message, sent: Sent, { publisher, violationOf, metrics, log }: RelayParts): Promise<boolean> {
  const { event_type, event_id } = message.event;
  const violation = violationOf(message.event);
  const result = violation === undefined ? await publisher.publish(message) : { returned: `the event breaks its schema: ${violation}` };
  if (result === 'routed') {
    sent.published.push(message);
    metrics.published.inc();
    log.debug({ event_type, event_id }, `Published event ${event_type}`);
    return true;
  }
  sent.returned.push(message);
  metrics.unroutable.inc();
  atMostOnceAMinute(log, `${event_type} came back`, (count) => {
    log.warn({ event_type, event_id, reason: result.returned, count }, `Event ${event_type} was returned by the broker; will retry`);
  });
  return false;
}

/** Runs until disposed. Polls fast after work and slowly when idle; `wake` it after a commit in this process. */
export function startRelay(parts: RelayParts): Loop {
  const outages = createOutages(parts.log, 'relay', { lost: 'Relay interrupted; events wait', back: 'Relay publishes again' }, 'back');
  let failures = 0;
  // What a failed round sent is sent again: after one, an event goes ahead (and one of those put off), then twice as many each time.
  let limit = batchSize;
  let pauseMs: number = pollMs.shortest;

  async function step(): Promise<number> {
    try {
      const { logged, taken, failure } = await runOnce(parts, limit);
      if (failure !== undefined) throw failure;
      // Without a broker a round does nothing, and so mends nothing.
      if (parts.publisher.ready) {
        outages.back();
        failures = 0;
      }
      pauseMs = logged + taken > 0 ? pollMs.shortest : Math.min(pollMs.longest, pauseMs * 2);
      const full = taken >= limit;
      // Also by what came back: the broker has answered. Not by the empty rounds of an instance that stands by.
      if (taken > 0) limit = Math.min(batchSize, limit * 2);
      // A full batch has more behind it.
      if (full) return 0;
      if (logged > 1) await sleep(Math.min(restMsMax, logged - 1));
      return pauseMs;
    } catch (error) {
      outages.lost((error as Error).message);
      failures += 1;
      limit = 1;
      return backoffMs(failures, { firstMs: 50, maxMs: 2000 });
    }
  }
  return startLoop(step);
}
