// One run: the load goes on, the faults of a plan come and go, then everything is healed, drained and read.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { Fault, Part, Turn } from './fault.ts';
import type { History } from './history.ts';
import type { Loudness } from './instance.ts';
import type { Planned } from './schedule.ts';

/** From the first effect of a fault to its cure. In milliseconds since the run began. */
export type Window = { readonly fault: string; readonly startedAt: number; readonly endedAt: number };

export type Outcome = {
  readonly history: History;
  readonly windows: readonly Window[];
  /** Faults that cannot be injected here, with the reason. */
  readonly skipped: ReadonlyMap<string, string>;
  readonly drainMs: number;
  /** What no fault excuses. */
  readonly incidents: readonly string[];
  /** Promised times that were not kept. */
  readonly late: readonly string[];
  /** The most lines that one instance wrote about one component in one second. */
  readonly loudest: Loudness;
};

export type RunOptions = {
  /** The load goes on at least so long. */
  readonly seconds: number;
  /** How much of its full time a fault is held, from 0 to 1. */
  readonly scale: number;
  readonly signal: AbortSignal;
  readonly say: (words: string) => void;
};

/** Load before the first fault, and after the last. */
const calmMs = 3000;

export async function run(cluster: Cluster, plan: readonly Planned[], { seconds, scale, signal, say }: RunOptions): Promise<Outcome> {
  const { load, incidents, now } = cluster;
  const windows: Window[] = [];
  const late: string[] = [];
  const skipped = new Map<string, string>();
  const busy = new Map<Part, Promise<void>>();
  const running = new Set<Promise<void>>();
  // A fault that fails ends the run, and so the others.
  const failing = new AbortController();
  const ending = AbortSignal.any([signal, failing.signal]);
  const startedAt = now();
  const line = (fault: string, words: string) =>
    say(`${((now() - startedAt) / 1000).toFixed(1).padStart(7)} s  ${fault.padEnd(25)}  ${words}`);

  async function inject(fault: Fault, turn: Turn): Promise<void> {
    const reason = await fault.whyNot?.(cluster);
    if (reason !== undefined) {
      if (!skipped.has(fault.name)) line(fault.name, `SKIPPED: ${reason}`);
      skipped.set(fault.name, reason);
      return;
    }
    const beganAt = now();
    await fault.run(cluster, turn);
    windows.push({ fault: fault.name, startedAt: beganAt, endedAt: now() });
    line(fault.name, `healed after ${((now() - beganAt) / 1000).toFixed(1)} s`);
  }

  load.start();
  for (const { fault, at, turn } of plan) {
    await sleep(Math.max(0, startedAt + at * 1000 - now()), undefined, { signal: ending }).catch(() => {});
    await Promise.all(fault.claims.map((part) => busy.get(part)));
    if (ending.aborted) break;
    const injecting = inject(fault, {
      random: cluster.random.fork(`turn ${turn}`),
      signal: ending,
      quick: scale === 0,
      say: (words) => line(fault.name, words),
      hold: (full, least = 0) => sleep(1000 * Math.max(least, full * scale), undefined, { signal: ending }),
      broken: (words) => incidents.push(`${fault.name}: ${words}`),
      late: (words) => late.push(`${fault.name}: ${words}`),
    }).catch((error: unknown) => {
      // The first failure is the one to tell; the others follow from it.
      failing.abort(error);
    });
    running.add(injecting);
    void injecting.finally(() => running.delete(injecting));
    for (const part of fault.claims) busy.set(part, injecting);
  }
  await Promise.all(running);
  ending.throwIfAborted();
  await sleep(Math.max(calmMs, startedAt + seconds * 1000 - now()), undefined, { signal });
  await load.stop();
  await cluster.heal();
  line('', 'the load has ended, everything is healed; draining');
  const drainMs = await cluster.drain(signal);
  const loudest = cluster.instances.map((instance) => instance.loudest).reduce((one, other) => (other.lines > one.lines ? other : one));
  return { history: await cluster.readHistory(), windows, skipped, drainMs, incidents, late, loudest };
}
