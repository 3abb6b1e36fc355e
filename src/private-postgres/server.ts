// The private PostgreSQL server of a process that was given no DATABASE_URL: started, held, watched and stopped.
// One process holds a data folder at a time; what a killed one left behind is cleared, a server that dies is started again,
// and no committed row is lost.
import type { ChildProcess } from 'node:child_process';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { explain } from '../platform/db/explanations.ts';
import { createRoleAndDatabase } from '../platform/db/setup.ts';
import { backoffMs } from '../platform/runtime/backoff.ts';
import { EmbeddedPostgresError } from './account.ts';
import { removeDrafts } from './data-folder.ts';
import * as postmaster from './postmaster.ts';
import { splitRoles } from './split-roles.ts';

export { EmbeddedPostgresError };

/**
 * `url` names the database "rollcall" through the private socket, as a role that owns it and is no superuser; `adminUrl` names the
 * superuser. Both stay good when the server is started again, for processes of the user who started it (and of root).
 */
export type EmbeddedPostgres = AsyncDisposable & {
  readonly url: string;
  readonly adminUrl: string;
  readonly dataDir: string;
  /** Whose processes the server's are; undefined: the same as this one's. */
  readonly account: string | undefined;
};

type Options = {
  dataDir: string;
  holder: string;
  log: postmaster.Log;
  settings?: Record<string, string>;
};

type Session = { readonly client: Client; readonly ended: Promise<unknown> };

const lockKey = 0x726f6c6c;
const pollMs = 5;
const backoffMsMax = 2_000;
// A server that dies after this long is no sign of one that cannot live.
const steadyMs = 10_000;
// How long to wait for what others have to finish: old backends that exit, another starter's server.
const patienceMs = 30_000;
// How long a server's living starter has to take the lock before the server counts as left behind.
const graceMs = 2_000;

// What a session meets while a server starts or stops: system errors, SQLSTATE class 57 (operator intervention), too_many_connections.
const passingErrors = /ENOENT|ECONNREFUSED|ECONNRESET|EPIPE|EAGAIN|57P0[123]|53300|Connection terminated|timeout expired|not queryable/;

// A lock on one bigint shows it in objid, with objsubid 1, and counts within one database (pg_locks).
// pg_read_file reads in the server's own data folder.
const findHolderSql = `
  select current_setting('cluster_name') as starter,
    split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int as pid,
    (select a.application_name from pg_locks l join pg_stat_activity a using (pid)
      where l.locktype = 'advisory' and l.objid = ${lockKey} and l.objsubid = 1 and l.granted and a.datname = current_database()) as holder`;

/**
 * Runs PostgreSQL for `dataDir` and resolves once database "rollcall" takes queries. `settings` are further server settings;
 * `holder` is shown to whoever tries to start on the same folder meanwhile. Throws EmbeddedPostgresError.
 * Logs when the server started, was lost, was restarted, and when one that was left behind was stopped.
 */
export async function startEmbedded(options: Options): Promise<EmbeddedPostgres> {
  let server: Server | undefined;
  try {
    server = new Server(await postmaster.openPlace(resolve(options.dataDir), options.log), options);
    await server.start();
    return server;
  } catch (error) {
    await server?.[Symbol.asyncDispose]();
    // The system's errors and PostgreSQL's carry a code; anything else is a mistake in here and keeps its stack.
    const outside = error instanceof Error && codeOf(error) !== '';
    throw outside ? new EmbeddedPostgresError(explain(error.message, resolve(options.dataDir)), { cause: error }) : error;
  }
}

/** The address of the server that runs, or would run, for a data folder: for a command beside the service. */
export async function findEmbedded(dataDir: string): Promise<string> {
  return urlOf(await postmaster.openPlace(resolve(dataDir)));
}

function urlOf({ socketDir }: postmaster.Place, role = postmaster.serviceRole, database = postmaster.serviceRole): string {
  // Port and sslmode, or `pg` takes them from PGPORT and PGSSLMODE; localhost only because new URL() demands a host.
  const query = `host=${encodeURIComponent(socketDir)}&sslmode=disable`;
  return `postgresql://${role}@localhost:${postmaster.port}/${database}?${query}`;
}

