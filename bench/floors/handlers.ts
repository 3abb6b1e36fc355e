// Fastify as it comes, with handlers that run the statements of the service. No log, no validation, no hooks, no response schema.
import fastify from 'fastify';
import pg from 'pg';
import { deleteUser, updateUser } from '../../src/features/users/commands.ts';
import { listUsers } from '../../src/features/users/queries.ts';
import type { UserChange } from '../../src/features/users/schemas.ts';
import type { Db } from '../../src/platform/db/client.ts';
import { connectionSettings } from '../database.ts';
import { endWithBench, readInput } from './questions.ts';

const { port, url } = readInput<{ port: number; url: string }>();
const settings = connectionSettings(url);
const pool = new pg.Pool({ connectionString: url, statement_timeout: settings.statementTimeoutMs, max: settings.poolSize });
const db: Db = { query: async (text, values) => (await pool.query(text, values as unknown[])).rows };
const parts = { db, passwords: undefined as never, eventPayload: 'full' as const, confusables: 'refuse' as const };

const app = fastify();
app.get('/ready', async () => 'ready');
app.get<{ Querystring: { page?: string } }>('/users/', ({ query: { page = '1' } }) => listUsers(db, Number(page), 10));
app.put<{ Params: { id: string }; Body: UserChange }>('/users/:id', ({ params, body }) => updateUser(parts, params.id, body));
app.delete<{ Params: { id: string } }>('/users/:id', async ({ params }) => {
  await deleteUser(parts, params.id);
  return { message: `User ${params.id} has been deleted` };
});

endWithBench();
await app.listen({ host: '127.0.0.1', port });
