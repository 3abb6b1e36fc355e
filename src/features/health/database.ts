// Whether PostgreSQL can be worked with, found out on a connection that no request waits for: a busy pool is no database that
// is away, and a balancer that took it for one would take out every instance at once.
import type { Db } from '../../platform/db/client.ts';
import { hasEveryMigration } from '../../platform/db/migrate.ts';
import { codeOf, sqlstate } from '../../platform/db/sqlstate.ts';
import type { DatabaseState } from '../../platform/feature.ts';
import { coalesce } from '../../platform/runtime/coalesce.ts';

/** One statement answers all who ask within this time; a failure is looked at anew each time. */
const keptMs = 250;
/** Then PostgreSQL counts as away, while the check goes on for those who ask later: a new connection may take longer. */
const answerMsMax = 2500;

export type DatabaseCheckParts = {
  /** Used by nothing else. */
  readonly own: Db;
  /** Asked only where the server has no room for `own`. */
  readonly others: readonly Db[];
  /** Whether this process has found or made the schema that it needs. */
  readonly prepared: () => boolean;
};

/** @returns a function that never rejects, and whose callers share one check */
export function createDatabaseCheck({ own, others, prepared }: DatabaseCheckParts): () => Promise<DatabaseState> {
  async function look(db: Db): Promise<DatabaseState> {
    if (!prepared()) return (await hasEveryMigration(db)) ? 'ok' : 'migrations missing';
    await db.query('select 1');
    return 'ok';
  }

  async function check(): Promise<DatabaseState> {
    try {
      return await look(own);
    } catch (error) {
      // The server is there, and full: what counts then is whether this instance has a connection that works.
      if (codeOf((error as Error).cause) !== sqlstate.tooManyConnections) throw error;
      return Promise.any(others.map(look));
    }
  }

  const checking = coalesce(check, 0);
  async function checkInTime(): Promise<DatabaseState> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`no answer within ${answerMsMax} ms`)), answerMsMax);
    return Promise.race([checking(), late.promise]).finally(() => clearTimeout(timer));
  }

  const ask = coalesce(checkInTime, keptMs);
  return () => ask().catch(() => 'unreachable');
}
