// The consumer of one subscription: what is delivered, what waits for another attempt, and what the log holds and nobody delivered, one event of a subject at
// a time. An acknowledgement follows the commit.
import { setTimeout as sleep } from 'node:timers/promises';
import * as context from '../context.ts';
import type { Tx } from '../db/client.ts';
import { DatabaseUnavailableError } from '../db/unavailable.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Subscriber, Verdict } from './broker.ts';
import { type Delivery, textOf } from './contract/delivery.ts';
import type { EventDefinition } from './contract/envelope.ts';
import { attemptsHeader, reasonHeader } from './contract/topology.ts';
import { createIntake, type Taken } from './intake.ts';
import { createReconciliation } from './reconciliation.ts';
import { createSettlement, type SettlementParts, type Source, within } from './settlement.ts';
import * as deadLetters from './store/dead-letters.ts';
import * as inbox from './store/inbox.ts';
import type { LoggedEvent } from './store/log.ts';
import * as retries from './store/retries.ts';
import type { Subscription } from './subscriptions.ts';

/** A parked event is given up after it: nobody brings the version that knows it any more. */
const parkedHoursMax = 24;

export type ConsumerParts = Omit<SettlementParts, 'intake'> & {
  readonly subscription: Subscription;
  /** Every type of event that this version knows. */
  readonly definitions: readonly EventDefinition[];
  readonly appName: string;
  /** How long the broker has for a delivery, before the event is taken from the log. */
  readonly deliveryGraceMs: number;
  /** Nothing is begun after it, and the wait for a database that is away ends. */
  readonly stopping: AbortSignal;
};

export type Consumer = Subscriber & {
  /** Settles the next event of the log. @returns false where the service stops first */
  takeLogged(logged: LoggedEvent): Promise<boolean>;
  /** Takes up to `limit` of those that wait and are due. @returns how many it took */
  retryOnce(limit: number): Promise<number>;
  /**
   * Lets up to `limit` parked events of types that this version knows take their turn, and gives up those that no version has known
   * for a day. @returns how many
   */
  unparkOnce(limit: number): Promise<number>;
  /**
   * Looks at the next `limit` events of the log, and takes those that were published longer than `deliveryGraceMs` ago and are not
   * settled: the queue that had them is gone. @returns how many it looked at
   */
  reconcileOnce(limit: number): Promise<number>;
};

