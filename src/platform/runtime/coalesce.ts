// One run of a piece of work for all who ask for it at about the same time.

/**
 * @param keptMs how long a result is given to those who ask after it came; a failure is for those who asked before
 * @returns a function whose callers share the run that is under way, or the result of the last one
 */
export function coalesce<Result>(work: () => Promise<Result>, keptMs: number): () => Promise<Result> {
  let latest: Promise<Result> | undefined;
  let keptUntil = 0;
  return () => {
    if (latest !== undefined && performance.now() < keptUntil) return latest;
    keptUntil = Number.POSITIVE_INFINITY;
    latest = work();
    latest.then(
      () => {
        keptUntil = performance.now() + keptMs;
      },
      () => {
        keptUntil = 0;
      },
    );
    return latest;
  };
}

/** Work whose result stays for everybody; after a failure the next one who asks tries again. */
export const once = <Result>(work: () => Promise<Result>): (() => Promise<Result>) => coalesce(work, Number.POSITIVE_INFINITY);
