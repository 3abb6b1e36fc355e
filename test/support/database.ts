// A database of its own for a test: cloned from the migrated template, or empty.
import { randomBytes } from 'node:crypto';
import pg from 'pg';

export type TestDatabase = AsyncDisposable & {
  readonly url: string;
  /** Runs a statement past the service, as an operator would, with the rights of the service's role. */
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Runs a statement in a transaction that stays open, with its locks, until it is released. */
  hold(text: string, values?: unknown[]): Promise<{ release(): Promise<void> }>;
  /** Resolves when the query has a row. */
  until(text: string, values?: unknown[]): Promise<void>;
  /** Resolves when a session of this database waits for a lock. */
  waitingForLock(): Promise<void>;
};

/** How long a test waits for what must come; far more than it takes on a machine with six other busy processes. */
export const patienceMs = 60_000;

/** The server, as a superuser. */
export function serverUrl(): string {
  const url = process.env['TEST_POSTGRES_URL'];
  if (url === undefined) throw new Error('Run the tests with "npm test" or "npm run test:...": they start PostgreSQL and RabbitMQ.');
  return url;
}

/** A database, as the service's role, which is no superuser. */
export function databaseUrl(name: string): string {
  const url = new URL(serverUrl());
  url.username = 'rollcall';
  url.pathname = `/${name}`;
  return url.href;
}

export async function createDatabase(options: { template?: 'migrated' | 'empty' } = {}): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const template = options.template === 'empty' ? 'template1' : 'template_rollcall';
  await onServer(`create database ${name} template ${template} owner rollcall`);
  const url = databaseUrl(name);
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on('error', () => {});
  const holders = new Set<pg.PoolClient>();
  const until = async (text: string, values?: unknown[]) => {
    for (const startedAt = performance.now(); (await pool.query(text, values)).rowCount === 0; )
      if (performance.now() - startedAt > patienceMs) throw new Error(`no row within ${patienceMs / 1000} s: ${text}`);
  };
  return {
    url,
    query: async (text, values) => (await pool.query(text, values)).rows,
    async hold(text, values) {
      const client = await pool.connect();
      holders.add(client);
      await client.query('begin');
      await client.query(text, values);
      return {
        async release() {
          await client.query('commit');
          holders.delete(client);
          client.release();
        },
      };
    },
    until,
    waitingForLock: () => until(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`),
    async [Symbol.asyncDispose]() {
      // A test that failed has not released them, and its own words must come, not a hang.
      for (const client of holders) client.release(true);
      await pool.end();
      await onServer(`drop database ${name} with (force)`);
    },
  };
}

/** Events leave the outbox when the relay takes them; their copy in `announced` stays. */
export async function keepAnnounced(database: TestDatabase): Promise<void> {
  await database.query('create table announced (like outbox)');
  await database.query(`create function announce() returns trigger language plpgsql as
    'begin insert into announced select new.*; return null; end'`);
  await database.query('create trigger announced after insert on outbox for each row execute function announce()');
}

/** Runs a statement as a superuser, in no database of a test. */
export async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
