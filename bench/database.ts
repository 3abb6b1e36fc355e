// The bench's own PostgreSQL server, durable as in production, and its databases: each measurement gets a clone of the one
// with the users, or of the empty one.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { readConfig } from '../src/config.ts';
import type { ConnectionSettings, Db } from '../src/platform/db/client.ts';
import { migrate } from '../src/platform/db/migrate.ts';
import { hash } from '../src/platform/security/argon2.ts';
import { recommendedCost } from '../src/platform/security/passwords.ts';
import { startEmbedded } from '../src/private-postgres/server.ts';

export const users = 100_000;

export type Database = Db & AsyncDisposable & { readonly url: string };

export type Databases = AsyncDisposable & {
  readonly version: string;
  /** As the superuser. */
  readonly admin: Db;
  clone(template: 'users' | 'empty'): Promise<Database>;
};

/** How the service connects by default. */
export function connectionSettings(url: string): ConnectionSettings & { readonly poolSize: number } {
  const config = readConfig({ DATABASE_URL: url });
  return {
    url,
    applicationName: 'bench floor',
    connectTimeoutMs: config.DATABASE_CONNECT_TIMEOUT_MS,
    statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
    poolSize: config.DATABASE_POOL_SIZE,
  };
}

/** @param further settings of the server */
export async function startDatabases(further: Record<string, string>): Promise<Databases> {
  await using starting = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'rollcall-bench-pg-'));
  starting.defer(() => rm(dataDir, { recursive: true, force: true }));
  // Commit times are what the rows about events are made of; nothing else is set by itself, so that every commit is flushed.
  const settings = { track_commit_timestamp: 'on', ...further };
  const server = starting.use(await startEmbedded({ dataDir, holder: 'npm run bench', log: () => {}, settings }));
  const urlOf = (name: string) => {
    const url = new URL(server.url);
    url.pathname = `/${name}`;
    return url.href;
  };
  const admin = starting.use(await connect(server.adminUrl));

  for (const name of ['empty', 'users']) {
    await admin.query(`create database ${name} owner rollcall`);
    await migrate({ ...connectionSettings(urlOf(name)), statementTimeoutMs: 0 });
  }
  await using filled = await connect(urlOf('users'));
  await filled.query(
    `insert into "user" (name, surname, password)
     select 'Name ' || n, 'Surname ' || n, $1 from generate_series(1, $2::int) as n`,
    [await hash('correct horse battery', recommendedCost), users],
  );
  await filled.query('vacuum (analyze) "user"');
  const [{ version = '' } = {}] = await filled.query<{ version: string }>(`select current_setting('server_version') as version`);
  await admin.query('checkpoint');

  let clones = 0;
  const running = starting.move();
  return {
    version,
    admin,
    async clone(template) {
      clones += 1;
      const name = `clone_${clones}`;
      await admin.query(`create database ${name} template ${template} owner rollcall`);
      // Or the one that comes by itself would fall into the measurement.
      await admin.query('checkpoint');
      const database = await connect(urlOf(name));
      return {
        ...database,
        async [Symbol.asyncDispose]() {
          await database[Symbol.asyncDispose]();
          await admin.query(`drop database ${name} with (force)`);
        },
      };
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function connect(url: string): Promise<Database> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return {
    url,
    query: async (text, values) => (await client.query(text, values as unknown[])).rows,
    [Symbol.asyncDispose]: () => client.end(),
  };
}
