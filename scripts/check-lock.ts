// `npm run check:lock`: every package of the lock has the hash that `npm ci` holds its contents against.
import { readFileSync } from 'node:fs';

type Entry = { version?: string; integrity?: string; link?: boolean; inBundle?: boolean };

const file = process.argv[2] ?? 'package-lock.json';
const { packages } = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> };
const bare = Object.entries(packages)
  // The project itself, a link into it, and what comes inside the archive of another package have none.
  .filter(([path, { link, inBundle }]) => path !== '' && link !== true && inBundle !== true)
  .filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''))
  .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, '')}@${version}`);
if (bare.length > 0) {
  console.error(
    `${file} has no sha512 hash for ${bare.join(', ')}: write what "npm view <package>@<version> dist.integrity" says into "integrity".`,
  );
  process.exitCode = 1;
}
