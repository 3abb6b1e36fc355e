// Lines that would come thousands of times: the first at once, then at most one a minute, which says how many it stands for.

const lineMs = 60_000;

type Repeated = { count: number; nextLineAt: number };

const told = new WeakMap<object, Map<string, Repeated>>();

/**
 * @param log whose lines are counted
 * @param key what counts as the same line
 * @param write is called with the number of calls since the last line, this one included; or not at all
 */
export function atMostOnceAMinute(log: object, key: string, write: (count: number) => void): void {
  const lines = told.get(log) ?? new Map<string, Repeated>();
  told.set(log, lines);
  const line = lines.get(key) ?? { count: 0, nextLineAt: 0 };
  lines.set(key, line);
  line.count += 1;
  if (performance.now() < line.nextLineAt) return;
  write(line.count);
  line.count = 0;
  line.nextLineAt = performance.now() + lineMs;
}
