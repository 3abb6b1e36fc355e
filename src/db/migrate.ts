// Brings the schema up to the code: the SQL files of migrations/, forward only, each in its own transaction, under one
// advisory lock, so that any number of instances may start at once.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import pg from 'pg';
import { type ConnectionSettings, clientConfig, type Db, prepareSession } from './client.ts';

export type Migration = {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
  /** Runs ahead of `sql` in its transaction. No part of the schema, so that it may change after the migration has landed. */
  readonly before?: string;
};
export type MigrationStatus = { readonly version: number; readonly name: string; readonly appliedAt: string | undefined };

/** What stands between the code and the schema, in a sentence for the operator. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

// Any number that no other program is likely to lock on the same database ("roll" in ASCII).
const lockKey = 0x726f6c6c;
const folder = new URL('../../migrations/', import.meta.url);

export async function readMigrations(): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const read = (name: string) => readFile(new URL(name, folder), 'utf8');
  return Promise.all(
    files
      .filter((name) => !name.endsWith('.before.sql'))
      .map(async (name) => {
        const sql = await read(name);
        const before = name.replace('.sql', '.before.sql');
        const migration = { version: Number.parseInt(name, 10), name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
        return files.includes(before) ? { ...migration, before: await read(before) } : migration;
      }),
  );
}

type Applied = { version: number; name: string; checksum: string; applied_at: string };

async function readApplied(client: pg.Client): Promise<Applied[]> {
  const known = await client.query<{ exists: boolean }>("select to_regclass('schema_migration') is not null as exists");
  if (!known.rows[0]?.exists) return [];
  const { rows } = await client.query<Applied>('select version, name, checksum, applied_at::text from schema_migration order by version');
  return rows;
}

function compare(migrations: readonly Migration[], applied: readonly Applied[]): Migration[] {
  const byVersion = new Map(migrations.map((migration) => [migration.version, migration]));
  for (const done of applied) {
    const migration = byVersion.get(done.version);
    if (migration === undefined) {
      throw new MigrationError(
        `The database has migration ${done.name}, which this version of the code does not know: run a newer version.`,
      );
    }
    if (migration.checksum !== done.checksum) {
      throw new MigrationError(
        `Migration ${migration.name} was changed after it was applied: restore the file and add a new migration instead.`,
      );
    }
  }
  const done = new Set(applied.map(({ version }) => version));
  return migrations.filter(({ version }) => !done.has(version));
}

async function connected<Result>(settings: ConnectionSettings, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client(clientConfig({ ...settings, statementTimeoutMs: 0 }));
  client.on('error', () => {});
  await client.connect();
  try {
    await prepareSession(client);
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

export type MigrateOptions = {
  /** Called with what a migration found and the operator should know. */
  readonly onWarning?: (text: string) => void;
  /** What the operator says to migrations, which read it as `current_setting('rollcall.<name>', true)`. */
  readonly variables?: Readonly<Record<string, string>>;
};

/**
 * Applies what is missing and returns the names of what it applied.
 * @throws MigrationError when the schema is newer than the code, a file was changed, or a file fails
 */
export async function migrate(settings: ConnectionSettings, options: MigrateOptions = {}): Promise<string[]> {
  const migrations = await readMigrations();
  return connected(settings, async (client) => {
    await requireUtf8(client);
    // Nothing to do is the usual case, and needs no lock.
    if (compare(migrations, await readApplied(client)).length === 0) return [];
    await client.query('select pg_advisory_lock($1)', [lockKey]);
    const names: string[] = [];
    // Read again: another instance may have applied them while this one waited for the lock.
    for (const migration of compare(migrations, await readApplied(client))) {
      await apply(client, migration, options);
      names.push(migration.name);
    }
    return names;
  });
}

async function requireUtf8(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ encoding: string }>("select current_setting('server_encoding') as encoding");
  const encoding = rows[0]?.encoding;
  if (encoding === 'UTF8') return;
  throw new MigrationError(
    `The database "${client.database}" has the encoding ${encoding}, which cannot hold every name: make one with UTF8 ("npm run db:setup" does), move what is there, and let DATABASE_URL name it.`,
  );
}

async function apply(client: pg.Client, migration: Migration, { onWarning, variables = {} }: MigrateOptions): Promise<void> {
  const { version, name, before, sql, checksum } = migration;
  const warnings: string[] = [];
  const listen = ({ message }: { message?: string | undefined }) => {
    if (message !== undefined) warnings.push(message);
  };
  client.on('notice', listen);
  try {
    // Warnings and nothing less, and no limit of time, whatever the role's defaults are.
    await client.query(
      'begin isolation level read committed; set local client_min_messages = warning; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0',
    );
    for (const [key, value] of Object.entries(variables)) await client.query('select set_config($1, $2, true)', [`rollcall.${key}`, value]);
    await client.query(
      `create table if not exists schema_migration (
        version integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default now()
      )`,
    );
    if (before !== undefined) await client.query(before);
    await client.query(sql);
    await client.query('insert into schema_migration (version, name, checksum) values ($1, $2, $3)', [version, name, checksum]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw new MigrationError(`Migration ${name} failed and was rolled back: ${(error as Error).message}.`, { cause: error });
  } finally {
    client.off('notice', listen);
  }
  for (const warning of warnings) onWarning?.(warning);
}

/** Whether the database has them all; asked while `migrate` has not come to its end. */
export async function hasEveryMigration(db: Db): Promise<boolean> {
  const [known] = await db.query<{ exists: boolean }>("select to_regclass('schema_migration') is not null as exists");
  if (!known?.exists) return false;
  const applied = await db.query<{ version: number }>('select version from schema_migration');
  const versions = new Set(applied.map(({ version }) => version));
  return (await readMigrations()).every(({ version }) => versions.has(version));
}

/** Every migration of the code, with the time of its application where it was applied. */
export async function migrationStatus(settings: ConnectionSettings): Promise<MigrationStatus[]> {
  const migrations = await readMigrations();
  return connected(settings, async (client) => {
    const applied = await readApplied(client);
    compare(migrations, applied);
    return migrations.map(({ version, name }) => ({
      version,
      name,
      appliedAt: applied.find((done) => done.version === version)?.applied_at,
    }));
  });
}
