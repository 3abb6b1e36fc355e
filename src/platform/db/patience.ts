// For work that has time: a database that is away is waited for.
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../runtime/backoff.ts';
import { DatabaseUnavailableError } from './unavailable.ts';

/** Tries until the database answers. @returns undefined when `signal` aborts before */
export async function patiently<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result | undefined> {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError)) throw error;
      await sleep(backoffMs(failures, { firstMs: 100, maxMs: 2000 }), undefined, { signal }).catch(() => {});
    }
  }
  return undefined;
}