export function createConsumer(parts: ConsumerParts): Consumer {
  const { pool, subscription, deliveryGraceMs, metrics, log, stopping } = parts;
  const { name } = subscription;
  const findUnsettled = createReconciliation(pool, name, deliveryGraceMs);
  const intake = createIntake(subscription, parts.definitions, parts.appName);
  const { settle, park } = createSettlement({ ...parts, intake });
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
        // A database that is away says nothing about the event, and no other event could be handled either: the order is kept by waiting
        // here, and nothing is counted.
        const isAway = error instanceof DatabaseUnavailableError;
        if (!isAway) log.error({ error }, 'The consumer failed and tries again');
        const maxMs = isAway ? 2000 : 30_000;
        await sleep(backoffMs(failures, { firstMs: 50, maxMs }), undefined, { signal: stopping }).catch(() => {});
        if (stopping.aborted) return false;
      }
    }
  }

  /** What is no event of ours. @returns false when the service stops first */
  function giveUp({ violation, value, delivery }: Extract<Taken, { readonly violation: string }>): Promise<boolean> {
    const { properties, headers } = delivery;
    const { trace_id } = (value ?? {}) as { trace_id?: unknown };
    const traceId = textOf(headers['trace_id'], properties['correlationId'], trace_id);
    return context.run(context.createContext(traceId, textOf(headers['traceparent'])), async () => {
      const about = { subscription: name, attempts: 1, reason: `breaks the schema: ${violation}` };
      if (!(await persist(() => deadLetters.bury(pool, delivery, about)))) return false;
      metrics.deadLettered.inc();
      log.error({ reason: violation }, 'Received a message that is no event of ours; dead-lettered');
      return true;
    });
  }

  async function handle(delivery: Delivery): Promise<Verdict> {
    const taken = intake.read(delivery);
    if ('violation' in taken || 'ignored' in taken) return (await take(taken, 'delivery')) ? 'settled' : 'give back';
    const one = 'given' in taken ? taken.given : taken.unknown;
    return inOrder(one.subject, async () => {
      if (stopping.aborted || !delivery.isHeld()) return 'give back';
      return (await take(taken, 'delivery')) ? 'settled' : 'give back';
    });
  }

  function takeLogged(logged: LoggedEvent, source: Source): Promise<boolean> {
    return inOrder(logged.subject, () => take(intake.fromLog(logged), source));
  }

  /** @returns false when the service stops first */
  function take(taken: Taken, source: Source): Promise<boolean> {
    if ('given' in taken) return within(taken.given, () => persist(() => settle(taken.given, source)));
    if ('unknown' in taken) return within(taken.unknown, () => persist(() => park(taken.unknown)));
    return 'violation' in taken ? giveUp(taken) : Promise.resolve(true);
  }

  async function bury(delivery: Delivery): Promise<Verdict> {
    const taken = intake.read(delivery);
    const { [attemptsHeader]: counted, [reasonHeader]: ours, 'x-first-death-reason': theirs } = delivery.headers;
    const attempts = Number.isSafeInteger(counted) ? Number(counted) : 0;
    const about = { attempts, reason: textOf(ours) ?? `given up by RabbitMQ (${textOf(theirs) ?? 'no reason given'})` };
    let isKept = true;
    const isSettled = await persist(() =>
      pool.inTransaction(async (tx) => {
        const one = 'given' in taken ? taken.given : 'unknown' in taken ? taken.unknown : undefined;
        if (one !== undefined) {
          await inbox.lockSubject(tx, one);
          const { handled, dead } = await inbox.readState(tx, one);
          isKept = !handled && !dead;
        }
        if (isKept) await deadLetters.bury(tx, delivery, { subscription: name, ...one, ...about });
      }),
    );
    if (!isSettled) return 'give back';
    if (isKept) {
      metrics.deadLettered.inc();
      log.error({ reason: about.reason }, 'RabbitMQ gave up a message; dead-lettered');
    }
    return 'settled';
  }

  /** What an older version took for an event of ours, and is none, is given up. */
  async function retry({ eventId, subject, delivery }: retries.Waiting): Promise<void> {
    const taken = intake.read(delivery);
    if ('given' in taken) await take(taken, 'retry');
    // It was put off by a version that knows its type.
    else if ('unknown' in taken) await persist(() => pool.inTransaction((tx) => retries.park(tx, taken.unknown, delivery)));
    else await forget(taken, { eventId, subject });
  }

  async function unpark(parked: retries.Waiting): Promise<void> {
    const taken = intake.read(parked.delivery);
    if (!('given' in taken)) return forget(taken, parked);
    const { given } = taken;
    const subjects = [...new Set([given.subject, parked.subject])].sort().map((subject) => ({ subscription: name, subject }));
    await persist(() =>
      pool.inTransaction(async (tx) => {
        // In one order everywhere.
        for (const subject of subjects) await inbox.lockSubject(tx, subject);
        await retries.unpark(tx, given);
        for (const subject of subjects) await retries.promote(tx, subject);
      }),
    );
  }

  /** Takes out of those that wait what the subscription has no reaction to. */
  async function forget(taken: Taken, { eventId, subject }: Pick<retries.Waiting, 'eventId' | 'subject'>): Promise<void> {
    if ('violation' in taken && !(await giveUp(taken))) return;
    await persist(() => leave(subject, eventId));
  }

  async function giveUpParked({ eventId, subject, delivery }: retries.Waiting): Promise<void> {
    const taken = intake.read(delivery);
    const one = 'unknown' in taken ? taken.unknown : undefined;
    const reason = `no version that ran within ${parkedHoursMax} hours knew its type`;
    const about = { subscription: name, ...one, attempts: 0, reason };
    if (!(await persist(() => leave(subject, eventId, (tx) => deadLetters.bury(tx, delivery, about))))) return;
    metrics.deadLettered.inc();
    const tell = () => log.error({ event_id: eventId, reason }, 'Gave up a parked event; dead-lettered');
    if (one === undefined) tell();
    else within(one, tell);
  }

  function leave(subject: string, eventId: string, first?: (tx: Tx) => Promise<void>): Promise<void> {
    return pool.inTransaction(async (tx) => {
      await inbox.lockSubject(tx, { subscription: name, subject });
      await first?.(tx);
      await retries.leave(tx, { subscription: name, subject }, eventId);
    });
  }

  return {
    handle,
    bury,
    takeLogged: (logged) => takeLogged(logged, 'delivery'),
    async retryOnce(limit) {
      const due = await retries.readDue(pool, name, limit);
      await Promise.all(due.map((one) => inOrder(one.subject, () => retry(one))));
      return due.length;
    },
    async unparkOnce(limit) {
      const known = await retries.readParked(pool, name, intake.types, limit);
      const old = await retries.readParkedLong(pool, name, parkedHoursMax, limit);
      for (const one of known) await unpark(one);
      const given = new Set(known.map(({ eventId }) => eventId));
      for (const one of old) if (!given.has(one.eventId)) await giveUpParked(one);
      return known.length + old.length;
    },
    async reconcileOnce(limit) {
      const { looked, unsettled, advance } = await findUnsettled(limit);
      const settled = await Promise.all(unsettled.map((logged) => takeLogged(logged, 'log')));
      if (settled.every(Boolean)) await advance();
      return looked;
    },
  };
}
