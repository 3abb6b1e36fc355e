// Which fault comes when: drawn from the seed before the run begins, so that the same seed gives the same order.
import type { Fault, Part } from './fault.ts';
import type { Random } from './random.ts';

/** `at` is the earliest moment, in seconds; a fault also waits for its parts, and for those planned before it to have begun. */
export type Planned = { readonly fault: Fault; readonly at: number; readonly turn: number };

/** How many faults may happen at once, if they have no part in common. */
const lanes = 2;
const warmUpSeconds = 3;

/** Every fault comes once before any comes twice. @param scale how much of its full time a fault is held, from 0 to 1 */
export function plan(faults: readonly Fault[], seconds: number, scale: number, random: Random): Planned[] {
  const planned: Planned[] = [];
  const freeAt = new Map<Part, number>();
  const running: number[] = [];
  let bag: Fault[] = [];
  let at = warmUpSeconds;
  for (let turn = 1; faults.length > 0; turn += 1) {
    if (bag.length === 0) bag = random.shuffle(faults);
    const fault = bag.shift() as Fault;
    const lane = running.length < lanes ? 0 : Math.min(...running);
    at = Math.max(at, lane, ...fault.claims.map((part) => freeAt.get(part) ?? 0)) + random.next();
    const endsAt = at + secondsOf(fault, scale);
    if (endsAt > seconds) break;
    planned.push({ fault, at, turn });
    for (const part of fault.claims) freeAt.set(part, endsAt);
    if (running.length >= lanes) running.splice(running.indexOf(lane), 1);
    running.push(endsAt);
  }
  return planned;
}

export function secondsOf({ seconds: [quick, full] }: Fault, scale: number): number {
  return Math.max(quick, full * scale);
}
