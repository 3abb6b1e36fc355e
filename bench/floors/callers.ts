// Callers in a bare loop over the driver: as many as the load has connections, sharing a pool like the service's.
import pg from 'pg';
import type { Db } from '../../src/platform/db/client.ts';
import { connectionSettings } from '../database.ts';
import { connections } from '../load.ts';
import { operations } from '../operations.ts';

export type Callers = {
  /** @returns how many calls that were; those under way at the end are waited for */
  call(seconds: number): Promise<number>;
};

export function createCallers(url: string, operation: keyof typeof operations): Callers {
  const settings = connectionSettings(url);
  // No time limits: the loop measures, it refuses nobody.
  const pool = new pg.Pool({ connectionString: url, max: settings.poolSize });
  const db: Db = { query: async (text, values) => (await pool.query(text, values as unknown[])).rows };
  const { statement } = operations[operation];
  let n = 0;
  return {
    async call(seconds) {
      const until = performance.now() + seconds * 1000;
      const from = n;
      async function repeat(): Promise<void> {
        while (performance.now() < until) {
          n += 1;
          await statement(db, n);
        }
      }
      await Promise.all(Array.from({ length: connections }, repeat));
      return n - from;
    },
  };
}
