// Who owns what in a data folder. Started as root, the folder is root's and closed, the log in it too, and the server's account owns
// only the cluster in it; what root does there never follows a name that the account, or an earlier one, could have changed.
import { chmod, lchown, lstat, mkdir, readdir, rename, rm, rmdir, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { explain } from '../platform/db/explanations.ts';
import { type Account, EmbeddedPostgresError, isNobody, nameOfSelf, run } from './account.ts';

type Folder = { readonly dataDir: string; readonly pgdata: string; readonly socketDir: string; readonly account: Account };

const ours = /^(?:pgdata|run|postgres\.log|init-.*|handover-\d+)$/;
const handover = /^handover-(\d+)$/;

/** Makes a data folder root's alone. A folder with other files of root's is left as it is. */
export async function seal(dataDir: string): Promise<void> {
  const names = await readdir(dataDir);
  if (!names.includes('pgdata') && names.some((name) => !ours.test(name))) {
    throw new EmbeddedPostgresError(`The data folder ${dataDir} holds other files of root's: set DATA_DIR to an empty or a new one.`);
  }
  if ((await lstat(dataDir)).uid !== 0) await lchown(dataDir, 0, 0);
  const { uid, mode } = await lstat(dataDir);
  // Linux brings the server past it. From the cluster, `..` then leads nowhere, though the folders above may be open further up.
  const closed = process.platform === 'linux' ? 0o700 : 0o711;
  if (uid === 0 && (mode & 0o777) !== closed) await chmod(dataDir, closed);
}

/** Makes a folder of mode 0700 that belongs to the account, or proves that an existing one does; what someone else made is refused. */
export async function makePrivate(path: string, account: Account): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch(ignoreExisting);
  // lstat and lchown: in a folder that others may write, the name could be a link to somewhere else.
  if (account.kind !== 'self' && (await lstat(path)).uid === 0) await lchown(path, account.uid, account.gid);
  const found = await lstat(path);
  // Nobody's is that of an earlier version's server, which may still run.
  const owned = found.uid === account.uid || (account.kind === 'system' && (await isNobody(found.uid)));
  if (found.isDirectory() && owned && (found.mode & 0o077) === 0) return;
  throw new EmbeddedPostgresError(
    `${path} must be a folder of mode 0700 that belongs to user ${account.uid}, and is not: remove it, then start again.`,
  );
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

export function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

/**
 * Finds whose the cluster is, where it is not the account's, or not yet all of it: nobody's, from an earlier version, or root's, from a
 * copy. Only for a folder that is sealed.
 */
export async function findFormerOwner({ dataDir, pgdata, account }: Folder): Promise<number | undefined> {
  const found = await lstat(pgdata).catch(ignoreMissing);
  // Looked for after the owner: it is made before pgdata changes hands.
  const mark = (await readdir(dataDir)).find((name) => handover.test(name));
  if (mark !== undefined) return Number(mark.match(handover)?.[1]);
  return found?.uid === account.uid ? undefined : found?.uid;
}

/** Gives the cluster to the account. No server may run on it. May be interrupted, and is then done again. */
export async function handOver({ dataDir, socketDir, account }: Folder, from: number): Promise<void> {
  const mark = join(dataDir, `handover-${from}`);
  await writeFile(mark, '');
  for (const name of await readdir(dataDir))
    if (/^(?:pgdata|run|init-.*)$/.test(name)) await give(join(dataDir, name), from, account).catch(ignoreMissing);
  if (socketDir !== insideOf(dataDir)) {
    await give(socketDir, from, account);
    // A socket that somebody else still holds open must not be taken for the server's.
    for (const name of await readdir(socketDir)) await unlink(join(socketDir, name)).catch(ignoreMissing);
  }
  await rm(mark, { force: true });
}

/**
 * Writes who may log in: whoever starts the service, and root, as any role; the system tells the server who connects (peer). Makes the
 * folder for the socket, and its name in the data folder. No server may run, but one may start.
 */
export async function furnish({ dataDir, pgdata, socketDir, account }: Folder): Promise<void> {
  const users = new Set([nameOfSelf(), 'root', ...(account.kind === 'owner' ? [account.name] : [])]);
  const files = {
    'pg_hba.conf': 'local all all peer map=rollcall\n',
    'pg_ident.conf': [...users].map((user) => `rollcall "${user.replaceAll('"', '""')}" all\n`).join(''),
  };
  const inside = Object.keys(files).map(
    (name, n) => `printf '# Written by Rollcall at each start.\\n%s' "$${n + 2}" >${name}.$$ && mv -f ${name}.$$ ${name}`,
  );
  // The lock that counts is the cluster's; that of the socket may hold a process id that is somebody else's by now.
  inside.push('mkdir -p run', 'rm -f "$1/.s.PGSQL.5432.lock"');
  const lockDir = socketDir === insideOf(dataDir) ? 'run' : socketDir;
  // As the account: whatever it has put under these names, it overwrites itself.
  const args = ['-c', `umask 077; ${inside.join(' && ')}`, 'sh', lockDir, ...Object.values(files)];
  const { status, output } = await run(account, pgdata, 'sh', args);
  if (status !== 0) throw new EmbeddedPostgresError(explain(output, dataDir));
  await linkSocketFolder(dataDir);
}

// Earlier versions had a folder where the link stands now: it goes with the drafts. Another start may do the same at the same time.
async function linkSocketFolder(dataDir: string): Promise<void> {
  const path = insideOf(dataDir);
  const aside = join(dataDir, `init-run-${process.pid}`);
  const isLink = async (name: string) => (await lstat(name).catch(ignoreMissing))?.isSymbolicLink();
  if ((await isLink(path)) === false) await rename(path, aside).catch(ignoreMissing);
  if (await isLink(aside)) await unlink(aside);
  await symlink('pgdata/run', path).catch(ignoreExisting);
}

/** Where the socket is by its usual name. It lies in the cluster, so that a server need not reach anything outside it. */
export function insideOf(dataDir: string): string {
  return join(dataDir, 'run');
}

/** Removes what interrupted or beaten starters were making. Only the holder of the folder may. */
export async function removeDrafts(folder: Folder): Promise<void> {
  for (const name of await readdir(folder.dataDir)) if (name.startsWith('init-')) await removeDraft(folder, name);
}

/** An initdb that outlived its starter may still be writing; what stays goes at the next start. */
export async function removeDraft({ dataDir, account }: Folder, name: string): Promise<void> {
  await run(account, join(dataDir, name), 'find', ['.', '-mindepth', '1', '-delete']).catch(() => {});
  await rmdir(join(dataDir, name)).catch(() => {});
}

// From the top down: a folder is no longer its former owner's before its names are read, so no name below it can be changed meanwhile.
async function give(path: string, from: number, account: Account): Promise<void> {
  const found = await lstat(path);
  // A file with a second name may be somebody else's file.
  if (!found.isDirectory() && found.nlink !== 1) return;
  if (found.uid !== from && found.uid !== account.uid) return;
  await lchown(path, account.uid, account.gid);
  if (!found.isDirectory()) return;
  await chmod(path, found.mode & 0o700);
  // Another start may have given everything, and started a server.
  for (const name of await readdir(path)) await give(join(path, name), from, account).catch(ignoreMissing);
}
