// Bounds how many pieces of work are under way at once; the others wait, first come, first served.

export type Slots = {
  run<Result>(work: () => Promise<Result>): Promise<Result>;
};

export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  return {
    async run(work) {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await work();
      } finally {
        // A slot that somebody waits for is handed over, so that nobody overtakes.
        const next = waiting.shift();
        if (next === undefined) free += 1;
        else next();
      }
    },
  };
}
