// Connections to PostgreSQL and the two ways to use them: Db runs statements, Tx runs them inside one transaction.
// A server that is away reaches the caller as a DatabaseUnavailableError, within the two time limits.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createRoute } from './route.ts';
import { codeOf, meaningOf, sqlstate } from './sqlstate.ts';
import { createStatements, mayBeOfPreparation, type Send } from './statements.ts';
import { DatabaseUnavailableError, isUnavailable } from './unavailable.ts';

export type Db = {
  /** One statement, `$1` for the first value; int8 comes back as a string. A text that comes again is planned once a connection. */
  query<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>;
};

declare const inside: unique symbol;
/** Only `inTransaction` makes one, so a statement that needs its neighbours cannot be given a pool by mistake. */
export type Tx = Db & { readonly [inside]: true };

export type ConnectionSettings = {
  readonly url: string;
  readonly applicationName: string;
  readonly connectTimeoutMs: number;
  /** 0: no limit. The server cancels at it; the client gives the connection up a little later. */
  readonly statementTimeoutMs: number;
  /** Called once by a pool that cannot prepare its statements, since something between it and the server hands sessions on. */
  readonly onUnprepared?: () => void;
};

/** Time for the server's own cancel to arrive before the client closes a connection that may be dead. */
const cancelGraceMs = 300;
/** After it PostgreSQL ends a transaction whose holder has stopped, and with it the relay's lock. */
export const idleInTransactionMs = 15_000;

function clientConfig(settings: ConnectionSettings): pg.ClientConfig {
  return {
    application_name: settings.applicationName,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    keepAlive: true,
    ...(settings.statementTimeoutMs > 0 && {
      statement_timeout: settings.statementTimeoutMs,
      query_timeout: settings.statementTimeoutMs + cancelGraceMs,
    }),
  };
}

// One plan for any values, kept for as long as its connection, while a table that was empty gets a million rows: every statement here
// has an index that serves it at any size. No compiling of statements (`jit`): that takes a quarter of a second where the statistics
// promise many rows, and what runs here reads few. No workers either: starting them takes longer than such a statement.
const planning = { plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off', jit: 'off', max_parallel_workers_per_gather: 0 };

// Statements of one transaction read what others have committed meanwhile: the relay's lock and the order of the log rest on it.
const begin = 'begin isolation level read committed';

// PgBouncer hands no startup parameter on, and a holder of the relay's lock that stopped would then hold it for ever: its limits come
// with each transaction, in the round trip of `begin`, and leave with it.
function pooledBegin({ statementTimeoutMs }: ConnectionSettings): string {
  if (statementTimeoutMs === 0) return begin;
  const settings = { statement_timeout: statementTimeoutMs, idle_in_transaction_session_timeout: idleInTransactionMs, ...planning };
  return [begin, ...Object.entries(settings).map(([name, value]) => `set local ${name} = ${value}`)].join('; ');
}

// What a role or a database may have other defaults for, and statements here rest on. Behind PgBouncer in transaction mode it
// reaches one session of several: there a default isolation above read committed costs repeated statements, and no more.
const sessionSql = [
  "default_transaction_isolation = 'read committed'",
  'default_transaction_read_only = off',
  'standard_conforming_strings = on',
  "datestyle = 'ISO'",
  "timezone = 'UTC'",
  'lock_timeout = 0',
  ...Object.entries(planning).map(([name, value]) => `${name} = ${value}`),
]
  .map((setting) => `set ${setting}`)
  .join('; ');

/** @returns whether a pooler stands between: it has made up the process id that it gave to the client */
async function prepareSession(client: pg.ClientBase, { statementTimeoutMs }: ConnectionSettings): Promise<boolean> {
  // Only a limit can be asked for at the start of a session.
  const settings = statementTimeoutMs === 0 ? `set statement_timeout = 0; ${sessionSql}` : sessionSql;
  const results = (await client.query(`${settings}; select pg_backend_pid() as pid`)) as unknown as pg.QueryResult<{ pid: number }>[];
  const isPooled = results.at(-1)?.rows[0]?.pid !== (client as { processID?: number }).processID;
  // A pooler would hand it on to whoever comes next.
  if (!isPooled && statementTimeoutMs > 0) await client.query(`set idle_in_transaction_session_timeout = ${idleInTransactionMs}`);
  return isPooled;
}

/** A connection of its own, which the caller ends. Its loss is reported by the next statement. */
export async function connect(settings: ConnectionSettings): Promise<pg.Client> {
  const { client } = await connectSession(settings);
  return client;
}

/** As `connect`; tells whether a pooler stands between, which gives the server's session to others meanwhile. */
export async function connectSession(settings: ConnectionSettings): Promise<{ readonly client: pg.Client; readonly isPooled: boolean }> {
  const { Client, attempt } = createRoute(settings.url);
  const client = await attempt(async () => {
    const connecting = new Client(clientConfig(settings));
    connecting.on('error', () => {});
    return connecting.connect();
  });
  return { client, isPooled: await prepareSession(client, settings) };
}

/** How often one statement is run where another transaction was in its way and nothing of it was done. */
const attemptsMax = 20;

async function runAlone<Row>(query: () => Promise<Row[]>): Promise<Row[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await query();
    } catch (error) {
      if (attempt === attemptsMax || meaningOf(error) !== 'again') throw named(error);
      await sleep(Math.random() * 5 * attempt);
    }
  }
}

