// The PostgreSQL server of a run, as durable as any: it can be stopped, killed, started again, and run out of disk.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Database as OpenDatabase, openDatabase } from '../harness/database.ts';
import type { Watchdog } from '../harness/watchdog.ts';
import { explain } from '../src/platform/db/explanations.ts';
import * as postmaster from '../src/private-postgres/postmaster.ts';

/** Queried past all proxies, and as the service's role; a query rejects while the server is away. */
export type Database = OpenDatabase & { readonly name: string };

/** The service's, which owns its database and is no superuser. */
export const role = postmaster.serviceRole;

const startMsMax = 60_000;
const diskBytes = 768 << 20;
const ballastPieces = [Buffer.alloc(16 << 20), Buffer.alloc(1 << 12)];
// Small, so that a full disk needs little to recover. Whatever else matters is PostgreSQL's default, fsync above all.
const settings = { max_connections: '120', max_wal_size: '128MB', min_wal_size: '32MB' };

/** @param smallDisk whether its data go to a small disk of their own, where this machine lets us */
export async function startPostgres(folder: string, watchdog: Watchdog, smallDisk: boolean): Promise<Postgres> {
  const dataDir = join(folder, 'postgres');
  const noSmallDisk = smallDisk ? await mountDisk(dataDir) : 'it was not asked for at the start';
  try {
    const place = await postmaster.openPlace(dataDir);
    await postmaster.createCluster(place, { durable: true });
    const server = new Postgres(place, watchdog, noSmallDisk);
    await server.start();
    await server.createRole();
    return server;
  } catch (error) {
    if (noSmallDisk === undefined) await unmountDisk(dataDir);
    throw error;
  }
}

export class Postgres implements AsyncDisposable {
  /** Where it listens: a unix socket, past all proxies. */
  readonly socketPath: string;
  /** Why its disk cannot be filled, if it cannot. */
  readonly noSmallDisk: string | undefined;
  readonly #place: postmaster.Place;
  readonly #watchdog: Watchdog;
  readonly #output = new postmaster.Output();
  #child: ChildProcess | undefined;

  constructor(place: postmaster.Place, watchdog: Watchdog, noSmallDisk: string | undefined) {
    this.#place = place;
    this.#watchdog = watchdog;
    this.noSmallDisk = noSmallDisk;
    this.socketPath = join(place.socketDir, `.s.PGSQL.${postmaster.port}`);
  }

  get running(): boolean {
    return this.#child !== undefined && !postmaster.hasExited(this.#child);
  }

  /** Resolves when it takes queries. */
  async start(): Promise<void> {
    const startedAt = performance.now();
    for (let launched = false; performance.now() - startedAt < startMsMax; await sleep(20)) {
      if (!this.running) {
        // What a killed postmaster left running may still hold the shared memory for a moment.
        if (launched && !postmaster.mayPass(this.#output.end, this.#place)) break;
        // Nobody else uses the folder, so there is no other server to wait for.
        await postmaster.prepare(this.#place, () => {});
        launched = true;
        this.#launch();
      }
      if (await this.#takesQueries()) return;
    }
    throw new Error(`PostgreSQL did not start: ${explain(this.#output.end, this.#place.dataDir)}`);
  }

  /** A fast shutdown: it disconnects whoever uses it. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.pid !== undefined) await postmaster.stopPostmaster(child.pid, () => postmaster.hasExited(child));
    this.#forget();
  }

  /** SIGKILL for the postmaster alone; its backends find out by themselves. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    this.#forget();
  }

  /** Uses up its disk, and whatever comes free until `signal`. @returns the bytes that were free at first */
  async fillDisk(signal: AbortSignal): Promise<number> {
    const { bavail, bsize } = await statfs(this.#place.dataDir);
    const ballast = await open(this.#ballastPath, 'a');
    try {
      while (!signal.aborted) {
        for (const piece of ballastPieces) while (await isWritten(ballast.write(piece)));
        await sleep(50, undefined, { signal }).catch(() => {});
      }
    } finally {
      await ballast.close();
    }
    return bavail * bsize;
  }

  async freeDisk(): Promise<void> {
    await rm(this.#ballastPath, { force: true });
  }

  async createRole(): Promise<void> {
    await this.#onServer(`create role ${role} login`);
  }

  /** Begins a new file of its log, for which it then needs room. */
  async switchWal(): Promise<void> {
    await this.#onServer('select pg_switch_wal()');
  }

  async createDatabase(name: string): Promise<Database> {
    await this.#onServer(`create database ${name} owner ${role}`);
    const database = openDatabase({ ...this.#target(role, name), application_name: 'chaos', connectionTimeoutMillis: 2000 });
    return {
      ...database,
      name,
      [Symbol.asyncDispose]: async () => {
        await database[Symbol.asyncDispose]();
        if (this.running) await this.#onServer(`drop database if exists ${name} with (force)`);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.noSmallDisk === undefined) await unmountDisk(this.#place.dataDir);
  }

  get #ballastPath(): string {
    return join(this.#place.dataDir, 'ballast');
  }

  #launch(): void {
    this.#forget();
    this.#child = postmaster.spawnPostmaster(this.#place, `rollcall ${process.pid} chaos`, settings, this.#output);
    this.#watchdog.watch(this.#child.pid);
  }

  #forget(): void {
    this.#watchdog.forget(this.#child?.pid);
    // Old backends may keep its other end open, and would keep this process open with it.
    this.#child?.stderr?.destroy();
    this.#child = undefined;
  }

  #target(user: string, database: string): pg.ClientConfig {
    return { host: this.#place.socketDir, port: postmaster.port, user, database, ssl: false };
  }

  async #takesQueries(): Promise<boolean> {
    return this.#onServer('select 1').then(
      () => true,
      () => false,
    );
  }

  async #onServer(statement: string): Promise<void> {
    const client = new pg.Client({ ...this.#target(postmaster.adminRole, 'postgres'), connectionTimeoutMillis: 2000 });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query(statement);
    } finally {
      client.end().catch(() => {});
    }
  }
}

async function isWritten(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}

/** @returns why there is none */
async function mountDisk(path: string): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a small disk of its own needs root, to mount it';
  await mkdir(path, { mode: 0o700 });
  const refusal = await runToEnd('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes},mode=0700`, 'tmpfs', path]);
  return refusal === undefined ? undefined : `a small disk cannot be mounted here, though this is root: ${refusal}`;
}

async function unmountDisk(path: string): Promise<void> {
  // Lazily: backends that are just going still have their folder.
  await runToEnd('umount', ['--lazy', path]);
}

/** @returns what it said if it failed */
async function runToEnd(program: string, args: readonly string[]): Promise<string | undefined> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk) => (words += chunk));
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code) => resolve(code === 0 ? undefined : words.trim() || `exit code ${code}`));
  });
}
