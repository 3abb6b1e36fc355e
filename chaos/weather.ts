// Bad weather on some networks while something happens, and good weather after it.
import { setInterval as every } from 'node:timers/promises';
import type { Network } from '../harness/network.ts';

/** A run that is broken off is not mended: its end takes everything away. */
export async function during(
  networks: readonly Network[],
  begin: (network: Network) => unknown,
  work: () => Promise<unknown>,
): Promise<void> {
  for (const network of networks) await begin(network);
  await work();
  for (const network of networks) await network.heal();
}

/** Resets every open connection each `ms` until `work` is done. @returns how many were reset */
export async function resetEach(ms: number, networks: readonly Network[], work: () => Promise<unknown>): Promise<number> {
  const done = new AbortController();
  const working = work().finally(() => done.abort());
  let resets = 0;
  try {
    for await (const _ of every(ms, undefined, { signal: done.signal })) for (const network of networks) resets += network.reset();
  } catch {
    // The signal ends it.
  }
  await working;
  return resets;
}
