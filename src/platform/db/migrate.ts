// Brings the schema up to the code: applies the migrations, forward only, under one advisory lock, so that any number of instances may
// start at once. A step and the record of it are one transaction where PostgreSQL allows that.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { codeVersion } from '../runtime/version.ts';
import { type ConnectionSettings, connect, type Db } from './client.ts';
import { isOlder, type Migration, readMigrations, type Step } from './migrations.ts';

export type MigrationStatus = { readonly version: number; readonly name: string; readonly appliedAt: string | undefined };

/** What stands between the code and the schema, in a sentence for the operator. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

// Any number that no other program is likely to lock on the same database ("roll" in ASCII).
export const lockKey = 0x726f6c6c;
/** How often the lock is tried while another holds it. */
const lockPollMs = 200;
type Applied = {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  /** The oldest version of the code that runs on the schema since; null where it was not stated. */
  readonly oldest_code: string | null;
  readonly applied_at: string;
};

// Not by to_regclass: inside a transaction it may still answer as before another one's commit, from the cache of names of its session.
const tableSql = (name: string) => `select from pg_class where relname = '${name}' and pg_table_is_visible(oid)`;

async function readApplied(client: pg.Client): Promise<Applied[]> {
  if (!(await client.query(tableSql('schema_migration'))).rowCount) return [];
  // An older version has made the table without that column.
  const { rows } = await client.query<Applied>(
    `select version, name, checksum, to_jsonb(done) ->> 'oldest_code' as oldest_code, applied_at::text
     from schema_migration as done order by version`,
  );
  return rows;
}

