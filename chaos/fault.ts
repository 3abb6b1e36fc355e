// What a fault is, and what one injection of it is given.
import type { Cluster } from './cluster.ts';
import type { Random } from './random.ts';

/** What a fault needs for itself. Two faults without a common part may happen at once. */
export type Part = 'postgres' | 'broker' | 'instances';

export type Turn = {
  readonly random: Random;
  /** Ends when the run is broken off. */
  readonly signal: AbortSignal;
  /** A line for the person who watches. */
  say(words: string): void;
  /** Whether the run is one in which faults are held for their least time. */
  readonly quick: boolean;
  /** Leaves things as they are for so long, or shorter in a quick run, but never shorter than `secondsMin`. */
  hold(seconds: number, secondsMin?: number): Promise<void>;
  /** Tells of a promise that the service did not keep, and that the history cannot show. */
  broken(words: string): void;
  /** Tells of a promised time that was not kept. It fails nothing: the machine has its part in it. */
  late(words: string): void;
};

export type Fault = {
  readonly name: string;
  readonly what: string;
  readonly claims: readonly Part[];
  /** It measures, so it comes by its name or with `--each`, and not among all that are mixed. */
  readonly alone?: true;
  /** About how long it takes in a quick run, and in a full one. */
  readonly seconds: readonly [quick: number, full: number];
  /** Why it cannot be done here, if it cannot. */
  whyNot?(cluster: Cluster): Promise<string | undefined>;
  /** Injects, holds and heals. Resolves when the service has what it needs again. */
  run(cluster: Cluster, turn: Turn): Promise<void>;
};
