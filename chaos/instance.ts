// One process of the service, with networks of its own to the database and to the broker.
import type { ChildProcess } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Network } from '../harness/network.ts';
import { spawnService } from '../harness/service.ts';
import type { Watchdog } from '../harness/watchdog.ts';

export type InstanceOptions = {
  /** Its APP_NAME, by which PostgreSQL and the broker know it too. */
  readonly name: string;
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
  readonly database: Network;
  readonly broker: Network;
  readonly watchdog: Watchdog;
  /** Where its log goes; nowhere if left out. */
  readonly logFile?: string | undefined;
  /** Told when it ends though nobody ended it (it is started again), and of failures that are defects by their name in the log. */
  readonly incident: (words: string) => void;
};

const startMsMax = 90_000;
const wordsMax = 4000;
const lineCharsMax = 1500;
const recentCharsMax = 4 << 20;
/** What the service says only where it has met a defect of its own. */
const defects = /"event":"(?:Request failed|Unexpected error|Stopping failed|Not stopped after)/;

/** Components that lose connections, and may say so once a second. */
const connections = /"component":"(publisher|consumer|relay)"/;
/** Of the line itself, to the second: lines reach this process in lumps. */
const timestamps = /"timestamp":"([^".]+)/;

export type Loudness = { readonly component: string; readonly lines: number };

/** Of the child that runs now. */
type Life = { readonly child: ChildProcess; readonly ended: Promise<number | string>; expected: boolean; words: string };

export class Instance implements AsyncDisposable {
  readonly name: string;
  readonly port: number;
  readonly database: Network;
  readonly broker: Network;
  readonly #options: InstanceOptions;
  /** The most lines about one of its connections in one second. */
  loudest: Loudness = { component: '', lines: 0 };
  readonly #lines = new Map<string, { second: string; lines: number }>();
  readonly #log: WriteStream | undefined;
  readonly #recent: string[] = [];
  #recentChars = 0;
  #life: Life | undefined;

  constructor(options: InstanceOptions) {
    this.#options = options;
    this.name = options.name;
    this.port = options.port;
    this.database = options.database;
    this.broker = options.broker;
    this.#log = options.logFile === undefined ? undefined : createWriteStream(options.logFile, { flags: 'a' });
  }

  get running(): boolean {
    return this.#life !== undefined;
  }

  /** Resolves when it listens, whether or not it reaches anybody. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.#life !== undefined) return;
    const life = this.#launch(env);
    const startedAt = performance.now();
    while (!(await this.answers('/health'))) {
      if (this.#life !== life) throw new Error(`${this.name} ended while it started: ${life.words}`);
      if (performance.now() - startedAt > startMsMax) throw new Error(`${this.name} did not start within ${startMsMax / 1000} s`);
      await sleep(20);
    }
  }

  /** SIGTERM. @returns the exit code, or the signal that ended it */
  terminate(): Promise<number | string> {
    return this.#end('SIGTERM');
  }

  kill(): Promise<number | string> {
    return this.#end('SIGKILL');
  }

  pause(): void {
    this.#life?.child.kill('SIGSTOP');
  }

  resume(): void {
    this.#life?.child.kill('SIGCONT');
  }

  /** Nobody reads its log any more: its next line meets EPIPE. */
  closeStdout(): void {
    this.#life?.child.stdout?.destroy();
  }

  /** Whoever reads its log stops, and keeps the pipe open. */
  pauseStdout(): void {
    this.#life?.child.stdout?.pause();
  }

  /** Requests for nothing, whose lines are as long as lines get. */
  async fillLog(requests: number): Promise<void> {
    const path = `/${'x'.repeat(600)}`;
    await Promise.all(Array.from({ length: requests }, () => this.#get(path).then((response) => response.arrayBuffer()))).catch(() => {});
  }

  /** Whether its log of the last while holds these words. */
  said(words: string): boolean {
    return this.#recent.join('').includes(words);
  }

  async answers(path: string): Promise<boolean> {
    return this.#get(path).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  /** A metric of one value; undefined while the process does not answer. */
  async metric(name: string): Promise<number | undefined> {
    const text = await this.#get('/metrics')
      .then(async (response) => (response.ok ? response.text() : ''))
      .catch(() => '');
    const [, value] = text.match(new RegExp(`^${name} (\\S+)$`, 'm')) ?? [];
    return value === undefined ? undefined : Number(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A run that ends in order has nothing left to finish, and one that is broken off must not wait.
    await this.kill();
    this.#log?.end();
  }

  #get(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}${path}`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(3000) });
  }

  #launch(env: Readonly<Record<string, string>>): Life {
    const own = { PORT: String(this.port), APP_NAME: this.name, ...this.#options.env, ...env };
    const child = spawnService(own, { nodeArgs: ['--max-semi-space-size=16'], detached: true });
    this.#options.watchdog.watch(child.pid);
    const { promise: ended, resolve } = Promise.withResolvers<number | string>();
    const life: Life = { child, ended, expected: false, words: '' };
    this.#life = life;
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      life.words = (life.words + text).slice(-wordsMax);
      this.#log?.write(text);
    });
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    void ended.then((how) => {
      this.#options.watchdog.forget(child.pid);
      this.#life = undefined;
      if (life.expected) return;
      this.#options.incident(`ended by itself with ${how}${life.words === '' ? '' : `: ${life.words}`}`);
      void this.start().catch((error: Error) => this.#options.incident(`was started again: ${error.message}`));
    });
    return life;
  }

  #read(text: string): void {
    this.#log?.write(text);
    this.#recent.push(text);
    this.#recentChars += text.length;
    while (this.#recentChars > recentCharsMax) this.#recentChars -= this.#recent.shift()?.length ?? 0;
    // A line that is torn between two chunks is missed; it is rarely the only one.
    for (const line of text.split('\n')) {
      if (defects.test(line)) this.#options.incident(`said: ${line.slice(0, lineCharsMax)}`);
      const [, component] = line.match(connections) ?? [];
      const [, second] = line.match(timestamps) ?? [];
      if (component !== undefined && second !== undefined) this.#count(component, second);
    }
  }

  #count(component: string, second: string): void {
    const before = this.#lines.get(component);
    const lines = before?.second === second ? before.lines + 1 : 1;
    this.#lines.set(component, { second, lines });
    if (lines > this.loudest.lines) this.loudest = { component, lines };
  }

  async #end(signal: NodeJS.Signals): Promise<number | string> {
    const life = this.#life;
    if (life === undefined) return 'not running';
    life.expected = true;
    life.child.kill(signal);
    return life.ended;
  }
}
