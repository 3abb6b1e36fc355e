// The SQL files of migrations/ as they are written: what runs ahead of them, their steps, and which code runs on the schema after them.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';

/**
 * `once`: in a transaction. `repeat`: in a transaction each time, until no statement of it changes a row. `alone`: outside a transaction,
 * such as `create index concurrently`; after a kill it runs again from its start.
 */
export type Step = { readonly kind: 'once' | 'repeat' | 'alone'; readonly sql: string };

export type Migration = {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
  readonly steps: readonly Step[];
  /** The oldest version of the code that runs on the schema after it; undefined where it is the one that brings the migration. */
  readonly oldestCode: string | undefined;
  /** Runs ahead of the first step in its transaction. No part of the schema, so that it may change after the migration has landed. */
  readonly before?: string;
};

const folder = new URL('../../../migrations/', import.meta.url);

export async function readMigrations(): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const read = (name: string) => readFile(new URL(name, folder), 'utf8');
  return Promise.all(
    files
      .filter((name) => !name.endsWith('.before.sql'))
      .map(async (name) => {
        const migration = parseMigration(name, await read(name));
        const before = name.replace('.sql', '.before.sql');
        return files.includes(before) ? { ...migration, before: await read(before) } : migration;
      }),
  );
}

/**
 * Reads a migration. A line `-- oldest code: 1.2.3` states the oldest version of the code that runs on the schema after it. Lines
 * `-- step`, `-- step, repeated` and `-- step, alone` cut it into steps; without any it is one.
 * @param name begins with its number, such as `0010_subscriptions.sql`
 */
export function parseMigration(name: string, sql: string): Migration {
  const [head = '', ...parts] = sql.split(/^-- step(?=,|$)/m);
  const steps = parts.map((part): Step => {
    const [, manner] = /^(?:, (repeated|alone))?$/m.exec(part.slice(0, part.indexOf('\n'))) ?? [];
    const text = part.slice(part.indexOf('\n'));
    return { kind: manner === 'repeated' ? 'repeat' : manner === 'alone' ? 'alone' : 'once', sql: text };
  });
  return {
    version: Number.parseInt(name, 10),
    name,
    sql,
    checksum: createHash('sha256').update(sql).digest('hex'),
    steps: steps.length === 0 ? [{ kind: 'once', sql }] : steps,
    oldestCode: /^-- oldest code: (\d+\.\d+\.\d+)$/m.exec(head)?.[1],
  };
}

/** Compares versions such as 1.2.3 by their numbers; what follows them does not count. */
export function isOlder(version: string, than: string): boolean {
  const [left, right] = [version, than].map((text) => (/^\d+\.\d+\.\d+/.exec(text)?.[0] ?? '0.0.0').split('.').map(Number));
  for (const [index, number] of (left ?? []).entries()) if (number !== right?.[index]) return number < (right?.[index] ?? 0);
  return false;
}
