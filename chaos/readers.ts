// Many readers of streams, on a thread of their own: their work must not show in the times that the harness measures.
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

export type ReadersOptions = {
  readonly port: number;
  readonly count: number;
  readonly path: string;
  readonly accept: string;
  /** Whether they read what they get, or nothing at all. */
  readonly reads: boolean;
};

export type Tally = {
  readonly opened: number;
  readonly closed: number;
  /** Of the events that a reader got: the fewest and the most. */
  readonly fewest: number;
  readonly most: number;
  /** From the change to a reader, in milliseconds, of every tenth reader. */
  readonly p50: number;
  readonly p99: number;
};

export type Readers = AsyncDisposable & {
  /** Resolves when each has the head of its answer, or has sent its request if it reads nothing. */
  readonly ready: Promise<void>;
  tally(): Promise<Tally>;
};

const inStep = 100;
const stepMs = 50;
const sampledOf = 10;

export function startReaders(options: ReadersOptions): Readers {
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  const answers: ((value: never) => void)[] = [];
  const failed = new Promise<never>((_, reject) => worker.once('error', reject));
  failed.catch(() => {});
  worker.on('message', (value: unknown) => answers.shift()?.(value as never));
  const answer = <Value>() => Promise.race([failed, new Promise<Value>((resolve) => answers.push(resolve))]);
  return {
    ready: answer<void>(),
    tally() {
      worker.postMessage('tally');
      return answer<Tally>();
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate();
    },
  };
}

async function read({ port, count, path, accept, reads }: ReadersOptions): Promise<void> {
  let opened = 0;
  let closed = 0;
  const events = new Array<number>(count).fill(0);
  const delays: number[] = [];

  function open(n: number): Socket {
    const socket = connect(port, '127.0.0.1');
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    socket.once('close', () => {
      closed += 1;
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: ${accept}\r\n\r\n`);
    if (!reads) {
      socket.pause().once('connect', () => {
        opened += 1;
      });
      return socket;
    }
    socket.once('data', (text: string) => {
      if (text.startsWith('HTTP/1.1 200 ')) opened += 1;
      else socket.destroy();
    });
    socket.on('data', (text: string) => {
      const now = Date.now();
      for (let at = text.indexOf('"occurred_at":"'); at !== -1; at = text.indexOf('"occurred_at":"', at + 1)) {
        events[n] = (events[n] ?? 0) + 1;
        if (n % sampledOf === 0) delays.push(now - Date.parse(text.slice(at + 15, at + 42)));
      }
    });
    return socket;
  }

  for (let n = 0; n < count; n += 1) {
    open(n);
    if (n % inStep === inStep - 1) await sleep(stepMs);
  }
  while (opened + closed < count) await sleep(stepMs);
  parentPort?.postMessage(undefined);
  parentPort?.on('message', () => {
    const sorted = delays.toSorted((one, other) => one - other);
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0;
    const tally: Tally = { opened, closed, fewest: Math.min(...events), most: Math.max(...events), p50: at(0.5), p99: at(0.99) };
    parentPort?.postMessage(tally);
  });
}

if (!isMainThread) await read(workerData as ReadersOptions);
