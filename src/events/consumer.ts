// The consumer: each event takes effect once. The inbox row, the effect and their commit are one; the acknowledgement
// follows it. A failing event is tried again with growing delays and then given up, with its reason, never in silence.
import { setTimeout as sleep } from 'node:timers/promises';
import * as context from '../context.ts';
import type { Pool, Tx } from '../db/client.ts';
import { Problem } from '../problem.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Delivery, Verdict } from './broker.ts';
import type { Event } from './envelope.ts';
import * as inbox from './inbox.ts';

/** What a feature does about its events. */
export type Reaction = {
  /** Its effect on the database, in the transaction of the inbox row. */
  effect?(tx: Tx, event: Event): Promise<void>;
  /** What the event tells of: the name and value of its id, and the version that the event made. */
  about(event: Event): { readonly name: string; readonly id: string | number; readonly version: number };
};

export type ConsumerParts = {
  readonly pool: Pool;
  /** One for each type of event that has a schema. */
  readonly reactions: Readonly<Record<string, Reaction>>;
  /** Says why an event breaks its schema, if it does. */
  readonly faultOf: (event: unknown) => string | undefined;
  /** The wait after each failed attempt; one more failure than there are waits, and the event is given up. */
  readonly retryDelaysMs: readonly number[];
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Ends the wait for a database that is away. */
  readonly stopping: AbortSignal;
};

/** @returns what a broker's subscription calls for each delivery; it never rejects */
export function createConsumer(parts: ConsumerParts): (delivery: Delivery) => Promise<Verdict> {
  const { faultOf, metrics, log } = parts;

  return (delivery) => {
    const { traceId, traceparent } = delivery;
    return context.run(context.createContext(traceId, traceparent), async () => {
      const fault = faultOf(delivery.body);
      if (fault !== undefined) {
        metrics.deadLettered.inc();
        log.error({ reason: fault }, 'Received a message that is no event of ours; dead-lettered');
        return { dead: `breaks the schema: ${fault}` };
      }
      return handle(delivery.body as Event, delivery.attempts, parts);
    });
  };
}

/** One transaction for the inbox row and the effect; the row alone is one as it is. */
async function take(event: Event, subject: string, version: number, { effect }: Reaction, pool: Pool): Promise<inbox.Claim> {
  if (effect === undefined) return inbox.claim(pool, event, subject, version);
  return pool.inTransaction(async (tx) => {
    const claim = await inbox.claim(tx, event, subject, version);
    if (claim === 'first') await effect(tx, event);
    return claim;
  });
}

async function handle(event: Event, attempts: number, parts: ConsumerParts): Promise<Verdict> {
  const { pool, reactions, retryDelaysMs, metrics, log, stopping } = parts;
  const { event_type, event_id } = event;
  const reaction = reactions[event_type];
  if (reaction === undefined) throw new Error(`no reaction to ${event_type}`);
  const { name, id, version } = reaction.about(event);
  for (let outages = 1; ; outages += 1) {
    try {
      const claim = await take(event, String(id), version, reaction, pool);
      const fields = { event_type, event_id, [name]: id };
      if (claim === 'first') {
        metrics.handled.inc();
        log.info(fields, `Received event ${event_type} with ${name}=${id}`);
      } else if (claim === 'duplicate') {
        metrics.duplicate.inc();
        log.debug(fields, `Received event ${event_type} again`);
      } else {
        metrics.stale.inc();
        log.warn({ ...fields, version }, `Dropped event ${event_type}, which is older than what was handled`);
      }
      return 'done';
    } catch (error) {
      // A database that is away is no fault of the event, and no other event could be handled either: the order is kept
      // by waiting here, and nothing is counted.
      if (error instanceof Problem && error.code === 'database_unavailable') {
        await sleep(backoffMs(outages, { firstMs: 50, maxMs: 2000 }), undefined, { signal: stopping }).catch(() => {});
        if (stopping.aborted) return 'give back';
        continue;
      }
      const reason = (error as Error).message;
      const retryInMs = retryDelaysMs[attempts];
      if (retryInMs === undefined) {
        metrics.deadLettered.inc();
        log.error({ event_type, event_id, attempts: attempts + 1, error }, `Gave up event ${event_type}; dead-lettered`);
        return { dead: reason };
      }
      metrics.retried.inc();
      log.warn(
        { event_type, event_id, attempts: attempts + 1, retry_in_ms: retryInMs, error },
        `Event ${event_type} failed and will be tried again`,
      );
      return { retryInMs };
    }
  }
}