class Server implements EmbeddedPostgres {
  readonly url: string;
  readonly adminUrl: string;
  readonly dataDir: string;
  readonly account: string | undefined;
  readonly #place: postmaster.Place;
  readonly #options: Options;
  /** Said by the server's cluster_name (who started it) and the lock session's application_name (who holds it); PostgreSQL keeps 63 bytes. */
  readonly #name: string;
  readonly #output = new postmaster.Output();
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #session: Session | undefined;
  #watching: Promise<void> | undefined;
  #disposed: Promise<void> | undefined;

  constructor(place: postmaster.Place, options: Options) {
    this.#place = place;
    this.#options = options;
    this.#name = `rollcall ${process.pid} ${options.holder}`.slice(0, 63);
    this.dataDir = place.dataDir;
    this.account = place.account.kind === 'self' ? undefined : place.account.name;
    this.url = urlOf(place);
    this.adminUrl = urlOf(place, postmaster.adminRole, 'postgres');
  }

  async start(): Promise<void> {
    const startedAt = performance.now();
    process.on('exit', this.#onExit);
    await postmaster.createCluster(this.#place, { durable: this.#options.settings?.fsync !== 'off' });
    this.#session = await this.#hold();
    await this.#prepareRoles(this.#session.client.user);
    this.#output.openFile(join(this.dataDir, 'postgres.log'));
    await removeDrafts(this.#place);
    this.#watching = this.#watch(this.#session);
    const { account } = this.#place;
    const fields = { pid: this.#child?.pid, dataDir: this.dataDir, account: account.name, ms: msSince(startedAt) };
    this.#options.log('PostgreSQL started', fields);
  }

  /** Only the holder of the folder may. `role` is the superuser by which the lock is held: in a cluster of an earlier version, the service's. */
  async #prepareRoles(role: string | undefined): Promise<void> {
    const isOld = role === postmaster.serviceRole;
    await createRoleAndDatabase(this.url, isOld ? urlOf(this.#place, role, 'postgres') : this.adminUrl);
    if (!isOld) return;
    await splitRoles(this.url, postmaster.serviceRole, postmaster.adminRole);
    this.#options.log('PostgreSQL roles split: the service is no superuser any more', { role });
  }

  /** Ends when the server is gone. The shutdown is fast: it disconnects whoever still uses it. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    this.#stopping.abort();
    await this.#watching;
    const child = this.#child;
    // The lock goes down with the server, not before it: a starter that comes now waits, and does not take a leaving server for a lost one.
    if (child?.pid) await postmaster.stopPostmaster(child.pid, () => postmaster.hasExited(child));
    this.#session?.client.end().catch(() => {});
    child?.stderr?.destroy();
    this.#output.closeFile();
    process.off('exit', this.#onExit);
  }

  // A process that exits without disposing still asks its server to stop; only SIGKILL leaves an orphan, for the next start.
  readonly #onExit = (): void => {
    if (this.#child && !postmaster.hasExited(this.#child)) this.#child.kill('SIGINT');
  };

  /** Ends with the lock of a server that this object started. Throws when another holds the folder, or the server cannot run. */
  async #hold(): Promise<Session> {
    const { signal } = this.#stopping;
    const startedAt = performance.now();
    for (let spawns = 0; ; await delay(pollMs, undefined, { signal })) {
      const waitedMs = msSince(startedAt);
      const session = await this.#connect();
      if (session && (await this.#seize(session, waitedMs))) return session;
      const child = this.#child;
      if (child && !postmaster.hasExited(child)) continue;
      const said = this.#output.end;
      // Only a server that could not start is judged: one that ran, or was sent a signal, is just replaced.
      const failed = spawns > 0 && Boolean(child?.exitCode);
      // An exit can be reported before the last words that explain it.
      if (failed && child?.stderr?.closed === false) continue;
      if ((failed && !postmaster.mayPass(said, this.#place)) || waitedMs > patienceMs) {
        throw new EmbeddedPostgresError(explain(said, this.dataDir));
      }
      if (session) continue;
      if (spawns++ > 0) await delay(backoffMs(spawns, { firstMs: 10, maxMs: 500 }), undefined, { signal });
      // Old backends may keep its other end open, and would keep this process open with it.
      child?.stderr?.destroy();
      if (!(await postmaster.prepare(this.#place, this.#options.log))) continue;
      signal.throwIfAborted();
      this.#child = postmaster.spawnPostmaster(this.#place, this.#name, this.#options.settings ?? {}, this.#output);
    }
  }

  /** A session on whichever server listens in our folder; none while none takes sessions. */
  async #connect(user = postmaster.adminRole): Promise<Session | undefined> {
    const target = { host: this.#place.socketDir, port: postmaster.port, user, database: 'postgres', ssl: false };
    const client = new Client({ ...target, application_name: this.#name, connectionTimeoutMillis: 5_000 });
    const ended = new Promise((resolve) => client.once('end', resolve));
    // Its end tells that a session is lost; an 'error' without a listener would end the process.
    client.on('error', () => {});
    return client.connect().then(
      () => ({ client, ended }),
      (error) => {
        // In a cluster of an earlier version the service's role was the superuser (28000: no such role).
        if (user === postmaster.adminRole && codeOf(error) === '28000') return this.#connect(postmaster.serviceRole);
        return passing(error);
      },
    );
  }

  /** Takes the lock of our own server, or ends the session. */
  async #seize({ client }: Session, waitedMs: number): Promise<boolean> {
    let held = false;
    try {
      held = await this.#claim(client, waitedMs);
    } finally {
      if (!held) client.end().catch(() => {});
    }
    return held;
  }

  /** Tells whether the lock of our own server is taken. A server left behind is stopped, for the next round to replace it. */
  async #claim(client: Client, waitedMs: number): Promise<boolean> {
    const found = await client
      .query<{ starter: string; pid: number; holder: string | null }>(findHolderSql)
      // Of a cluster of an earlier version, whose superuser another start has taken from this role since (42501): there is another by now.
      .catch((error) => (codeOf(error) === '42501' ? undefined : passing(error)));
    if (!found?.rows[0]) return false;
    const { starter, pid, holder } = found.rows[0];
    if (holder !== null) {
      throw new EmbeddedPostgresError(`${this.dataDir} is in use by ${describe(holder)}: stop that, or set DATA_DIR to another folder.`);
    }
    const own = pid === this.#child?.pid;
    // Between a server's first session and its starter's lock there is a moment in which it only looks left behind.
    if (!own && waitedMs < graceMs && postmaster.isAlive(Number(starter.split(' ')[1]))) return false;
    // Of two that come at once, only the owner of the lock may stop the server.
    const taken = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [lockKey]).catch(passing);
    const locked = taken?.rows[0]?.locked ?? false;
    if (own || !locked) return locked;
    // The server named this process itself, through the socket in our folder.
    await postmaster.stopPostmaster(pid, () => postmaster.isGone(pid, this.#place));
    this.#options.log('PostgreSQL left behind was stopped', { pid, starter: describe(starter) });
    return false;
  }

  /** Takes server and lock again whenever the lock's session is lost, as it is when the server dies, or only its backends. */
  async #watch(held: Session): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#stopping;
    const stopped = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    for (let session = held, heldAt = performance.now(), failures = 0; ; heldAt = performance.now()) {
      await Promise.race([session.ended, stopped]);
      if (signal.aborted) return;
      const lostAt = performance.now();
      if (lostAt - heldAt > steadyMs) failures = 0;
      log('PostgreSQL lost', { pid: this.#child?.pid }, 'warn');
      for (let reported = false; session === this.#session; ) {
        try {
          if (failures++ > 0) await delay(backoffMs(failures, { firstMs: 50, maxMs: backoffMsMax }), undefined, { signal });
          this.#session = await this.#hold();
        } catch (error) {
          if (signal.aborted) return;
          if (!reported) log('PostgreSQL restart failed', { reason: error instanceof Error ? error.message : error }, 'warn');
          reported = true;
        }
      }
      session = this.#session ?? session;
      log('PostgreSQL restarted', { pid: this.#child?.pid, ms: msSince(lostAt) });
    }
  }
}

function passing(error: Error): undefined {
  if (!passingErrors.test(`${codeOf(error)} ${error.message}`)) throw error;
}

function codeOf(error: Error): string {
  return String(Reflect.get(error, 'code') ?? '');
}

function describe(name: string): string {
  const [, pid = '?', holder = ''] = name.match(/^rollcall (\d+) (.*)$/) ?? [];
  return `process ${pid} (${holder})`;
}

function msSince(startedAt: number): number {
  return Math.round(performance.now() - startedAt);
}
