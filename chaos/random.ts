// Chance that repeats: whatever a run leaves to chance comes from its seed.

export type Random = {
  /** At least 0, less than 1. */
  next(): number;
  /** A whole number; both ends can come. */
  between(least: number, most: number): number;
  pick<Item>(items: readonly Item[]): Item;
  shuffle<Item>(items: readonly Item[]): Item[];
  /** A stream of its own, so that what one part draws never shifts what another gets. */
  fork(name: string): Random;
};

export function createRandom(seed: string): Random {
  const next = sfc32(seed);
  const between = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    pick<Item>(items: readonly Item[]): Item {
      if (items.length === 0) throw new RangeError('there is nothing to pick from');
      return items[between(0, items.length - 1)] as Item;
    },
    shuffle<Item>(items: readonly Item[]): Item[] {
      const left = [...items];
      return items.map(() => left.splice(between(0, left.length - 1), 1)[0] as Item);
    },
    fork: (name) => createRandom(`${seed}/${name}`),
  };
}

// Small Fast Counter, 32 bits (Chris Doty-Humphrey, PractRand), its state filled from the text by FNV-1a.
function sfc32(seed: string): () => number {
  let [a, b, c, counter] = [0, 1, 2].map((salt) => fnv1a(`${salt}${seed}`)).concat(1) as [number, number, number, number];
  const next = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  // The first numbers still show what they were made from.
  for (let round = 0; round < 12; round += 1) next();
  return next;
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash | 0;
}
