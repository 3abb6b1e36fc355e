// The account under which the private PostgreSQL server runs. PostgreSQL refuses root, so as root the work goes to the owner of the
// data folder, else to a system account of its own: never to nobody, which other services share. It gets no capability.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

/** A refusal to run the private server. The message is one sentence with its cure: print it, without a stack. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

export type Account = {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
  /** `self`: that of this process. As root, `owner`: that of the data folder; `system`: the one that exists for this alone. */
  readonly kind: 'self' | 'owner' | 'system';
};

type User = Omit<Account, 'kind'>;

const systemName = 'rollcall';
const addUser = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', systemName];
const lockedMsMax = 10_000;
const pollMs = 100;

// Nothing of the caller's environment: PG* and locale variables would change what the server does, and C keeps its messages readable for us.
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** Finds who is to run the server of a data folder; as root it makes the system account if that is missing. */
export async function findAccount(dataDir: string, onCreated: (name: string) => void): Promise<Account> {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return { uid, gid: process.getgid?.() ?? 0, name: nameOfSelf(), kind: 'self' };
  const owner = (await stat(dataDir)).uid;
  if (owner !== 0 && !(await isNobody(owner))) {
    const user = await findUser(owner);
    // Not the folder's group, which may be root's.
    return { uid: owner, gid: user?.gid ?? owner, name: user?.name ?? `${owner}`, kind: 'owner' };
  }
  const user = (await findUser(systemName)) ?? (await createUser(onCreated));
  if (user.uid !== 0 && !(await isNobody(user.uid))) return { ...user, kind: 'system' };
  throw new EmbeddedPostgresError(
    `PostgreSQL needs an account that no other service uses, and "${systemName}" has the user id ${user.uid}: give it one of its own, start as an ordinary user, or set DATABASE_URL.`,
  );
}

export async function isNobody(uid: number): Promise<boolean> {
  // Linux writes the first for an owner that it cannot map (user_namespaces(7)); the second is macOS's nobody, -2.
  return uid === 65_534 || uid === 0xffff_fffe || uid === (await findUser('nobody'))?.uid;
}

export function nameOfSelf(): string {
  try {
    return userInfo().username;
  } catch {
    throw new EmbeddedPostgresError(
      `PostgreSQL needs a name for user id ${process.getuid?.()}, and /etc/passwd has none: start as a named user, or set DATABASE_URL.`,
    );
  }
}

/** Starts a program as the account, or as this process's own user. The folder is entered before root is given up, so a folder above it may be closed to the account. */
export function launch(
  account: Account | undefined,
  cwd: string,
  program: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  // Node takes a signed number here.
  const identity = account === undefined || account.kind === 'self' ? {} : { uid: account.uid | 0, gid: account.gid | 0 };
  return spawn(program, args, { ...options, ...identity, cwd, env: environment });
}

/** Runs a program to its end; `output` is both of its streams. A program that cannot be started rejects. */
export async function run(
  account: Account | undefined,
  cwd: string,
  program: string,
  args: readonly string[],
): Promise<{ status: number | null; output: string }> {
  const child = launch(account, cwd, program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const status = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const [code, ...output] = await Promise.all([status, ...[child.stdout, child.stderr].map((stream) => (stream ? text(stream) : ''))]);
  return { status: code, output: output.join('') };
}

async function findUser(user: string | number): Promise<User | undefined> {
  const answers = await Promise.all(['-u', '-g', '-un'].map((flag) => run(undefined, '/', 'id', [flag, `${user}`])));
  if (answers.some(({ status }) => status !== 0)) return undefined;
  const [uid, gid, name = ''] = answers.map(({ output }) => output.trim());
  return { uid: Number(uid), gid: Number(gid), name };
}

async function createUser(onCreated: (name: string) => void): Promise<User> {
  for (const startedAt = performance.now(); ; await delay(pollMs)) {
    const { status, output } = await run(undefined, '/', 'useradd', addUser).catch((error: Error) => ({
      status: null,
      output: error.message,
    }));
    // Another start may have made it meanwhile, or hold the lock on the files while it does.
    const user = await findUser(systemName);
    if (user && status === 0) onCreated(user.name);
    if (user) return user;
    if (/lock/.test(output) && performance.now() - startedAt < lockedMsMax) continue;
    throw new EmbeddedPostgresError(
      `PostgreSQL refuses root, and the account "${systemName}", which runs it then, could not be made (${output.trim()}): make it with "useradd ${addUser.join(' ')}", start as an ordinary user, or set DATABASE_URL.`,
    );
  }
}