function named(error: unknown): unknown {
  return isUnavailable(error) ? new DatabaseUnavailableError(error) : error;
}

/** One of its number over all instances, or one for each name under it. */
export type AdvisoryLock = { readonly key: number; readonly name?: string };

export type Pool = Db &
  AsyncDisposable & {
    /** Commits what `work` did, or nothing of it. */
    inTransaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>;
    /**
     * The same in a transaction that holds an advisory lock until its end, which is asked for in the round trip of its beginning.
     * @param work may commit what it did with `renew` and go on in another transaction, in one round trip: false where the lock went to
     * somebody else meanwhile
     * @returns undefined where another transaction holds it: `work` was not begun
     */
    underLock<Result>(lock: AdvisoryLock, work: (tx: Tx, renew: () => Promise<boolean>) => Promise<Result>): Promise<Result | undefined>;
    readonly size: number;
    readonly idle: number;
    readonly waiting: number;
  };

/** Connections are made when they are needed; a server that is away is an error of the query, not of the start. */
export function startPool(settings: ConnectionSettings, size: number): Pool {
  const { Client, attempt } = createRoute(settings.url);
  let isPooled = false;
  const statements = createStatements(
    () => isPooled,
    () => settings.onUnprepared?.(),
  );
  const pool = new pg.Pool({
    ...clientConfig(settings),
    Client: Client as never,
    max: size,
    idleTimeoutMillis: 60_000,
    async onConnect(client) {
      isPooled = await prepareSession(client, settings);
    },
  });
  // The pool drops a broken idle connection by itself; without a listener the event would end the process.
  pool.on('error', () => {});

  async function transact<Result>(
    begin: () => string,
    work: (tx: Tx, began: readonly object[]) => Promise<Result>,
    send: Send,
  ): Promise<Result> {
    const client = await attempt(() => pool.connect()).catch((error: unknown) => {
      throw named(error);
    });
    // A connection lost between two statements is reported by the next statement.
    const ignore = () => {};
    client.on('error', ignore);
    let broken = false;
    const tx = {
      query: (text, values) =>
        send(client, text, values).catch((error: unknown) => {
          // Also a standby, that an address led to which may lead to the primary by now.
          broken ||= mayBeOfPreparation(error) || codeOf(error) === sqlstate.readOnlyTransaction;
          throw named(error);
        }),
    } as Tx;
    try {
      const result = await work(tx, await tx.query(begin()));
      await tx.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => {
        broken = true;
      });
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }

  // Known once there is a connection.
  const beginSql = () => (isPooled ? pooledBegin(settings) : begin);

  return {
    // The pool closes a connection whose statement failed.
    query: (text, values) => runAlone(() => attempt(() => statements.run((send) => send(pool, text, values)))),
    inTransaction: (work) => statements.run((send) => transact(beginSql, work, send)),
    underLock({ key, name }, work) {
      const place = name === undefined ? key : `${key}, hashtext(${pg.escapeLiteral(name)})`;
      const beginLocked = () => `${beginSql()}; select pg_try_advisory_xact_lock(${place}) as locked`;
      const isLocked = ([row]: readonly object[]) => (row as { locked: boolean }).locked;
      return statements.run((send) =>
        transact(
          beginLocked,
          async (tx, began) => (isLocked(began) ? work(tx, async () => isLocked(await tx.query(`commit; ${beginLocked()}`))) : undefined),
          send,
        ),
      );
    },
    get size() {
      return pool.totalCount;
    },
    get idle() {
      return pool.idleCount;
    },
    get waiting() {
      return pool.waitingCount;
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
