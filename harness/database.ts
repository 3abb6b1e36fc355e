// A database past the service, as an operator sees it.
import pg from 'pg';

export type Database = AsyncDisposable & {
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Runs a statement in a transaction that stays open, with its locks, until it is released. */
  hold(text: string, values?: unknown[]): Promise<{ release(): Promise<void> }>;
};

/** Disposing gives back what is still held. */
export function openDatabase(config: pg.PoolConfig): Database {
  const pool = new pg.Pool({ max: 4, ...config });
  pool.on('error', () => {});
  const holders = new Set<pg.PoolClient>();
  return {
    query: async (text, values) => (await pool.query(text, values)).rows,
    async hold(text, values) {
      const client = await pool.connect();
      client.on('error', () => {});
      holders.add(client);
      await client.query('begin');
      await client.query(text, values);
      return {
        async release() {
          // The server may have gone meanwhile, and the transaction with it.
          const lost = await client.query('commit').catch((error: Error) => error);
          holders.delete(client);
          client.release(lost instanceof Error);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      // A test that failed has not released them, and its own words must come, not a hang.
      for (const client of holders) client.release(true);
      await pool.end();
    },
  };
}
