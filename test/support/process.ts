// The service as a process of its own: started as an operator would, and always ended, by the id that was stored.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { bareEnvironment, root, spawnService } from '../../harness/service.ts';
import type { Line } from './log.ts';

export type ServiceProcess = AsyncDisposable & {
  readonly child: ChildProcess;
  readonly url: string;
  readonly lines: readonly Line[];
  stderr(): string;
  /** The first line that matches, of those written and those to come. */
  line(matches: (line: Line) => boolean): Promise<Line>;
  /** @returns the exit code, or the signal that ended it; all of its output has been read */
  ended: Promise<number | string>;
  /** The same, whoever reads its output. */
  exited: Promise<number | string>;
};

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
  const child = spawnService({ PORT: '0', ...env });
  const lines: Line[] = [];
  let rest = '';
  let stderr = '';
  const ended = new Promise<number | string>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  const exited = new Promise<number | string>((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const waiting = new Set<(line: Line) => void>();
  child.stdout.on('data', (chunk) => {
    const texts = (rest + chunk).split('\n');
    rest = texts.pop() ?? '';
    for (const text of texts) {
      const line = JSON.parse(text) as Line;
      lines.push(line);
      for (const look of waiting) look(line);
    }
  });
  const nextLine = (matches: (line: Line) => boolean) =>
    new Promise<Line>((resolve, reject) => {
      const found = lines.find(matches);
      if (found !== undefined) resolve(found);
      waiting.add((line) => matches(line) && resolve(line));
      ended.then((how) => reject(new Error(`the service ended with ${how}: ${stderr}`)));
    });
  const started = await nextLine(({ event }) => event === 'Service started');
  return {
    child,
    lines,
    line: nextLine,
    ended,
    exited,
    url: String(started['url']),
    stderr: () => stderr,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      child.stdout.resume();
      await ended;
    },
  };
}
