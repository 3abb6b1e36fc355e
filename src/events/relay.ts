// The relay: takes committed events out of the outbox and publishes them. None leaves the outbox before its confirm, none
// of a subject is sent before the one ahead of it is confirmed, and one relay is active over all instances.
import * as context from '../context.ts';
import type { Pool, Tx } from '../db/client.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { type Loop, startLoop } from '../runtime/loop.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Publisher } from './broker.ts';
import * as outbox from './outbox.ts';

const batchSize = 500;
/** No further event of a batch is started after this; the transaction then ends well within its own idle limit. */
const batchMs = 3000;
const pollMs = { shortest: 20, longest: 1000 };

export type RelayParts = {
  readonly pool: Pool;
  readonly publisher: Publisher;
  /** Says why an event breaks its schema, if it does. */
  readonly faultOf: (event: outbox.OutboxRow['event']) => string | undefined;
  readonly metrics: Metrics;
  readonly log: Logger;
};

export type Round = {
  readonly published: number;
  readonly putOff: number;
  /** The first failure that says nothing about its event: no confirm, no connection. */
  readonly failure?: unknown;
};

type Outcome = { readonly published: string[]; readonly putOff: string[]; failure?: unknown };

/** One batch: published, confirmed and removed, or left for the next round. */
export async function runOnce({ pool, publisher, faultOf, metrics, log }: RelayParts): Promise<Round> {
  if (!publisher.ready || !(await outbox.isDue(pool))) return { published: 0, putOff: 0 };
  return pool.inTransaction(async (tx: Tx) => {
    // Held until the transaction ends: with two relays at once, one could overtake the other within a user's events.
    if (!(await outbox.lockRelay(tx))) return { published: 0, putOff: 0 };
    const outcome: Outcome = { published: [], putOff: [] };
    const startedAt = performance.now();

    async function publish(row: outbox.OutboxRow): Promise<boolean> {
      const fault = faultOf(row.event);
      const result = fault === undefined ? await publisher.publish(row) : { returned: `the event breaks its schema: ${fault}` };
      const { event_type, event_id } = row.event;
      if (result === 'routed') {
        outcome.published.push(row.position);
        metrics.published.inc();
        log.debug({ event_type, event_id }, `Published event ${event_type}`);
        return true;
      }
      outcome.putOff.push(row.position);
      metrics.unroutable.inc();
      const level = row.attempts === 0 ? 'warn' : 'debug';
      log[level]({ event_type, event_id, reason: result.returned }, `Event ${event_type} came back and stays in the outbox`);
      return false;
    }

    async function publishInOrder(rows: readonly outbox.OutboxRow[]): Promise<void> {
      for (const row of rows) {
        if (performance.now() - startedAt > batchMs || outcome.failure !== undefined) return;
        const work = { traceId: row.event.trace_id, traceparent: row.traceparent };
        if (!(await context.run(work, () => publish(row)))) return;
      }
    }

    const bySubject = Map.groupBy(await outbox.nextBatch(tx, batchSize), ({ subject }) => subject);
    await Promise.all(
      [...bySubject.values()].map(async (rows) => {
        try {
          await publishInOrder(rows);
        } catch (error) {
          outcome.failure ??= error;
        }
      }),
    );
    // What was confirmed leaves even if others failed: sending it twice would help nobody.
    await outbox.remove(tx, outcome.published);
    await outbox.putOff(tx, outcome.putOff);
    return {
      published: outcome.published.length,
      putOff: outcome.putOff.length,
      ...(outcome.failure !== undefined && { failure: outcome.failure }),
    };
  });
}

/** Runs until disposed. Polls fast after work and slowly when idle; `wake` it after a commit in this process. */
export function startRelay(parts: RelayParts): Loop {
  let failures = 0;
  let pauseMs: number = pollMs.shortest;

  async function step(): Promise<number> {
    try {
      const { published, putOff, failure } = await runOnce(parts);
      if (failure !== undefined) throw failure;
      if (failures > 0) parts.log.info({ component: 'relay', failures }, 'Relay publishes again');
      failures = 0;
      pauseMs = published + putOff > 0 ? pollMs.shortest : Math.min(pollMs.longest, pauseMs * 2);
      // A full batch has more behind it.
      return published >= batchSize ? 0 : pauseMs;
    } catch (error) {
      if (failures === 0)
        parts.log.warn({ component: 'relay', reason: (error as Error).message }, 'Relay interrupted; events wait in the outbox');
      failures += 1;
      return backoffMs(failures, { firstMs: 50, maxMs: 2000 });
    }
  }
  return startLoop(step);
}
