// Global setup of the test runner: one PostgreSQL with a migrated template database and one RabbitMQ for the whole run,
// told to the test files by the environment.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startRabbit } from '../../harness/rabbitmq.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { startEmbedded } from '../../src/private-postgres/server.ts';

const running = new AsyncDisposableStack();

// Durability is tested where it matters, on a server of its own; here it would only cost time.
const fast = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '500' };

export async function globalSetup(): Promise<void> {
  try {
    const [postgresUrl, rabbit] = await Promise.all([startPostgres(), startRabbit()]);
    running.use(rabbit);
    process.env['TEST_POSTGRES_URL'] = postgresUrl;
    process.env['TEST_RABBITMQ_URL'] = rabbit.url;
    if (rabbit.managementUrl !== undefined) process.env['TEST_RABBITMQ_MANAGEMENT_URL'] = rabbit.managementUrl;
  } catch (error) {
    await running.disposeAsync();
    throw error;
  }
}

export async function globalTeardown(): Promise<void> {
  await running.disposeAsync();
}

async function startPostgres(): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'rollcall-test-'));
  running.defer(() => rm(dataDir, { recursive: true, force: true }));
  const server = running.use(await startEmbedded({ dataDir, holder: 'the test run', log: () => {}, settings: fast }));
  const client = new pg.Client({ connectionString: server.adminUrl });
  await client.connect();
  await client.query('create database template_rollcall owner rollcall');
  await client.end();
  const template = new URL(server.url);
  template.pathname = '/template_rollcall';
  await migrate({ url: template.href, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 0 });
  return server.adminUrl;
}
