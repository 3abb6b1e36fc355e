// The work of one hashing thread. Synchronous on purpose: the thread has nothing else to do.
import { hashSync, verifySync } from '@node-rs/argon2';

// Algorithm.Argon2id of the library, a const enum that type stripping cannot read.
const argon2id = 2;

export type HashCost = { readonly memoryKib: number; readonly passes: number };

export function hash({ plain, cost }: { plain: string; cost: HashCost }): string {
  return hashSync(plain, { algorithm: argon2id, memoryCost: cost.memoryKib, timeCost: cost.passes, parallelism: 1 });
}

export function verify({ hash, plain }: { hash: string; plain: string }): boolean {
  return verifySync(hash, plain);
}
