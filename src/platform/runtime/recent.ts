// What was made in the last moments, for others who need just the same now.

export type Recent<Value> = {
  /** The value under `key`, where making it began after `since`, and less than the time ago for which values are kept. */
  find(key: string, since?: number): Value | undefined;
  /** @param at when making it began (performance.now()) */
  keep(key: string, at: number, value: Value): void;
  forget(key: string): void;
};

export function createRecent<Value>({ ms, max }: { ms: number; max: number }): Recent<Value> {
  const kept = new Map<string, { readonly at: number; readonly value: Value }>();
  return {
    find(key, since = 0) {
      const found = kept.get(key);
      if (found === undefined || found.at < Math.max(since, performance.now() - ms)) return undefined;
      return found.value;
    },
    keep(key, at, value) {
      kept.delete(key);
      kept.set(key, { at, value });
      const [oldest = key] = kept.keys();
      if (kept.size > max) kept.delete(oldest);
    },
    forget: (key) => void kept.delete(key),
  };
}
