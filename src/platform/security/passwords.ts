// Passwords: argon2id in PHC strings, made on other threads, so that hashing never holds up another request.
import { availableParallelism } from 'node:os';
import { Problem, problems } from '../problem.ts';
import { type Caller, createTurns, type Refusal, TurnRefused } from '../runtime/turns.ts';
import { type HashCost, hash, lowerPriority, verify } from './argon2.ts';

/** The first choice of OWASP's Password Storage Cheat Sheet for argon2id: 19 MiB, two passes, one lane. */
export const recommendedCost: HashCost = { memoryKib: 19_456, passes: 2 };

export type Passwords = AsyncDisposable & {
  /**
   * @param caller takes turns with the others; left out for work that waits as long as it has to
   * @returns a PHC string with a salt of its own
   */
  hash(plain: string, caller?: Caller): Promise<string>;
  verify(hash: string, plain: string, caller?: Caller): Promise<boolean>;
  /** Calls that wait for a thread. */
  readonly waiting: number;
};

// About two seconds of work for each thread: a caller who waits longer would have given up.
const waitingPerThread = 100;
const waitMsMax = 2000;
const fewPerThread = 10;
const waitMsMaxOfFew = 10_000;
/** A hash takes some 20 ms, the dearest verify half a second on one core; the rest is for a machine that is busy. */
const taskMsMax = 10_000;

const refusals: Readonly<Record<Refusal, () => Problem>> = {
  full: () => overloaded('Too many passwords wait to be hashed. Try again later.'),
  late: () => overloaded('Too many passwords wait to be hashed; this one waited as long as any may. Try again later.'),
  closed: () => overloaded('The service is stopping. Try again later.'),
  // Nobody reads it.
  gone: () => new Problem(problems.malformed_request, 'The caller left before the password was hashed.'),
};

function overloaded(detail: string): Problem {
  return new Problem(problems.overloaded, detail, { headers: { 'retry-after': '2' } });
}

export function startPasswords(cost: HashCost = recommendedCost, limits = { waitMsMax, waitMsMaxOfFew, taskMsMax }): Passwords {
  const threads = availableParallelism();
  const turns = createTurns({
    atOnce: threads,
    waitingMax: threads * waitingPerThread,
    few: threads * fewPerThread,
    ...limits,
  });
  const underWay = new Set<Promise<unknown>>();
  let isLowered = false;

  async function work<Result>(run: () => Promise<Result>, caller: Caller | undefined): Promise<Result> {
    const end = await turns.take(caller).catch((error: unknown) => {
      throw error instanceof TurnRefused ? refusals[error.why]() : error;
    });
    // A thread cannot be interrupted: whoever waits is answered in time, and the turn ends with the work.
    const working = run().finally(() => {
      underWay.delete(working);
      end();
      if (!isLowered) lowerPriority();
      isLowered = true;
    });
    underWay.add(working);
    working.catch(() => {});
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(overloaded('Hashing the password took too long. Try again later.')), limits.taskMsMax);
    return Promise.race([working, late.promise]).finally(() => clearTimeout(timer));
  }

  return {
    hash: (plain, caller) => work(() => hash(plain, cost), caller),
    verify: (stored, plain, caller) => work(() => verify(stored, plain), caller),
    get waiting() {
      return turns.waiting;
    },
    async [Symbol.asyncDispose]() {
      turns.close();
      await Promise.allSettled(underWay);
    },
  };
}

const phcPattern = /^\$argon2id\$v=19\$m=([1-9]\d{0,5}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{16,86})$/;
/** A verify of the dearest takes about half a second on one core. */
const costMax = { memoryKib: 262_144, passes: 16, lanes: 16, memoryKibTimesPasses: 524_288 };

/**
 * Whether a stored value is an argon2id hash, as the PHC string format writes it, that can be verified at a bounded cost. A table
 * made by the LiteStar service holds passwords as they were typed, and what was typed may look like anything.
 */
export function isHash(stored: string): boolean {
  const [, memory, passes, lanes, salt, digest] = phcPattern.exec(stored) ?? [];
  if (salt === undefined || digest === undefined) return false;
  const [m, t, p] = [Number(memory), Number(passes), Number(lanes)];
  return (
    m >= 8 * p &&
    m <= costMax.memoryKib &&
    t <= costMax.passes &&
    p <= costMax.lanes &&
    m * t <= costMax.memoryKibTimesPasses &&
    [salt, digest].every(isBase64)
  );
}

// Without padding, as PHC strings have it: no rest of one character, and no bits set that belong to no byte.
function isBase64(text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text;
}
