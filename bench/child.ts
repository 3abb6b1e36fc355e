// Child processes: started under Node, asked questions where they answer any, and always ended.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export type Child = AsyncDisposable & {
  readonly pid: number;
  /** For a child that answers: one question at a time. */
  ask<Answer>(question: object): Promise<Answer>;
  /** Resolves at the first 200 of a GET. */
  untilOk(url: string): Promise<void>;
};

export type ChildOptions = {
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  /** The whole environment but for PATH. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Whether it answers questions: its end of the channel tells it when this process is gone. */
  readonly answers: boolean;
  readonly signal: AbortSignal;
};

const wordsMax = 4000;
const pollMs = 5;
const patienceMs = 30_000;
/** The service gives up by itself after 15 s. */
const endMsMax = 20_000;

// For an end of this process that lets nothing dispose.
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** Its stdout goes to /dev/null; what it says on stderr stands in the error if it ends too early. */
export function startChild(file: URL, { args = [], nodeArgs = [], env = {}, cwd, answers, signal }: ChildOptions): Child {
  const path = fileURLToPath(file);
  const child = spawn(process.execPath, [...nodeArgs, path, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    // A session of its own: a terminal's Ctrl-C is for this process, which ends its children in order.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', answers ? 'ipc' : 'ignore'],
  });
  running.add(child);
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-wordsMax);
  });
  const exited = new Promise<void>((resolve) => child.once('exit', resolve).once('error', resolve));
  const closed = new Promise<void>((resolve) => child.once('close', resolve).once('error', resolve));
  const lost = closed.then(() => {
    throw new Error(`${path} ended with ${child.exitCode ?? child.signalCode}${words === '' ? '' : `: ${words}`}`);
  });
  // Its end is an error only for those who wait for an answer.
  lost.catch(() => {});

  return {
    pid: child.pid ?? Number.NaN,
    async ask<Answer>(question: object) {
      const answer = once(child, 'message', { signal });
      child.send(question);
      const [value] = await Promise.race([answer, lost]);
      return value as Answer;
    },
    async untilOk(url) {
      for (const until = performance.now() + patienceMs; performance.now() < until; ) {
        const ok = await Promise.race([isOk(url, signal), lost]);
        if (ok) return;
        await sleep(pollMs, undefined, { signal });
      }
      throw new Error(`${url} did not answer 200 within ${patienceMs / 1000} s`);
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), endMsMax);
      await exited;
      clearTimeout(timer);
      running.delete(child);
    },
  };
}

async function isOk(url: string, signal: AbortSignal): Promise<boolean> {
  signal.throwIfAborted();
  try {
    const response = await fetch(url, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}
