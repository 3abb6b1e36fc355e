// The statements of one operation in a bare loop over the driver: as many callers as the load has connections, sharing a
// pool like the service's.
import pg from 'pg';
import { clientConfig, type Db } from '../../src/db/client.ts';
import { connectionSettings } from '../database.ts';
import { connections } from '../load.ts';
import { operations } from '../operations.ts';
import { answerQuestions, readInput } from './questions.ts';

const { url, operation } = readInput<{ url: string; operation: keyof typeof operations }>();
const settings = connectionSettings(url);
// No time limits: the loop measures, it refuses nobody.
const pool = new pg.Pool({ ...clientConfig({ ...settings, connectTimeoutMs: 0, statementTimeoutMs: 0 }), max: settings.poolSize });
const db: Db = { query: async (text, values) => (await pool.query(text, values as unknown[])).rows };
const { statement } = operations[operation];
let n = 0;

/** Statements a second. */
async function run(seconds: number): Promise<number> {
  const startedAt = performance.now();
  const from = n;
  async function call(): Promise<void> {
    while (performance.now() - startedAt < seconds * 1000) {
      n += 1;
      await statement(db, n);
    }
  }
  await Promise.all(Array.from({ length: connections }, call));
  return ((n - from) * 1000) / (performance.now() - startedAt);
}

answerQuestions(({ seconds }: { seconds: number }) => run(seconds));
