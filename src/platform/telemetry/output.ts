// Text on its way to stdout or stderr. Nothing ever waits for a reader, the end of the process neither: what nobody takes is
// kept up to a bound, and only counted beyond it.
import { constants, fstatSync, openSync, write as writeFile, writeSync } from 'node:fs';
import { isatty } from 'node:tty';

/** Writes a text as a whole; an error means that nothing can be written any more. `done` never comes within the call. */
export type Writer = (text: string, done: (error?: Error | null) => void) => void;

/** For a reader who pauses: some seconds of the log of a busy instance. */
const waitingCharsMax = 4 << 20;
/** Written at once. */
const chunkCharsMax = 256 << 10;
/** A terminal has no other way to say that it takes text again. */
const terminalRetryMs = 20;
const diskRetryMs = 1000;

export class Output {
  /** Called with the number of texts that were dropped, once there is room again. */
  onRoom: (dropped: number) => void = () => {};
  /** Since the start. */
  dropped = 0;
  readonly #write: Writer;
  #waiting: string[] = [];
  #waitingChars = 0;
  /** Texts of the write that is under way. */
  #writing = 0;
  #state: 'idle' | 'scheduled' | 'writing' | 'closed' = 'idle';
  #unreported = 0;
  #onIdle: (() => void)[] = [];

  constructor(write: Writer) {
    this.#write = write;
  }

  write(text: string): void {
    if (this.#state === 'closed' || this.#waitingChars + text.length > waitingCharsMax) {
      this.dropped += 1;
      this.#unreported += 1;
      return;
    }
    this.#waiting.push(text);
    this.#waitingChars += text.length;
    if (this.#state !== 'idle') return;
    // All that is written in one turn of the event loop goes at once.
    this.#state = 'scheduled';
    setImmediate(() => this.#next());
  }

  /** Resolves when everything is written or dropped; after `limitMs` in any case. */
  async flush(limitMs: number): Promise<void> {
    if (this.#state === 'idle' || this.#state === 'closed') return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle.push(resolve);
    const timer = setTimeout(resolve, limitMs);
    await promise;
    clearTimeout(timer);
  }

  /** What waits and was not begun, for the end of the process. */
  takeRest(): string {
    if (this.#state !== 'scheduled') return '';
    return this.#take(waitingCharsMax);
  }

  #next(): void {
    const text = this.#take(chunkCharsMax);
    if (text === '') {
      this.#rest('idle');
      return;
    }
    this.#state = 'writing';
    this.#write(text, (error) => {
      if (error) {
        this.dropped += this.#writing + this.#waiting.length;
        this.#waiting = [];
        this.#waitingChars = 0;
        this.#rest('closed');
        return;
      }
      if (this.#unreported > 0 && this.#waitingChars <= waitingCharsMax / 2) {
        const dropped = this.#unreported;
        this.#unreported = 0;
        this.onRoom(dropped);
      }
      this.#next();
    });
  }

  #rest(state: 'idle' | 'closed'): void {
    this.#state = state;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #take(charsMax: number): string {
    let count = 0;
    let chars = 0;
    while (count < this.#waiting.length && (count === 0 || chars + (this.#waiting[count] as string).length <= charsMax)) {
      chars += (this.#waiting[count] as string).length;
      count += 1;
    }
    this.#waitingChars -= chars;
    this.#writing = count;
    return this.#waiting.splice(0, count).join('');
  }
}

function open(name: 'stdout' | 'stderr'): Output {
  const { [name]: inherited } = { stdout: 1, stderr: 2 };
  const kind = fstatSync(inherited);
  const fd = isatty(inherited) ? openTerminal(inherited) : inherited;
  const output = new Output(kind.isFIFO() || kind.isSocket() ? toStream(name) : toFile(fd));
  process.on('exit', () => {
    try {
      writeSync(fd, output.takeRest());
    } catch {
      // Full or gone, and there is no time left.
    }
  });
  return output;
}

// libuv sets a pipe or a socket to non-blocking, and writes what it does not take when it is ready for more.
function toStream(name: 'stdout' | 'stderr'): Writer {
  const stream = process[name];
  // Each failure comes to the callback too.
  stream.on('error', () => {});
  return (text, done) => {
    stream.write(text, done);
  };
}

// On a thread of libuv's, so that a slow disk holds up no request.
function toFile(fd: number): Writer {
  return (text, done) => {
    const bytes = Buffer.from(text);
    const writeFrom = (offset: number) => {
      writeFile(fd, bytes, offset, (error, written) => {
        const retryMs = error === null ? undefined : retries[error.code ?? ''];
        if (retryMs !== undefined) setTimeout(writeFrom, retryMs, offset).unref();
        else if (error !== null || offset + written === bytes.length) done(error);
        else writeFrom(offset + written);
      });
    };
    writeFrom(0);
  };
}

const retries: Readonly<Record<string, number>> = {
  EAGAIN: terminalRetryMs,
  EINTR: terminalRetryMs,
  ENOSPC: diskRetryMs,
  EDQUOT: diskRetryMs,
};

// A terminal that is stopped (Ctrl-S) blocks who writes to it, and a thread that is blocked keeps the process from its end.
// A description of our own may be non-blocking without a change for the shell that shares the other.
function openTerminal(fd: number): number {
  const path = process.platform === 'linux' ? `/proc/self/fd/${fd}` : '/dev/tty';
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}

const opened: { stdout?: Output; stderr?: Output } = {};

/** The one of this process, opened when it is first asked for. */
export function outputTo(name: 'stdout' | 'stderr'): Output {
  opened[name] ??= open(name);
  return opened[name];
}

/** Of the log, since the start of the process. */
export function droppedLines(): number {
  return opened.stdout?.dropped ?? 0;
}
