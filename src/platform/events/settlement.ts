// What becomes of one event: it takes effect once, in the order of its subject's versions, or waits, or ends in the dead letters with its
// reason. The inbox row, the effect and their commit are one.
import * as context from '../context.ts';
import type { Pool, Tx } from '../db/client.ts';
import { DatabaseUnavailableError } from '../db/unavailable.ts';
import type { Logger } from '../telemetry/logger.ts';
import { textOf } from './contract/delivery.ts';
import type { Given, Intake, Unknown } from './intake.ts';
import type { EventMetrics } from './metrics.ts';
import * as deadLetters from './store/dead-letters.ts';
import * as failedAttempts from './store/failed-attempts.ts';
import * as inbox from './store/inbox.ts';
import type { LoggedEvent } from './store/log.ts';
import * as retries from './store/retries.ts';

export type SettlementParts = {
  readonly pool: Pool;
  readonly intake: Intake;
  /** The wait after each failed attempt; one more failure than there are waits, and the event is given up. */
  readonly retryDelaysMs: readonly number[];
  /** Called when an event waits for another attempt. */
  readonly onPutOff?: () => void;
  readonly metrics: EventMetrics;
  readonly log: Logger;
};

/** `log`: it was not delivered, or later than one after it. */
export type Source = 'delivery' | 'retry' | 'log';
/** `more`: earlier events of the subject were taken from the log, and others are left. */
type Settled = 'handled' | 'duplicate' | 'waits' | 'late' | 'stale' | 'more';

export type Settlement = {
  /** Settled when it resolves. @throws DatabaseUnavailableError, and what is a defect of ours; it is to be called again then */
  settle(given: Given, source: Source): Promise<void>;
  /** Keeps an event of an unknown type for a version that knows it. @throws as `settle` */
  park(unknown: Unknown): Promise<void>;
};

/** Events of the log that one transaction catches up with. */
const caughtUpMax = 100;

/** Says which event an effect failed on, so that this one is put off and not the one that was delivered. */
class EffectError extends Error {
  readonly given: Given;
  constructor(given: Given, cause: unknown) {
    super((cause as Error).message, { cause });
    this.given = given;
  }
}

