// argon2id on the threads of libuv, which it shares with files and names of hosts: start.js asks for some more than there are cores.
import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { hash as hashAsync, verify as verifyAsync } from '@node-rs/argon2';

// Algorithm.Argon2id of the library, a const enum that type stripping cannot read.
const argon2id = 2;
export type HashCost = { readonly memoryKib: number; readonly passes: number };

export function hash(plain: string, { memoryKib, passes }: HashCost): Promise<string> {
  return hashAsync(plain, { algorithm: argon2id, memoryCost: memoryKib, timeCost: passes, parallelism: 1 });
}

export const verify: (hash: string, plain: string) => Promise<boolean> = verifyAsync;

/**
 * Lets the event loop and PostgreSQL go ahead of hashing, where the cores are too few for all. On Linux a thread has a priority of its
 * own; elsewhere there is none to set. Call it once the threads are there, that is after a hash.
 */
export function lowerPriority(): void {
  if (process.platform !== 'linux') return;
  for (const id of readdirSync('/proc/self/task')) {
    try {
      if (readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim() === 'libuv-worker') setPriority(Number(id), 5);
    } catch {
      // It has ended, or a container forbids it: hashing works all the same.
    }
  }
}
