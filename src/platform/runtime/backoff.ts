// How long to wait before trying again.

/**
 * Doubles from `firstMs` with each failure up to `maxMs`, then takes a random point in the upper half, so that
 * instances that failed together do not return together.
 */
export function backoffMs(failures: number, { firstMs, maxMs }: { firstMs: number; maxMs: number }): number {
  const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30));
  return ceiling / 2 + Math.random() * (ceiling / 2);
}
