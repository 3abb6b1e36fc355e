// Programs of Debian and Ubuntu for the tests: the installed one, else one whose package is fetched and unpacked. Nothing is
// installed: no root is needed, no service starts, and apt's own state stays as it is.
import { execFile } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { arch, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

export type Wanted = {
  /** Debian's name of it, such as `pgbouncer`. */
  readonly package: string;
  /** Globs of absolute paths where the program may be, the best first: `/usr/sbin/pgbouncer`. */
  readonly places: readonly string[];
  /** Packages that must come from one place with it, by the beginning of their names: fetched even where they are installed. */
  readonly together?: readonly string[];
  /** Mends what is unpacked at `draft` so that it runs from `root`. */
  readonly relocate?: (draft: string, root: string) => Promise<void>;
};

/** `env` is what a program that was unpacked needs to find its own files; `root` is the folder before its usual path, `''` for `/`. */
export type Program = { readonly path: string; readonly root: string; readonly env: Readonly<Record<string, string>> };

const run = promisify(execFile);

/** @throws with a sentence that names the package to install, where it is neither here nor to be had */
export async function findProgram(wanted: Wanted): Promise<Program> {
  const installed = findInstalled(wanted);
  if (installed !== undefined) return installed;
  try {
    return await unpack(wanted);
  } catch (error) {
    throw new Error(
      `The tests need ${wanted.package}, which is not installed and could not be fetched: apt-get install ${wanted.package}.`,
      {
        cause: error,
      },
    );
  }
}

function findInstalled({ places }: Wanted): Program | undefined {
  const path = findAt('', places);
  return path === undefined ? undefined : { path, root: '', env: {} };
}

function findAt(root: string, places: readonly string[]): string | undefined {
  for (const place of places) {
    const path = globSync(join(root, place)).sort().at(-1);
    if (path !== undefined) return path;
  }
  return undefined;
}

/** Unpacks into a cache folder, where the next run finds it. */
async function unpack(wanted: Wanted): Promise<Program> {
  const release = (await readFile('/etc/os-release', 'utf8')).match(/^VERSION_CODENAME=(\w+)/m)?.[1] ?? 'unknown';
  const root = join(cacheFolder(), `${wanted.package}-${release}-${arch()}`);
  if (!existsSync(root)) {
    await mkdir(dirname(root), { recursive: true });
    process.stderr.write(`Fetching ${wanted.package} for the tests, once ...\n`);
    const draft = await mkdtemp(join(dirname(root), 'draft-'));
    try {
      await fetchPackages(draft, wanted);
      await wanted.relocate?.(join(draft, 'root'), root);
      // Another run may have been faster; its folder is as good.
      await rename(join(draft, 'root'), root).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
      });
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  const path = findAt(root, wanted.places);
  if (path === undefined) throw new Error(`${root} holds none of ${wanted.places.join(', ')}: remove it, then start again.`);
  const libraries = globSync(['usr/lib/*-linux-*', 'lib/*-linux-*'].map((place) => join(root, place)));
  return { path, root, env: { PATH: [dirname(path), process.env['PATH']].join(':'), LD_LIBRARY_PATH: libraries.join(':') } };
}

// PostgreSQL and PgBouncer refuse root, and the account that runs them for root cannot enter root's home.
function cacheFolder(): string {
  if (process.getuid?.() === 0) return '/var/cache/rollcall';
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'rollcall');
}

async function fetchPackages(dir: string, { package: name, together = [] }: Wanted): Promise<void> {
  const [lists, archives, root] = ['state/lists/partial', 'cache/archives/partial', 'root'].map((path) => join(dir, path));
  await Promise.all([lists, archives, root].map((path) => mkdir(path as string, { recursive: true })));
  const apart = [name, ...together].map((start) => `Package: ${start}`);
  const status = (await readFile('/var/lib/dpkg/status', 'utf8'))
    .split('\n\n')
    .filter((entry) => !apart.some((start) => entry.startsWith(start)));
  await writeFile(join(dir, 'status'), status.join('\n\n'));
  const settings = { 'Dir::State': join(dir, 'state'), 'Dir::State::status': join(dir, 'status'), 'Dir::Cache': join(dir, 'cache') };
  const options = Object.entries({ ...settings, 'Debug::NoLocking': 'true', 'APT::Sandbox::User': '' }).flatMap(([key, value]) => [
    '-o',
    `${key}=${value}`,
  ]);
  await run('apt-get', [...options, '--quiet', 'update']);
  await run('apt-get', [...options, '--quiet', '--yes', '--no-install-recommends', '--download-only', 'install', name]);
  for (const archive of globSync(join(dir, 'cache/archives/*.deb'))) await run('dpkg-deb', ['--extract', archive, join(dir, 'root')]);
}
