// The schema that the service needs: made or migrated at the start, or as soon as the server answers. A server that is away does not
// keep the service from starting: requests get 503 until it is there and up to date.
import { setTimeout as sleep } from 'node:timers/promises';
import { hasPlaintextPasswords } from '../features/users/adoption.ts';
import { findContradiction } from '../features/users/refusals.ts';
import type { ConnectionSettings, Pool } from '../platform/db/client.ts';
import { ensureIndexes, type WantedIndex } from '../platform/db/indexes.ts';
import { MigrationError } from '../platform/db/migrate.ts';
import { asMistake, prepareDatabase } from '../platform/db/prepare.ts';
import { register, type Subscription } from '../platform/events/subscriptions.ts';
import { backoffMs } from '../platform/runtime/backoff.ts';
import type { Logger } from '../platform/telemetry/logger.ts';

/** Those that follow from settings, by the prefix of their names. */
export type Indexes = { readonly prefix: string; readonly indexes: readonly WantedIndex[] };

/**
 * Resolves when the schema is there, or when it has to wait: for the server, or for the lock of the migrations. It goes on meanwhile.
 * @throws MigrationError where the operator has to act
 */
export async function prepareSchema(
  connection: ConnectionSettings,
  adminUrl: string | undefined,
  pool: Pool,
  subscriptions: readonly Subscription[],
  indexes: Indexes,
  log: Logger,
  onError: (error: unknown) => void,
): Promise<AsyncDisposable & { readonly ready: boolean }> {
  let ready = false;
  const stopping = new AbortController();

  const waiting = Promise.withResolvers<void>();
  /** Lists answer without them, if slowly. */
  let indexing = Promise.resolve();

  async function prepare(): Promise<void> {
    const onWarning = (text: string) => log.warn({ component: 'postgres' }, text);
    const onWaiting = (text: string) => {
      onWarning(text);
      waiting.resolve();
    };
    const steps = await prepareDatabase(connection, adminUrl, { onWarning, onWaiting, signal: stopping.signal });
    for (const done of steps) log.info({ component: 'postgres' }, `Created or applied ${done}`);
    const isPlaintext = await hasPlaintextPasswords(pool).catch((error: unknown) => {
      throw asMistake(error, 'DATABASE_URL');
    });
    await register(pool, subscriptions);
    if (isPlaintext) {
      log.warn({ component: 'postgres' }, 'Passwords of adopted users are stored as they were typed: run "npm run migrate" to hash them');
    }
    const contradiction = await findContradiction(pool);
    if (contradiction !== undefined) log.warn({ component: 'postgres' }, `Every new user is refused: ${contradiction}`);
    ready = true;
    indexing = ensureIndexes(connection, indexes.prefix, indexes.indexes, stopping.signal).catch((error: unknown) => {
      if (stopping.signal.aborted) return;
      log.warn(
        { component: 'postgres', error },
        'Indexes of attributes could not be made; lists filtered by them are slow until the next start',
      );
    });
  }

  async function keepTrying(): Promise<void> {
    for (let failures = 1; !ready; failures += 1) {
      await sleep(backoffMs(failures, { firstMs: 50, maxMs: 2000 }), undefined, { signal: stopping.signal });
      await prepare().catch((error: unknown) => {
        if (error instanceof MigrationError) throw error;
      });
    }
    log.info({ component: 'postgres' }, 'PostgreSQL reached');
  }

  async function prepareOrKeepTrying(): Promise<void> {
    try {
      await prepare();
    } catch (error) {
      if (error instanceof MigrationError || stopping.signal.aborted) throw error;
      log.warn({ component: 'postgres', reason: (error as Error).message }, 'PostgreSQL cannot be reached; requests get 503 until it can');
      waiting.resolve();
      await keepTrying();
    }
  }

  let started = false;
  const preparing = prepareOrKeepTrying();
  const trying = preparing.catch((error: unknown) => {
    if (started && !stopping.signal.aborted) onError(error);
  });
  // Where it has to wait, for the server or for the lock of the migrations, the service answers meanwhile.
  await Promise.race([preparing, waiting.promise]);
  started = true;
  return {
    get ready() {
      return ready;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await trying;
      await indexing;
    },
  };
}
