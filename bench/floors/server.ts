// Fastify as it comes: a route that answers at once and, where there is a database, one that runs the query of GET by id.
// No log, no validation, no hooks, no response schema.
import fastify from 'fastify';
import pg from 'pg';
import { endWithBench, readInput } from './questions.ts';

export type FloorDatabase = { readonly config: pg.PoolConfig; readonly sql: string };

const { port, database } = readInput<{ port: number; database?: FloorDatabase }>();
const user = { id: 1, name: 'John', surname: 'Doe', created_at: '2025-01-01T10:00:00.000000Z', updated_at: '2025-01-01T10:00:00.000000Z' };

const app = fastify();
app.get('/bare', async () => user);

if (database !== undefined) {
  const { config, sql } = database;
  const pool = new pg.Pool(config);
  app.get<{ Params: { id: string } }>('/users/:id', async ({ params }) => {
    const { rows } = await pool.query(sql, [params.id]);
    return { ...rows[0], id: Number(rows[0].id) };
  });
}

endWithBench();
await app.listen({ host: '127.0.0.1', port });
