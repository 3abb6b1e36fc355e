// Waiting at the end of the log. However many wait, the end is looked at once for all, and not at all if nobody waits.
import type { Db } from '../db/client.ts';
import { type Loop, startLoop } from '../runtime/loop.ts';
import { isBefore } from './cursor.ts';
import { readBounds } from './log.ts';

/** Other instances may write the log; this process's own relay wakes the tail at once. */
const pollMs = 250;
const idleMs = 60_000;

export type Tail = AsyncDisposable & {
  /** Looks at once: the log has grown. */
  wake(): void;
  /** Resolves when the log has events after `position`, when `ms` are over, on abort, or when the tail is disposed. */
  waitAfter(position: string, ms: number, signal: AbortSignal): Promise<void>;
  readonly closing: boolean;
};

export function startTail(db: Db): Tail {
  const waiting = new Set<{ readonly position: string; readonly done: () => void }>();
  let closing = false;

  const loop: Loop = startLoop(async () => {
    if (waiting.size === 0) return idleMs;
    // A database that is away is no news; who waits is told by its own next query.
    const bounds = await readBounds(db).catch(() => undefined);
    if (bounds !== undefined) for (const waiter of [...waiting]) if (isBefore(waiter.position, bounds.end.position)) waiter.done();
    return waiting.size === 0 ? idleMs : pollMs;
  });

  return {
    wake: () => loop.wake(),
    waitAfter(position, ms, signal) {
      if (closing || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          signal.removeEventListener('abort', done);
          waiting.delete(waiter);
          resolve();
        };
        const timer = setTimeout(done, ms);
        const waiter = { position, done };
        signal.addEventListener('abort', done);
        waiting.add(waiter);
        loop.wake();
      });
    },
    get closing() {
      return closing;
    },
    async [Symbol.asyncDispose]() {
      closing = true;
      for (const { done } of [...waiting]) done();
      await loop[Symbol.asyncDispose]();
    },
  };
}
