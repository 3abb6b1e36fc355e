// Reading all users, and what it does to everybody else.

import { createCaller, pace } from './load.ts';
import { residentMib } from './memory.ts';
import { quantile } from './row.ts';

/** Of others, beside the snapshot. */
const perSecond = 300;
const newline = 10;

type Run = { readonly signal: AbortSignal; readonly seconds: number };

/** @returns users a second of a reader that keeps up, from the first on */
export async function readSnapshot(url: string, { signal, seconds }: Run): Promise<number> {
  const ending = new AbortController();
  const response = await fetch(`${url}/users/snapshot`, { signal: AbortSignal.any([signal, ending.signal]) });
  if (response.body === null || response.status !== 200) throw new Error(`/users/snapshot was answered ${response.status}`);
  // The first line is the cursor.
  let lines = -1;
  const startedAt = performance.now();
  const endAt = startedAt + seconds * 1000;
  let at = startedAt;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    for (let from = chunk.indexOf(newline); from !== -1; from = chunk.indexOf(newline, from + 1)) lines += 1;
    at = performance.now();
    if (at >= endAt) break;
  }
  ending.abort();
  return (lines * 1000) / (at - startedAt);
}

/** @returns the p99 of GETs by id at a steady rate, in milliseconds */
export async function p99OfOthers(url: string, run: Run): Promise<number> {
  using caller = createCaller(url);
  const times = await pace({ ...run, perSecond }, (n) => caller.call({ method: 'GET', path: `/users/${1 + ((n * 7919) % 1000)}` }));
  return quantile(times, 0.99);
}

/** The same while snapshots are read, one after the other. */
export async function p99Beside(url: string, run: Run): Promise<number> {
  const ending = new AbortController();
  const signal = AbortSignal.any([run.signal, ending.signal]);
  const reading = (async () => {
    while (!signal.aborted) await readSnapshot(url, { signal, seconds: 3600 }).catch(() => {});
  })();
  try {
    return await p99OfOthers(url, run);
  } finally {
    ending.abort();
    await reading;
  }
}

/** @returns by how many MiB the process grew, at most, while a snapshot was read after others had been */
export async function growthMib({ url, pid }: { readonly url: string; readonly pid: number }, run: Run): Promise<number> {
  const before = await residentMib(pid);
  let most = before;
  const looking = setInterval(async () => {
    most = Math.max(most, await residentMib(pid).catch(() => 0));
  }, 200);
  try {
    await readSnapshot(url, run);
  } finally {
    clearInterval(looking);
  }
  return most - before;
}
