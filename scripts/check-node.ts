// `npm run check:node`: fails where the registry has a newer release of the Node that package.json brings.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

const { optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { optionalDependencies: Record<string, string> };
const packages = Object.entries(optionalDependencies).filter(([name]) => name.startsWith('node-linux-'));

/** A number that grows with the version, within one line. */
function rank(version: string): number {
  const [, minor = 0, patch = 0] = version.split('.').map(Number);
  return minor * 10_000 + patch;
}

async function newest(name: string, line: string): Promise<string | undefined> {
  const quick = ['--prefer-online', '--fetch-retries=0', '--fetch-timeout=10000'];
  const { stdout } = await promisify(execFile)('npm', ['view', name, 'versions', '--json', ...quick], { timeout: 30_000 });
  return [JSON.parse(stdout) as string[] | string]
    .flat()
    .filter((version) => new RegExp(`^${line}\\.\\d+\\.\\d+$`).test(version))
    .sort((one, other) => rank(one) - rank(other))
    .at(-1);
}

await Promise.all(
  packages.map(async ([name, pinned]) => {
    try {
      const found = await newest(name, pinned.split('.')[0] ?? '');
      if (found === undefined || rank(found) <= rank(pinned)) return;
      console.error(
        `${name} ${found} can be had, and package.json brings ${pinned}: run "npm install --save-exact --save-optional ${name}@${found}", then "npm test".`,
      );
      process.exitCode = 1;
    } catch (error) {
      const reason = String((error as { stderr?: string }).stderr ?? error).match(/npm error code (\w+)/)?.[1] ?? (error as Error).message;
      console.error(`The registry cannot be asked for ${name} (${reason}): whether there is a newer Node was not looked up.`);
    }
  }),
);
