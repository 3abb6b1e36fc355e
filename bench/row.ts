// What a measurement gives, and the arithmetic on it.
import type { Stage } from './stage.ts';

export type Unit = '/s' | 'ms' | 's' | 'MiB';

export type Want = { readonly of: 'ratio' | 'measured'; readonly atLeast?: number; readonly atMost?: number };

export type Row = {
  readonly what: string;
  readonly unit: Unit;
  /** One number for each round, in step with the floor's. */
  readonly measured: readonly number[];
  readonly floor: { readonly what: string; readonly measured: readonly number[] };
  readonly want?: Want;
  /** Where it stands in the picture of the rows by size. */
  readonly point?: { readonly line: string; readonly users: number };
};

/** Rows that are measured together. */
export type Measurement = {
  /** What the numbers mean, for a reader who has seen only the table. */
  readonly definition: string;
  measure(stage: Stage): Promise<Row[]>;
};

/** @param share 0.5 for the median, 0.99 for p99 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [below = Number.NaN, above = below] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at % 1);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Of each round by itself: what the neighbours on the machine did then, they did to both sides. */
export function ratios({ measured, floor }: Row): number[] {
  return measured.map((value, round) => value / (floor.measured[round] ?? Number.NaN));
}

export function isMet(row: Row, { of, atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY }: Want): boolean {
  const value = median(of === 'ratio' ? ratios(row) : row.measured);
  return value >= atLeast && value <= atMost;
}

/** Runs the parts one after the other, round by round, so that a slow moment of the machine does not hit one part alone. */
export async function takeTurns<Part extends string, Result>(
  rounds: number,
  parts: Readonly<Record<Part, () => Promise<Result>>>,
): Promise<Record<Part, Result[]>> {
  const names = Object.keys(parts) as Part[];
  const results = Object.fromEntries(names.map((name) => [name, [] as Result[]])) as Record<Part, Result[]>;
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) results[name].push(await parts[name]());
  }
  return results;
}
