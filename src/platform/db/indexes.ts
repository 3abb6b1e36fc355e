// Indexes that follow from a setting, and not from a migration: made and dropped while others read and write.
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionSettings, connect } from './client.ts';
import { lockKey } from './migrate.ts';

/** `on` is what stands behind `on` in the statement that makes it. */
export type WantedIndex = { readonly name: string; readonly on: string };

const lockPollMs = 500;

/**
 * Makes the indexes that are missing, and drops others of that prefix. Under the lock of the migrations: one that is not valid is then
 * what an earlier start left behind, and no index that another instance is about to make.
 */
export async function ensureIndexes(
  settings: ConnectionSettings,
  prefix: string,
  wanted: readonly WantedIndex[],
  signal: AbortSignal,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const open = async () => {
    const client = await connect({ ...settings, statementTimeoutMs: 0 });
    stack.defer(() => client.end().catch(() => {}));
    return client;
  };
  const client = await open();
  const end = () => void client.end().catch(() => {});
  signal.addEventListener('abort', end);
  stack.defer(() => signal.removeEventListener('abort', end));
  const statements = async () => {
    const { rows } = await client.query<{ name: string; is_valid: boolean }>(
      `select relname as name, indisvalid as is_valid from pg_index join pg_class on pg_class.oid = indexrelid
       where indrelid = '"user"'::regclass and starts_with(relname, $1)`,
      [prefix],
    );
    const isWanted = (name: string) => wanted.some((index) => index.name === name);
    const isMade = (name: string) => rows.some((row) => row.name === name && row.is_valid);
    return [
      ...rows.filter((row) => !row.is_valid || !isWanted(row.name)).map(({ name }) => `drop index concurrently if exists ${name}`),
      ...wanted.filter(({ name }) => !isMade(name)).map(({ name, on }) => `create index concurrently ${name} on ${on}`),
    ];
  };
  if ((await statements()).length === 0) return;
  const holder = await open();
  for (;;) {
    signal.throwIfAborted();
    await holder.query('begin');
    const { rows } = await holder.query<{ locked: boolean }>(`select pg_try_advisory_xact_lock(${lockKey}) as locked`);
    if (rows[0]?.locked === true) break;
    await holder.query('rollback');
    await sleep(lockPollMs, undefined, { signal });
  }
  for (const statement of await statements()) await client.query(statement);
  await holder.query('commit');
}