function compare({ migrations, codeVersion }: Code, applied: readonly Applied[]): Migration[] {
  const byVersion = new Map(migrations.map((migration) => [migration.version, migration]));
  for (const done of applied) {
    const migration = byVersion.get(done.version);
    if (migration === undefined) {
      if (done.oldest_code !== null && !isOlder(codeVersion, done.oldest_code)) continue;
      throw new MigrationError(
        done.oldest_code === null
          ? `The database has migration ${done.name}, which this version of the code does not know: run a newer version.`
          : `The database has migration ${done.name}, which needs at least version ${done.oldest_code} of the code, and this is ${codeVersion}: run a newer version.`,
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

async function connected<Result>(
  settings: ConnectionSettings,
  signal: AbortSignal | undefined,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = await connect({ ...settings, statementTimeoutMs: 0 });
  const end = () => void client.end().catch(() => {});
  signal?.addEventListener('abort', end);
  try {
    signal?.throwIfAborted();
    return await work(client);
  } finally {
    signal?.removeEventListener('abort', end);
    await client.end().catch(() => {});
  }
}

/** What runs: the migrations that it knows, and its version. */
type Code = { readonly migrations: readonly Migration[]; readonly codeVersion: string };

export type MigrateOptions = {
  /** Left out: those of the running code. */
  readonly code?: Code;
  /** Called with what a migration found and the operator should know. */
  readonly onWarning?: (text: string) => void;
  /** What the operator says to migrations, which read it as `current_setting('rollcall.<name>', true)`. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Called when another holds the lock, before this one waits for it. */
  readonly onWaiting?: (text: string) => void;
  /** Longest wait for the lock. */
  readonly waitMsMax?: number;
  /** Ends the waiting, and a migration that is under way, which is then rolled back. */
  readonly signal?: AbortSignal | undefined;
};

/**
 * Applies what is missing and returns the names of what it applied.
 * @throws MigrationError when the schema is newer than the code, a file was changed, a file fails, or another keeps the lock
 */
export async function migrate(settings: ConnectionSettings, options: MigrateOptions = {}): Promise<string[]> {
  const code = options.code ?? (await readCode());
  return connected(settings, options.signal, async (client) => {
    await requireUtf8(client);
    const names: string[] = [];
    const wait = createWait(client, options);
    // Read anew after each step: another instance may have applied some meanwhile. Nothing to do is the usual case, and needs no lock.
    for (;;) {
      const [next] = compare(code, await readApplied(client));
      if (next === undefined) return names;
      const how = await applyNextStep(client, settings, next, options);
      if (how === 'applied') names.push(next.name);
      if (how === 'locked') await wait();
    }
  });
}

async function readCode(): Promise<Code> {
  return { migrations: await readMigrations(), codeVersion };
}

async function requireUtf8(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ encoding: string }>("select current_setting('server_encoding') as encoding");
  const encoding = rows[0]?.encoding;
  if (encoding === 'UTF8') return;
  throw new MigrationError(
    `The database "${client.database}" has the encoding ${encoding}, which cannot hold every name: make one with UTF8 ("npm run db:setup" does), move what is there, and let DATABASE_URL name it.`,
  );
}

/**
 * The next step of a migration. Its lock and its record are one transaction, so that it goes through PgBouncer; the step itself is in
 * it too, unless it cannot be. The lock is tried and not waited for: who waits in a statement holds a snapshot, for which another
 * migration's `create index concurrently` would wait in turn.
 * @returns `applied` after the last step; `again` where others follow, or another instance took this one; `locked` where it holds the lock
 */
async function applyNextStep(
  client: pg.Client,
  settings: ConnectionSettings,
  migration: Migration,
  { onWarning, variables = {}, signal }: MigrateOptions,
): Promise<'applied' | 'again' | 'locked'> {
  const { version, name, before, steps, checksum, oldestCode } = migration;
  const warnings: string[] = [];
  const listen = ({ message }: { message?: string | undefined }) => {
    if (message !== undefined) warnings.push(message);
  };
  await client.query(beginSql);
  const { rows: tried } = await client.query<{ locked: boolean }>('select pg_try_advisory_xact_lock($1) as locked', [lockKey]);
  const applied = tried[0]?.locked === true ? await readApplied(client) : undefined;
  if (applied === undefined || applied.some((done) => done.version === version)) {
    await client.query('rollback');
    return applied === undefined ? 'locked' : 'again';
  }
  client.on('notice', listen);
  let isLast = false;
  try {
    for (const [key, value] of Object.entries(variables)) await client.query('select set_config($1, $2, true)', [`rollcall.${key}`, value]);
    const hasTables = await isPrepared(client);
    if (!hasTables) await client.query(tablesSql);
    const { rows: recorded } = await client.query<{ step: number }>('select step from schema_migration_step where version = $1', [version]);
    const number = recorded.length;
    const step = steps[number];
    if (step === undefined) throw new Error(`it has ${steps.length} steps, and ${number} are recorded`);
    if (step.kind === 'alone' && !hasTables) {
      // Nothing may be locked while such a step runs: who looks at the tables would wait with a snapshot, and the step for that.
      await client.query('commit');
      return 'again';
    }
    if (number === 0 && before !== undefined) await client.query(before);
    const isDone = step.kind === 'alone' ? await runAlone(client, settings, step.sql, signal) : await runStep(client, step);
    isLast = isDone && number === steps.length - 1;
    if (isLast) {
      await client.query('delete from schema_migration_step where version = $1', [version]);
      await client.query('insert into schema_migration (version, name, checksum, oldest_code) values ($1, $2, $3, $4)', [
        version,
        name,
        checksum,
        oldestCode ?? null,
      ]);
    } else if (isDone) await client.query('insert into schema_migration_step (version, step) values ($1, $2)', [version, number]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    const kept = steps.length > 1 ? 'its steps before that are kept, and the next start goes on from there' : 'was rolled back';
    throw new MigrationError(`Migration ${name} failed and ${kept}: ${(error as Error).message}.`, { cause: error });
  } finally {
    client.off('notice', listen);
  }
  for (const warning of warnings) onWarning?.(warning);
  return isLast ? 'applied' : 'again';
}

async function isPrepared(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `${tableSql('schema_migration')} and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'oldest_code')
       and exists (${tableSql('schema_migration_step')})`,
  );
  return rows.length > 0;
}

const tablesSql = `create table if not exists schema_migration (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
  );
  alter table schema_migration add column if not exists oldest_code text;
  create table if not exists schema_migration_step (
    version integer not null,
    step integer not null,
    applied_at timestamptz not null default now(),
    primary key (version, step)
  )`;

/** @returns whether it has come to its end */
async function runStep(client: pg.Client, { kind, sql }: Step): Promise<boolean> {
  const result: unknown = await client.query(sql);
  const results = (Array.isArray(result) ? result : [result]) as pg.QueryResult[];
  return kind === 'once' || results.every(({ rowCount }) => rowCount === null || rowCount === 0);
}

/** Outside a transaction, each statement by itself, while `holder` keeps the lock. After a kill it runs again from its first statement. */
async function runAlone(holder: pg.Client, settings: ConnectionSettings, sql: string, signal: AbortSignal | undefined): Promise<true> {
  // Its last statement had parameters, and so a portal that keeps a snapshot until the next statement: an index that is made
  // concurrently would wait for it for ever.
  await holder.query('select');
  // An open transaction that waits is ended after a minute, so that who froze loses the lock.
  const holding = setInterval(() => void holder.query('select').catch(() => {}), 10_000);
  try {
    await connected(settings, signal, async (client) => {
      for (const statement of sql.split(/;\s*$/m)) if (statement.trim() !== '') await client.query(statement);
    });
    return true;
  } finally {
    clearInterval(holding);
  }
}

// Warnings and nothing less, and as much time as it takes, whatever the defaults of role and database are; but who froze loses
// the lock. What is read after the lock was taken must see what its last holder committed.
const beginSql = [
  'begin isolation level read committed',
  'set local client_min_messages = warning',
  'set local statement_timeout = 0',
  'set local lock_timeout = 0',
  "set local idle_in_transaction_session_timeout = '60s'",
].join('; ');

/** Waits a moment for the lock's holder; tells of it the first time, and gives up in the end. */
function createWait(client: pg.Client, { onWaiting, waitMsMax = 600_000, signal }: MigrateOptions): () => Promise<void> {
  let startedAt: number | undefined;
  return async () => {
    const waitedMs = performance.now() - (startedAt ?? performance.now());
    if (startedAt === undefined || waitedMs > waitMsMax) {
      const holder = await findHolder(client);
      if (startedAt !== undefined) {
        throw new MigrationError(
          `The lock of the migrations was not free within ${waitMsMax / 1000} s, ${holder}: let it come to its end, or end it, then start again.`,
        );
      }
      onWaiting?.(`The lock of the migrations is held, ${holder}; waiting for it, at most ${waitMsMax / 1000} s`);
      startedAt = performance.now();
    }
    await sleep(lockPollMs, undefined, { signal });
  };
}

async function findHolder(client: pg.Client): Promise<string> {
  // A lock on one bigint shows it in objid, with objsubid 1 (pg_locks).
  const { rows } = await client.query<{
    pid: number;
    name: string | null;
    role: string | null;
    address: string | null;
    seconds: number | null;
  }>(
    `select pid, application_name as name, usename as role, host(client_addr) as address,
       extract(epoch from clock_timestamp() - coalesce(xact_start, state_change))::int as seconds
     from pg_locks left join pg_stat_activity using (pid)
     where locktype = 'advisory' and objid = ${lockKey} and classid = 0 and objsubid = 1 and granted
       and database = (select oid from pg_database where datname = current_database())`,
  );
  const [holder] = rows;
  if (holder === undefined) return 'by one that has just let go';
  const { pid, name, role, address, seconds } = holder;
  const of = [name && `"${name}"`, role && `role ${role}`, address && `from ${address}`, seconds !== null && `for ${seconds} s`];
  return [`by PostgreSQL process ${pid}`, ...of.filter((text) => typeof text === 'string' && text !== '')].join(', ');
}

/** Whether the database has them all; asked while `migrate` has not come to its end. */
export async function hasEveryMigration(db: Db): Promise<boolean> {
  if ((await db.query(tableSql('schema_migration'))).length === 0) return false;
  const applied = await db.query<{ version: number }>('select version from schema_migration');
  const versions = new Set(applied.map(({ version }) => version));
  return (await readMigrations()).every(({ version }) => versions.has(version));
}

/** Every migration of the code, with the time of its application where it was applied. */
export async function migrationStatus(settings: ConnectionSettings): Promise<MigrationStatus[]> {
  const code = await readCode();
  return connected(settings, undefined, async (client) => {
    const applied = await readApplied(client);
    compare(code, applied);
    return code.migrations.map(({ version, name }) => ({
      version,
      name,
      appliedAt: applied.find((done) => done.version === version)?.applied_at,
    }));
  });
}
