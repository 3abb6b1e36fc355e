// The account under which the private PostgreSQL server runs, and the folders that only this account (and root) may enter.
// PostgreSQL refuses root, so root lends the work to the data folder's own owner, else to nobody, and to no account that cannot reach its files.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { lchown, lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { text } from 'node:stream/consumers';

/** A refusal to run the private server. The message is one sentence with its cure: print it, without a stack. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

/** `wrapper` is what the command line begins with where the account needs help to reach its files. */
export type Account = { readonly uid: number; readonly gid: number; readonly home: string; readonly wrapper: readonly string[] };

// What lets an account past folders closed to others, the narrower first; a plain Docker container has only the second (capabilities(7)).
const capabilities = ['dac_read_search', 'dac_override'];

// Nothing of the caller's environment: PG* and locale variables would change what the server does, and C keeps its messages readable for us.
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** Finds who can run `program` on `dataDir`; as root it gives that account a folder that is root's, unless it holds other files. */
export async function findAccount(dataDir: string, program: string): Promise<Account> {
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, home: dataDir, wrapper: [] };
  if (self.uid !== 0) return self;
  const owner = await stat(dataDir);
  const plain = owner.uid === 0 ? await giveToNobody(dataDir, self) : { ...self, uid: owner.uid, gid: owner.gid };
  for (const account of [plain, ...capabilities.map((name) => lend(name, plain))]) if (await canReach(account, program)) return account;
  throw new EmbeddedPostgresError(
    `PostgreSQL refuses root, and user ${plain.uid}, who would run it, cannot reach ${dataDir} or ${program}: start as an ordinary user, move both out of folders closed to others, or set DATABASE_URL.`,
  );
}

/** Makes a folder of mode 0700 that belongs to the account, or proves that an existing one does; what someone else made is refused. */
export async function makePrivate(path: string, { uid, gid }: Account): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch(ignoreExisting);
  // lstat and lchown: in a folder that others may write, the name could be a link to somewhere else.
  if (uid !== process.getuid?.() && (await lstat(path)).uid === process.getuid?.()) await lchown(path, uid, gid);
  const found = await lstat(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return;
  throw new EmbeddedPostgresError(
    `${path} must be a folder of mode 0700 that belongs to user ${uid}, and is not: remove it, then start again.`,
  );
}

export function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

/** Starts a program as the account, in its data folder. */
export function launch(account: Account, program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const [file = program, ...rest] = [...account.wrapper, program, ...args];
  // Node takes a signed number here; macOS has a nobody of 2^32 - 2.
  const identity = account.wrapper.length > 0 || account.uid === process.getuid?.() ? {} : { uid: account.uid | 0, gid: account.gid | 0 };
  return spawn(file, rest, { ...options, ...identity, cwd: account.home, env: environment });
}

/** Runs a program to its end; `output` is both of its streams. A program that cannot be started rejects. */
export async function run(account: Account, program: string, args: readonly string[]): Promise<{ status: number | null; output: string }> {
  const child = launch(account, program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const status = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const [code, ...output] = await Promise.all([status, ...[child.stdout, child.stderr].map((stream) => (stream ? text(stream) : ''))]);
  return { status: code, output: output.join('') };
}

async function giveToNobody(dataDir: string, root: Account): Promise<Account> {
  const entries = await readdir(dataDir);
  if (entries.length > 0 && !entries.includes('pgdata')) {
    throw new EmbeddedPostgresError(`The data folder ${dataDir} holds other files of root's: set DATA_DIR to an empty or a new one.`);
  }
  const ids = await Promise.all(['-u', '-g'].map((flag) => run({ ...root, home: '/' }, 'id', [flag, 'nobody'])));
  const [uid, gid] = ids.map(({ status, output }) => (status === 0 ? Number(output) : Number.NaN));
  if (!uid || !gid) {
    throw new EmbeddedPostgresError(
      `PostgreSQL refuses root, and this system has no user nobody: give ${dataDir} to an ordinary user, or set DATABASE_URL.`,
    );
  }
  await lchown(dataDir, uid, gid);
  return { ...root, uid, gid };
}

// Ambient, because exec drops all others; without the fixup at setuid, because access(2), by which PostgreSQL finds its files, leaves
// out the capabilities of an ordinary user with it.
function lend(capability: string, account: Account): Account {
  const identity = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', '--securebits=+no_setuid_fixup'];
  return { ...account, wrapper: ['setpriv', ...identity, `--inh-caps=+${capability}`, `--ambient-caps=+${capability}`] };
}

async function canReach(account: Account, program: string): Promise<boolean> {
  return run({ ...account, home: '/' }, 'sh', ['-c', 'cd "$1" && test -x "$0"', program, account.home]).then(
    ({ status }) => status === 0,
    () => false,
  );
}
