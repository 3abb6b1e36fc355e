// The end of the log, read once for everybody in this process who waits there, and not at all if nobody does. What was read
// last stays in memory for a while, so that whoever was busy with one batch need not read the next by itself.
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Db } from '../db/client.ts';
import { DatabaseUnavailableError } from '../db/unavailable.ts';
import { type Loop, startLoop } from '../runtime/loop.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createOutages } from '../telemetry/outages.ts';
import { type Cursor, isBefore } from './store/cursor.ts';
import type { LoggedEvent } from './store/log.ts';
import { type Reading, readLog } from './store/reading.ts';

/** Other instances may write the log; this process's own relay wakes the tail at once. */
const pollMs = 250;
const idleMs = 60_000;
const batchSize = 100;
const rememberedMax = 1000;
/** How many are woken in one turn of the event loop: each writes to its socket then, and requests must not wait for all of them. */
const wokenInTurn = 12;
/** Between two batches, so that thousands of readers do not cost a write for each event. */
const breakMsMax = 150;

/** Events that follow each other, read by one statement. */
export type Batch = { readonly after: Cursor; readonly events: readonly LoggedEvent[]; readonly next: Cursor };

export type Tail = AsyncDisposable & {
  /** Looks at once: the log has grown. */
  wake(): void;
  /**
   * The batch that holds the event after the cursor. `'end'` where the tail knows of none; undefined where its memory does not
   * reach back so far: the log does.
   */
  recall(cursor: Cursor): Batch | 'end' | undefined;
  /**
   * Waits at the end of the log for one reader, until `signal` aborts. The function resolves when the log has gone on after the
   * cursor, when the cursor means nothing any more, on abort, or when the tail is disposed.
   */
  follow(signal: AbortSignal): (cursor: Cursor) => Promise<void>;
  readonly closing: boolean;
};

/** What it takes of what is remembered. */
const sizeOf = (batch: Batch | undefined) => Math.max(1, batch?.events.length ?? 0);

type Waiter = { cursor: Cursor | undefined; resolve: () => void };

export function startTail(db: Db, log: Logger): Tail {
  const waiting = new Set<Waiter>();
  const stopping = new AbortController();
  const outages = createOutages(
    log,
    'tail',
    { lost: 'The event log cannot be read; streams wait', back: 'The event log can be read again' },
    'back',
  );
  let batches: Batch[] = [];
  let remembered = 0;
  /** Undefined while nobody waits: the first who does says where the end is. */
  let at: Cursor | undefined;

  async function step(): Promise<number> {
    const from = at ?? latest();
    if (waiting.size === 0 || from === undefined) {
      forget();
      return idleMs;
    }
    if (at === undefined) {
      at = from;
      await wakeThose(isBehind);
    }
    const reading = await read(from);
    if (reading === undefined || reading.next.position === from.position) return pollMs;
    const batch = { after: from, events: reading.events, next: reading.next };
    batches.push(batch);
    remembered += sizeOf(batch);
    while (remembered > rememberedMax) remembered -= sizeOf(batches.shift());
    at = reading.next;
    // Internal ones alone: nobody is woken for them, and whoever wakes later goes past them.
    if (batch.events.length === 0) return reading.next.position === reading.end.position ? pollMs : 0;
    const startedAt = performance.now();
    await wakeThose(isBehind);
    // Not shortened by wake: those who write most would be those who are woken most.
    await sleep(Math.min(breakMsMax, 2 * (performance.now() - startedAt)), undefined, { signal: stopping.signal }).catch(() => {});
    return reading.next.position === reading.end.position ? pollMs : 0;
  }

  async function read(from: Cursor): Promise<Reading | undefined> {
    try {
      const reading = await readLog(db, from, batchSize);
      outages.back();
      return reading;
    } catch (error) {
      if (error instanceof DatabaseUnavailableError) outages.lost(error.message);
      else {
        // As where the log is another one now. Everybody reads it with a cursor of their own, and gets the refusal.
        forget();
        await wakeThose(() => true);
      }
      return undefined;
    }
  }

  async function wakeThose(isDue: (cursor: Cursor) => boolean): Promise<void> {
    let woken = 0;
    for (const waiter of [...waiting]) {
      if (waiter.cursor === undefined || !isDue(waiter.cursor)) continue;
      settle(waiter);
      woken += 1;
      if (woken % wokenInTurn === 0) await nextTurn();
    }
  }

  function settle(waiter: Waiter): void {
    waiting.delete(waiter);
    waiter.cursor = undefined;
    waiter.resolve();
  }

  function forget(): void {
    at = undefined;
    batches = [];
    remembered = 0;
  }

  const isBehind = ({ position }: Cursor) => at !== undefined && isBefore(position, at.position);

  function latest(): Cursor | undefined {
    let last: Cursor | undefined;
    for (const { cursor } of waiting)
      if (last === undefined || (cursor !== undefined && isBefore(last.position, cursor.position))) last = cursor;
    return last;
  }

  const loop: Loop = startLoop(step);
  return {
    wake: () => loop.wake(),
    recall(cursor) {
      if (at === undefined || cursor.epoch !== at.epoch) return undefined;
      if (!isBefore(cursor.position, at.position)) return 'end';
      return batches.findLast(({ after, next }) => !isBefore(cursor.position, after.position) && isBefore(cursor.position, next.position));
    },
    follow(signal) {
      const waiter: Waiter = { cursor: undefined, resolve: () => {} };
      signal.addEventListener('abort', () => settle(waiter), { once: true });
      return (cursor) => {
        if (stopping.signal.aborted || signal.aborted || isBehind(cursor)) return Promise.resolve();
        return new Promise((resolve) => {
          Object.assign(waiter, { cursor, resolve });
          waiting.add(waiter);
          if (at === undefined) loop.wake();
        });
      };
    },
    get closing() {
      return stopping.signal.aborted;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      for (const waiter of [...waiting]) settle(waiter);
      await loop[Symbol.asyncDispose]();
    },
  };
}
