// The service as a process of its own, as an operator starts it.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** The folder of the project. */
export const root = fileURLToPath(new URL('../', import.meta.url));

/** What a process inherits, without what would configure the service. */
export function bareEnvironment(): Record<string, string | undefined> {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR };
}

/** @param options `detached`: a session of its own, since a terminal's Ctrl-C is for whoever started it, and that one ends it in order */
export function spawnService(
  env: Readonly<Record<string, string>>,
  options: { readonly nodeArgs?: readonly string[]; readonly detached?: boolean } = {},
): ChildProcessByStdio<null, Readable, Readable> {
  const { nodeArgs = [], detached = false } = options;
  return spawn(process.execPath, [...nodeArgs, 'start.js'], {
    cwd: root,
    env: { ...bareEnvironment(), ...env },
    detached,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
