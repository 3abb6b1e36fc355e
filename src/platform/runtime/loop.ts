// Runs a step again and again until told to stop; sleeps between steps, wakes at once when there is something to do.

export type Loop = AsyncDisposable & {
  /** Ends the present pause, or skips the next one. */
  wake(): void;
};

/**
 * @param step does one round and returns the pause until the next, in milliseconds; it must not throw
 */
export function startLoop(step: () => Promise<number>): Loop {
  let stopped = false;
  let woken = false;
  let endPause: (() => void) | undefined;

  async function pause(ms: number): Promise<void> {
    if (woken || stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    endPause = undefined;
  }

  async function turn(): Promise<void> {
    while (!stopped) {
      woken = false;
      await pause(await step());
    }
  }

  const turning = turn();
  return {
    wake() {
      woken = true;
      endPause?.();
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      endPause?.();
      await turning;
    },
  };
}
