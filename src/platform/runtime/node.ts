// Which Node runs the service: the one that npm brings, or the platform's where only that has the security release.
import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** The security release of October 2026. The Dockerfile asks for the same. */
export const securityRelease = '24.22.1';

/** Of later lines only those that are, or become, long-term support: an odd one is without fixes after half a year (nodejs/Release). */
export function hasSecurityRelease(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  const [line = 0, leastMinor = 0, leastPatch = 0] = securityRelease.split('.').map(Number);
  if (major !== line) return major > line && major % 2 === 0;
  return minor > leastMinor || (minor === leastMinor && patch >= leastPatch);
}

/**
 * Looks along PATH, and at the Node under npm itself, which npm names.
 * @returns the file of the first Node that has the security release
 */
export function findSecureNode(env: NodeJS.ProcessEnv): string | undefined {
  const files = (env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'node'));
  if (env['npm_node_execpath'] !== undefined) files.push(env['npm_node_execpath']);
  const seen = new Set([realpathSync(process.execPath)]);
  return files.filter(isAbsolute).find((file) => {
    try {
      const real = realpathSync(file);
      if (seen.has(real)) return false;
      seen.add(real);
      const version = execFileSync(file, ['--version'], { encoding: 'utf8', timeout: 2000, stdio: ['ignore', 'pipe', 'ignore'] });
      return /^v\d+\.\d+\.\d+\s*$/.test(version) && hasSecurityRelease(version.slice(1));
    } catch {
      // Not there, or it does not run on this machine.
      return false;
    }
  });
}