export function createSettlement({ pool, intake, retryDelaysMs, onPutOff, metrics, log }: SettlementParts): Settlement {
  const claim = inbox.createClaims(pool);

  const missed = (logged: LoggedEvent) => {
    const taken = intake.fromLog(logged);
    return 'given' in taken ? taken.given : undefined;
  };

  async function apply(tx: Tx, one: Given): Promise<void> {
    try {
      await within(one, async () => one.reaction.effect?.(tx, one.event));
    } catch (error) {
      throw error instanceof DatabaseUnavailableError ? error : new EffectError(one, error);
    }
  }

  /** One transaction for the inbox row and the effect; the row alone is one as it is. */
  async function takeNext(one: Given): Promise<boolean> {
    if (one.reaction.effect === undefined) return claim(one);
    return pool.inTransaction(async (tx) => {
      const taken = await inbox.claimNext(tx, one);
      if (taken) await apply(tx, one);
      return taken;
    });
  }

  /** Decides about an event whose turn it not plainly is. @param caughtUp is given the events that were taken from the log */
  async function take(one: Given, source: Source, caughtUp: Given[]): Promise<Settled> {
    const { event_id } = one.event;
    return pool.inTransaction(async (tx) => {
      await inbox.lockSubject(tx, one);
      const { handled, dead, last, waiting, behind } = await inbox.readState(tx, one);
      if (handled || dead) {
        if (waiting !== undefined) await retries.leave(tx, one, event_id);
        return 'duplicate';
      }
      if (source === 'retry' ? waiting !== 'due' : waiting !== undefined) return 'duplicate';
      if (behind) {
        await retries.queue(tx, one, one.delivery);
        return 'waits';
      }
      if (last !== undefined && one.version <= last) {
        const isContained = one.reaction.laterContainsEarlier === true;
        if (!isContained)
          await deadLetters.bury(tx, one.delivery, { ...one, attempts: 1, reason: `version ${last} was handled before it` });
        await retries.leave(tx, one, event_id);
        return isContained ? 'stale' : 'late';
      }
      const missing = await inbox.findMissing(tx, one, last, missed);
      for (const earlier of missing.slice(0, caughtUpMax)) {
        if (!(await inbox.claim(tx, earlier))) continue;
        await apply(tx, earlier);
        caughtUp.push(earlier);
      }
      if (missing.length > caughtUpMax) return 'more';
      if (!(await inbox.claim(tx, one))) return 'duplicate';
      await apply(tx, one);
      await retries.leave(tx, one, event_id);
      return 'handled';
    });
  }

  /** Puts an event off, or gives it up. */
  async function fail({ given: one, message: reason, cause: error }: EffectError): Promise<void> {
    const { event_type, event_id } = one.event;
    const failed = await pool.inTransaction(async (tx) => {
      await inbox.lockSubject(tx, one);
      const { handled, dead } = await inbox.readState(tx, one);
      if (handled || dead) return undefined;
      const attempts = (await retries.attemptsOf(tx, one)) + 1;
      await failedAttempts.record(tx, one, attempts, reason);
      const delayMs = retryDelaysMs[attempts - 1];
      if (delayMs !== undefined) await retries.putOff(tx, one, one.delivery, delayMs, reason);
      else {
        await deadLetters.bury(tx, one.delivery, { ...one, attempts, reason });
        await retries.leave(tx, one, event_id);
      }
      return { attempts, delayMs };
    });
    if (failed === undefined) return;
    const { attempts, delayMs } = failed;
    const fields = { event_type, event_id, [one.name]: one.reaction.about(one.event).id, attempts, error };
    within(one, () => {
      if (delayMs === undefined) {
        metrics.deadLettered.inc();
        log.error(fields, `Gave up event ${event_type}; dead-lettered`);
      } else {
        metrics.retried.inc();
        onPutOff?.();
        log.warn({ ...fields, retry_in_ms: delayMs }, `Event ${event_type} failed and will be tried again`);
      }
    });
  }

  function tell(one: Given, settled: Settled, source: Source): void {
    const { event_type, event_id } = one.event;
    const { id } = one.reaction.about(one.event);
    const fields = { event_type, event_id, [one.name]: id };
    within(one, () => {
      if (settled === 'handled') {
        metrics.handled.inc();
        if (source === 'log') metrics.caughtUp.inc();
        log.info({ ...fields, ...(source === 'log' && { from: 'log' }) }, `Received event ${event_type} with ${one.name}=${id}`);
      } else if (settled === 'duplicate') {
        metrics.duplicate.inc();
        log.debug(fields, `Received event ${event_type} again`);
      } else if (settled === 'waits') {
        log.debug(fields, `Event ${event_type} waits behind an earlier one of ${one.name}=${id}`);
      } else if (settled === 'stale') {
        metrics.stale.inc();
        log.warn({ ...fields, version: one.version }, `Dropped event ${event_type}, which is older than what was handled`);
      } else if (settled === 'late') {
        metrics.deadLettered.inc();
        log.error({ ...fields, version: one.version }, `Event ${event_type} came after a later version; dead-lettered`);
      }
    });
  }

  async function settle(one: Given, source: Source): Promise<void> {
    for (;;) {
      const caughtUp: Given[] = [];
      try {
        const settled = source !== 'retry' && (await takeNext(one)) ? 'handled' : await take(one, source, caughtUp);
        for (const earlier of caughtUp) tell(earlier, 'handled', 'log');
        tell(one, settled, source);
        if (settled !== 'more') return;
      } catch (error) {
        if (error instanceof DatabaseUnavailableError) throw error;
        // Also at the commit, where an effect may still be refused.
        const failed = error instanceof EffectError ? error : new EffectError(one, error);
        await fail(failed);
        if (failed.given.event.event_id === one.event.event_id) return;
        // An earlier one from the log failed, and this one goes behind it.
      }
    }
  }

  async function park(unknown: Unknown): Promise<void> {
    const { event_type, event_id } = unknown.event;
    const isNew = await pool.inTransaction(async (tx) => {
      await inbox.lockSubject(tx, unknown);
      const { handled, dead, waiting } = await inbox.readState(tx, unknown);
      if (handled || dead || waiting !== undefined) return false;
      await retries.park(tx, unknown, unknown.delivery);
      return true;
    });
    if (!isNew) return;
    metrics.parked.inc();
    within(unknown, () =>
      log.warn({ event_type, event_id }, `Event ${event_type} is of a type that this version does not know; it waits for one that does`),
    );
  }

  return { settle, park };
}

/** Runs work in the context of the request that the event tells of. */
export function within<Result>({ event, delivery }: Unknown, work: () => Result): Result {
  return context.run(context.createContext(event.trace_id, textOf(delivery.headers['traceparent'])), work);
}
