// The consumer: what is delivered, what waits for another attempt, and what the log holds and nobody delivered, one event of a subject at
// a time. An acknowledgement follows the commit.
import { setTimeout as sleep } from 'node:timers/promises';
import * as context from '../context.ts';
import { DatabaseUnavailableError } from '../db/unavailable.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Subscriber, Verdict } from './broker.ts';
import * as deadLetters from './dead-letters.ts';
import { type Delivery, readBody, textOf } from './delivery.ts';
import type { Event } from './envelope.ts';
import * as inbox from './inbox.ts';
import { createReconciliation } from './reconciliation.ts';
import * as retries from './retries.ts';
import { createSettlement, type Given, type SettlementParts, within } from './settlement.ts';
import { attemptsHeader, reasonHeader } from './topology.ts';

export type ConsumerParts = SettlementParts & {
  /** Says why an event breaks its schema, if it does. */
  readonly faultOf: (event: unknown) => string | undefined;
  /** How long the broker has for a delivery, before the event is taken from the log. */
  readonly deliveryGraceMs: number;
  /** Nothing is begun after it, and the wait for a database that is away ends. */
  readonly stopping: AbortSignal;
};

export type Consumer = Subscriber & {
  /** Takes up to `limit` of those that wait and are due. @returns how many it took */
  retryOnce(limit: number): Promise<number>;
  /**
   * Looks at the next `limit` events of the log, and takes those that were published longer than `deliveryGraceMs` ago and are not
   * settled: the queue that had them is gone. @returns how many it looked at
   */
  reconcileOnce(limit: number): Promise<number>;
};

export function createConsumer(parts: ConsumerParts): Consumer {
  const { pool, faultOf, deliveryGraceMs, metrics, log, stopping } = parts;
  const findUnsettled = createReconciliation(pool, deliveryGraceMs);
  const { given, fromLog, settle } = createSettlement(parts);
  // The last event of each subject that is under way: the next one of that subject comes after it.
  const tails = new Map<string, Promise<unknown>>();

  async function inOrder<Result>(subject: string, work: () => Promise<Result>): Promise<Result> {
    const tail = (tails.get(subject) ?? Promise.resolve()).then(work, work);
    tails.set(subject, tail);
    try {
      return await tail;
    } finally {
      if (tails.get(subject) === tail) tails.delete(subject);
    }
  }

  /** Repeats a step until the database takes it. @returns false when the service stops first */
  async function persist(step: () => Promise<void>): Promise<boolean> {
    for (let failures = 1; ; failures += 1) {
      try {
        await step();
        return true;
      } catch (error) {
        // A database that is away is no fault of the event, and no other event could be handled either: the order is kept by waiting
        // here, and nothing is counted.
        const isAway = error instanceof DatabaseUnavailableError;
        if (!isAway) log.error({ error }, 'The consumer failed and tries again');
        const maxMs = isAway ? 2000 : 30_000;
        await sleep(backoffMs(failures, { firstMs: 50, maxMs }), undefined, { signal: stopping }).catch(() => {});
        if (stopping.aborted) return false;
      }
    }
  }

  function read({ body }: Delivery): { readonly event: Event } | { readonly fault: string; readonly value?: unknown } {
    const read = readBody(body);
    if ('unreadable' in read) return { fault: read.unreadable };
    const fault = faultOf(read.value);
    return fault === undefined ? { event: read.value as Event } : { fault, value: read.value };
  }

  /** What is no event of ours. */
  async function giveUp(delivery: Delivery, fault: string): Promise<Verdict> {
    const reason = `breaks the schema: ${fault}`;
    if (!(await persist(() => deadLetters.bury(pool, delivery, { attempts: 1, reason })))) return 'give back';
    metrics.deadLettered.inc();
    log.error({ reason: fault }, 'Received a message that is no event of ours; dead-lettered');
    return 'settled';
  }

  async function handle(delivery: Delivery): Promise<Verdict> {
    const { properties, headers } = delivery;
    const message = read(delivery);
    if ('fault' in message) {
      const { trace_id } = (message.value ?? {}) as { trace_id?: unknown };
      const traceId = textOf(headers['trace_id'], properties['correlationId'], trace_id);
      const trace = context.createContext(traceId, textOf(headers['traceparent']));
      return context.run(trace, () => giveUp(delivery, message.fault));
    }
    const one = given(message.event, delivery);
    return inOrder(one.subject, async () => {
      if (stopping.aborted || !delivery.isHeld()) return 'give back';
      return (await within(one, () => persist(() => settle(one, 'delivery')))) ? 'settled' : 'give back';
    });
  }

  async function bury(delivery: Delivery): Promise<Verdict> {
    const message = read(delivery);
    const { [attemptsHeader]: counted, [reasonHeader]: ours, 'x-first-death-reason': theirs } = delivery.headers;
    const attempts = Number.isSafeInteger(counted) ? Number(counted) : 0;
    const about = { attempts, reason: textOf(ours) ?? `given up by RabbitMQ (${textOf(theirs) ?? 'no reason given'})` };
    let isKept = true;
    const isSettled = await persist(() =>
      pool.inTransaction(async (tx) => {
        const one = 'fault' in message ? undefined : given(message.event, delivery);
        if (one !== undefined) {
          await inbox.lockSubject(tx, one.subject);
          const { handled, dead } = await inbox.readState(tx, one);
          isKept = !handled && !dead;
        }
        if (isKept) await deadLetters.bury(tx, delivery, { ...one, ...about });
      }),
    );
    if (!isSettled) return 'give back';
    if (isKept) {
      metrics.deadLettered.inc();
      log.error({ reason: about.reason }, 'RabbitMQ gave up a message; dead-lettered');
    }
    return 'settled';
  }

  async function retry({ eventId, subject, delivery }: retries.Due): Promise<void> {
    const message = read(delivery);
    if (!('fault' in message)) {
      const one = given(message.event, delivery);
      await within(one, () => persist(() => settle(one, 'retry')));
      return;
    }
    // By the rules of an older version of the service it was an event.
    if ((await giveUp(delivery, message.fault)) === 'give back') return;
    await persist(() =>
      pool.inTransaction(async (tx) => {
        await inbox.lockSubject(tx, subject);
        await retries.leave(tx, eventId, subject);
      }),
    );
  }

  return {
    handle,
    bury,
    async retryOnce(limit) {
      const due = await retries.readDue(pool, limit);
      await Promise.all(due.map((one) => inOrder(one.subject, () => retry(one))));
      return due.length;
    },
    async reconcileOnce(limit) {
      const { looked, unsettled, advance } = await findUnsettled(limit);
      const taken = unsettled.map(fromLog).filter((one): one is Given => one !== undefined);
      const settled = await Promise.all(
        taken.map((one) => inOrder(one.subject, () => within(one, () => persist(() => settle(one, 'log'))))),
      );
      if (settled.every(Boolean)) await advance();
      return looked;
    },
  };
}
