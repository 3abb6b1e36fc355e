// One PostgreSQL server process and its data folder: the cluster made, the server launched and ended, its words kept and explained.
// It knows nothing of who may use the folder; server.ts decides that.
import { type ChildProcess, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { access, constants, lchown, mkdir, mkdtemp, realpath, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { explain } from '../platform/db/explanations.ts';
import { type Account, EmbeddedPostgresError, findAccount, launch, run } from './account.ts';
import { type Binaries, openBinaries } from './binaries.ts';
import { findFormerOwner, furnish, handOver, ignoreExisting, insideOf, makePrivate, removeDraft, seal } from './data-folder.ts';

export type Log = (event: string, fields?: Record<string, unknown>, level?: 'info' | 'warn') => void;

/** Where a server lives: `pgdata` under `dataDir`, its socket in `socketDir`, run as `account`. */
export type Place = {
  readonly dataDir: string;
  readonly pgdata: string;
  readonly socketDir: string;
  readonly account: Account;
  readonly binaries: Binaries;
};

/** The port that names the socket's file; nothing listens on it. */
export const port = 5432;
/** The role that owns the cluster; only what starts and inspects the server uses it. */
export const adminRole = 'rollcall_admin';
/** The service's role, and its database: no superuser, owner of that database. */
export const serviceRole = 'rollcall';

const socketName = `.s.PGSQL.${port}`;
// sun_path holds 104 bytes on macOS and 108 on Linux, its closing zero included (unix(7)).
const socketPathBytesMax = 100;
const outputCharsMax = 8_192;
const logBytesMax = 1 << 20;
const pollMs = 5;
const lockFileFreshMs = 2_000;
// Fast shutdown, then immediate (which ends its own children by force after 5 s), then none.
const stopSteps = [
  ['SIGINT', 5_000],
  ['SIGQUIT', 6_000],
  ['SIGKILL', 5_000],
] as const;

// For pg_trgm and \\w letters are what lc_ctype says, whoever provides the collation. Not every system has the first.
const ctypes = ['C.UTF-8', 'en_US.UTF-8', 'C'];

// Both are what PostgreSQL says while another process has still to finish (miscinit.c, CreateLockFile; sysv_shmem.c).
const passingWords = /lock file "[^"]*" (?:already exists|is empty)|is still in use/;

/** Finds or makes the folders of a server, and who can run it there. */
export async function openPlace(asked: string, log: Log = () => {}): Promise<Place> {
  await mkdir(dirname(asked), { recursive: true });
  await mkdir(asked, { mode: 0o700 }).catch(ignoreExisting);
  // The real path, so that every name of one folder leads to one socket.
  const dataDir = await realpath(asked);
  const account = await findAccount(dataDir, (name) => log('Account created, since PostgreSQL refuses root', { account: name }));
  if (account.kind === 'system') await seal(dataDir);
  const binaries = await openBinaries(account, (path) => log('PostgreSQL copied to where its account can reach it', { path }));
  const inside = insideOf(dataDir);
  const outside = join(tmpdir(), `rollcall-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`);
  const socketDir = Buffer.byteLength(join(inside, socketName)) <= socketPathBytesMax ? inside : outside;
  if (socketDir !== inside) await makePrivate(socketDir, account);
  return { dataDir, pgdata: join(dataDir, 'pgdata'), socketDir, account, binaries };
}

/** Makes the cluster beside its place and renames it there: pgdata is whole or absent, whoever is killed, and whoever else makes one. */
export async function createCluster(place: Place, options: { durable: boolean }): Promise<void> {
  const { dataDir, pgdata, account, binaries } = place;
  const isMade = () => existsSync(join(pgdata, 'PG_VERSION'));
  if (isMade()) return;
  const draft = await mkdtemp(join(dataDir, 'init-'));
  try {
    await lchown(draft, account.uid, account.gid);
    await access(draft, constants.R_OK | constants.W_OK | constants.X_OK).catch(() => {
      throw new EmbeddedPostgresError(
        `Root may not enter the folders of the account "${account.name}" in ${dataDir} (CAP_DAC_OVERRIDE is missing): start as an ordinary user, or set DATABASE_URL.`,
      );
    });
    const args = ['-D', nameFor(account, draft), '-U', adminRole, '--auth-local=peer', '--auth-host=reject'];
    args.push('--data-checksums', '--no-instructions');
    args.push('--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8');
    if (!options.durable) args.push('--no-sync');
    for (const [n, ctype] of ctypes.entries()) {
      const { status, output } = await run(account, draft, binaries.initdb, [...args, `--lc-ctype=${ctype}`]);
      if (status === 0) break;
      if (n === ctypes.length - 1 || !/invalid locale/.test(output)) throw new EmbeddedPostgresError(explain(output, dataDir));
    }
    await rename(draft, pgdata);
  } catch (error) {
    await removeDraft(place, basename(draft));
    if (!isMade()) throw error;
  }
}

/** Readies the folders for a start. False: not now, since a server still runs there whose files another account must get first. */
export async function prepare(place: Place, log: Log): Promise<boolean> {
  const from = place.account.kind === 'system' ? await findFormerOwner(place) : undefined;
  if (from !== undefined) {
    const [pid] = readLockFile(join(place.pgdata, 'postmaster.pid'));
    if (Number(pid) > 0 && isServerOf(Number(pid), place.pgdata)) return false;
    await handOver(place, from);
    log('PostgreSQL data given to their own account', { account: place.account.name, from });
  }
  try {
    await furnish(place);
  } catch (error) {
    // Another one that starts at the same time may be giving the files to the account, or have just given them.
    if (place.account.kind !== 'system') throw error;
    if ((await findFormerOwner(place)) !== undefined) return false;
    await furnish(place);
  }
  return true;
}

/** What servers said: the end of it in memory, and from openFile on all of it, up to a bound, in a file. */
export class Output {
  #end = '';
  #file: { readonly fd: number; bytesLeft: number } | undefined;

  get end(): string {
    return this.#end;
  }

  clear(): void {
    this.#end = '';
  }

  record(text: string): void {
    this.#end = `${this.#end}${text}`.slice(-outputCharsMax);
    if (this.#file) this.#write(this.#file, text);
  }

  /** Begins the file anew. Only the holder of the folder may: a starter that loses must leave the winner's alone. */
  openFile(path: string): void {
    // Removed and made, never opened: as root we write into a folder whose owner could have put a link there.
    rmSync(path, { force: true });
    this.#file = { fd: openSync(path, 'wx', 0o600), bytesLeft: logBytesMax };
    this.#write(this.#file, this.#end);
  }

  closeFile(): void {
    if (this.#file) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #write(file: { readonly fd: number; bytesLeft: number }, text: string): void {
    if (file.bytesLeft <= 0) return;
    file.bytesLeft -= Buffer.byteLength(text);
    try {
      writeSync(file.fd, text);
    } catch {
      // A full disk must not end the service that could still free it.
    }
  }
}

/** Starts a server on the cluster. Its words go to `output`; it stays private whatever `settings` say. */
export function spawnPostmaster(place: Place, name: string, settings: Record<string, string>, output: Output): ChildProcess {
  const all = {
    // A failed statement is reported to its client; here its DETAIL would put a person's address into a file.
    log_min_messages: 'log',
    log_checkpoints: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...settings,
    // For isServerOf, where -D does not name the folder.
    'rollcall.pgdata': place.pgdata,
    port: `${port}`,
    listen_addresses: '',
    // From pgdata, where the server stands.
    unix_socket_directories: place.socketDir === insideOf(place.dataDir) ? 'run' : `"${place.socketDir.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    cluster_name: name,
  };
  const args = Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  // A session of its own: a terminal's Ctrl-C is for us, and we end it when its users are done.
  const child = launch(place.account, place.pgdata, place.binaries.postgres, ['-D', nameFor(place.account, place.pgdata), ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  output.clear();
  child.on('error', (error) => output.record(error.message));
  child.stderr?.on('error', () => {}).on('data', (chunk) => output.record(`${chunk}`));
  return child;
}

// What a program that starts in `folder` calls it. Linux follows this link without passing through the folders above (proc(5)), which
// may be closed to another account; PostgreSQL makes any relative name absolute.
function nameFor(account: Account, folder: string): string {
  return account.kind === 'self' || process.platform !== 'linux' ? folder : '/proc/self/cwd';
}

export function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether a server that could not start may start later; a lock file that keeps it from starting, but belongs to no server, is freed. */
export function mayPass(said: string, { pgdata }: Place): boolean {
  const passes = passingWords.test(said);
  if (passes) freeLockFile(join(pgdata, 'postmaster.pid'), pgdata);
  return passes;
}

/** Ends a server that gave `pid` as its own, and waits until it is gone. */
export async function stopPostmaster(pid: number, isGone: () => boolean): Promise<void> {
  for (const [name, waitMs] of stopSteps) {
    if (isGone()) return;
    signal(pid, name);
    for (const until = performance.now() + waitMs; !isGone() && performance.now() < until; ) await delay(pollMs);
  }
}

/** Whether the server of `pgdata` that gave `pid` as its own is gone. A zombie is: where no init reaps, its id lives on. */
export function isGone(pid: number, { pgdata }: Place): boolean {
  return readLockFile(join(pgdata, 'postmaster.pid'))[0] !== `${pid}` || !isServerOf(pid, pgdata);
}

export function isAlive(pid: number): boolean {
  return signal(pid, 0);
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    // EPERM: it lives, and belongs to someone else.
    return error instanceof Error && Reflect.get(error, 'code') === 'EPERM';
  }
}

// PostgreSQL holds to a lock file as long as the process id in it lives, and after a reboot or in a container that id may be anyone's,
// or a zombie's. It takes the id of its own parent for stale (miscinit.c, CreateLockFile), and that is ours. The lines that stay let it
// still refuse while an old backend has the shared memory.
function freeLockFile(file: string, pgdata: string): void {
  const lines = readLockFile(file);
  const pid = Math.abs(Number(lines[0]));
  if (lines.length === 0 || (pid > 0 ? isServerOf(pid, pgdata) : isFresh(file))) return;
  const draft = `${file}.${process.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, [process.pid, ...lines.slice(1)].join('\n'), { flag: 'wx', mode: 0o644 });
  // Without a pause between the two: a server that took the place of the stale file meanwhile must not lose its own.
  if (readLockFile(file).join('\n') === lines.join('\n')) renameSync(draft, file);
  else rmSync(draft);
}

// An empty lock file is being written, or a crash left it.
function isFresh(file: string): boolean {
  const made = statSync(file, { throwIfNoEntry: false });
  return !made || Date.now() - made.mtimeMs < lockFileFreshMs;
}

function readLockFile(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

// By its command line, which anyone may read: for root without CAP_SYS_PTRACE, as in a container, other links of /proc are closed.
function isServerOf(pid: number, pgdata: string): boolean {
  try {
    if (process.platform === 'linux') {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return words.includes(pgdata) || words.includes(`rollcall.pgdata=${pgdata}`);
    }
    return execFileSync('ps', ['-o', 'args=', '-p', `${pid}`], { encoding: 'utf8' }).includes(pgdata);
  } catch {
    return false;
  }
}
