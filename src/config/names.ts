// Names that are meant to be settings and are not: `DATABSE_URL`, `database_url`, `DATABASE-URL`.

/** From this length on two letters may differ; shorter names are too close to those of other programs. */
const lengthMin = 12;
const lettersMax = 2;

/** @returns the setting that `name` most likely means, if it is none itself */
export function findMeant(name: string, settings: readonly string[]): string | undefined {
  if (settings.includes(name)) return undefined;
  const bare = (text: string) => text.toUpperCase().replaceAll(/[_.-]/g, '');
  const distances = settings.map((setting) => ({ setting, distance: distanceBetween(bare(name), bare(setting)) }));
  const [nearest] = distances.sort((one, other) => one.distance - other.distance);
  if (nearest === undefined) return undefined;
  return nearest.distance <= (nearest.setting.length < lengthMin ? 0 : lettersMax) ? nearest.setting : undefined;
}

/** Letters to add, take away, change or exchange with their neighbour (optimal string alignment). */
function distanceBetween(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > lettersMax) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const same = one[i - 1] === other[j - 1];
      const exchanged = one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      const at = (values: number[], index: number) => values[index] ?? Number.POSITIVE_INFINITY;
      next.push(
        Math.min(
          at(next, j - 1) + 1,
          at(row, j) + 1,
          at(row, j - 1) + (same ? 0 : 1),
          exchanged ? at(before, j - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    [before, row] = [row, next];
  }
  return row[other.length] as number;
}
