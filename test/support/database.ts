// A database of its own for a test: cloned from the migrated template, or empty.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Database, openDatabase } from '../../harness/database.ts';

export type TestDatabase = Database & {
  readonly url: string;
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
  const database = openDatabase({ connectionString: url });
  const until = async (text: string, values?: unknown[]) => {
    for (const startedAt = performance.now(); (await database.query(text, values)).length === 0; )
      if (performance.now() - startedAt > patienceMs) throw new Error(`no row within ${patienceMs / 1000} s: ${text}`);
  };
  return {
    url,
    query: database.query,
    hold: database.hold,
    until,
    waitingForLock: () => until(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`),
    async [Symbol.asyncDispose]() {
      await database[Symbol.asyncDispose]();
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
