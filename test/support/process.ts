// The service as a process of its own: started as an operator would, and always ended, by the id that was stored.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Line } from './log.ts';

export type ServiceProcess = AsyncDisposable & {
  readonly child: ChildProcess;
  readonly url: string;
  readonly lines: readonly Line[];
  stderr(): string;
  /** @returns the exit code, or the signal that ended it */
  ended: Promise<number | string>;
};

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What a process inherits, without what would configure the service under test. */
function bareEnvironment(): Record<string, string | undefined> {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR };
}

/** Runs a file of the project to its end. */
export async function runNode(file: string, env: Record<string, string>, args: readonly string[] = [], cwd = root) {
  const child = spawn(process.execPath, [join(root, file), ...args], {
    cwd,
    env: { ...bareEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [code] = await once(child, 'close');
  return { code: code as number | null, stdout, stderr };
}

/** Resolves when the service has started; rejects with what it said where it has not. */
export async function startProcess(env: Record<string, string>): Promise<ServiceProcess> {
  const child = spawn(process.execPath, ['start.js'], {
    cwd: root,
    env: { ...bareEnvironment(), PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: Line[] = [];
  let rest = '';
  let stderr = '';
  const ended = new Promise<number | string>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const started = new Promise<Line>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      const texts = (rest + chunk).split('\n');
      rest = texts.pop() ?? '';
      for (const text of texts) {
        const line = JSON.parse(text) as Line;
        lines.push(line);
        if (line.event === 'Service started') resolve(line);
      }
    });
    ended.then((how) => reject(new Error(`the service ended with ${how}: ${stderr}`)));
  });
  const line = await started;
  return {
    child,
    lines,
    ended,
    url: String(line['url']),
    stderr: () => stderr,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await ended;
    },
  };
}
