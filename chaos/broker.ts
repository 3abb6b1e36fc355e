// The RabbitMQ of a run: it can be stopped, killed, paused, made to raise its alarms, and its topology changed behind everybody's back.
import { execFile } from 'node:child_process';
import { globSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createManagement, type Vhost } from '../harness/management.ts';
import { type PrivateRabbit, startPrivateRabbit } from '../harness/rabbitmq.ts';

export type Alarm = 'memory' | 'disk';

/** The node's own process and its shell. */
type Shell = { readonly pid: number; evaluate(expression: string): Promise<string> };

const nodeTriesMax = 40;
const run = promisify(execFile);
const alarms: Readonly<Record<Alarm, { readonly raise: string; readonly clear: string }>> = {
  memory: {
    raise: 'vm_memory_monitor:set_vm_memory_high_watermark({absolute,1})',
    clear: 'vm_memory_monitor:set_vm_memory_high_watermark(0.6)',
  },
  disk: {
    raise: 'rabbit_disk_monitor:set_disk_free_limit(1000000000000000)',
    clear: 'rabbit_disk_monitor:set_disk_free_limit(50000000)',
  },
};

/** @param folder where everything of the broker goes */
export async function startBroker(folder: string): Promise<Broker> {
  const { TMPDIR } = process.env;
  process.env['TMPDIR'] = folder;
  try {
    return new Broker(await startPrivateRabbit(), folder);
  } finally {
    if (TMPDIR === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = TMPDIR;
  }
}

export class Broker implements AsyncDisposable {
  readonly port: number;
  readonly #rabbit: PrivateRabbit;
  readonly #folder: string;
  #running = true;
  #paused: number | undefined;
  readonly #raised = new Set<Alarm>();

  constructor(rabbit: PrivateRabbit, folder: string) {
    this.#rabbit = rabbit;
    this.#folder = folder;
    this.port = Number(new URL(rabbit.url).port);
  }

  async start(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    await this.#rabbit.start();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#rabbit.stop();
    this.#raised.clear();
  }

  async kill(): Promise<void> {
    this.#running = false;
    await this.#rabbit.kill();
    this.#raised.clear();
  }

  /** SIGSTOP: its connections stay, and it says nothing. */
  async pause(): Promise<void> {
    const { pid } = await this.#shell();
    process.kill(pid, 'SIGSTOP');
    this.#paused = pid;
  }

  resume(): void {
    if (this.#paused !== undefined) process.kill(this.#paused, 'SIGCONT');
    this.#paused = undefined;
  }

  async raise(alarm: Alarm): Promise<void> {
    this.#raised.add(alarm);
    await (await this.#shell()).evaluate(alarms[alarm].raise);
  }

  async clear(alarm: Alarm): Promise<void> {
    if (!this.#raised.delete(alarm)) return;
    await (await this.#shell()).evaluate(alarms[alarm].clear);
  }

  /** Everything that can be undone is. */
  async heal(): Promise<void> {
    this.resume();
    await this.start();
    for (const alarm of [...this.#raised]) await this.clear(alarm);
  }

  /** Why it cannot be paused or raise alarms here, if it cannot. */
  async whyNoShell(): Promise<string | undefined> {
    return this.#shell().then(
      () => undefined,
      (error: Error) => error.message,
    );
  }

  createVhost(): Promise<Vhost> {
    return this.#rabbit.createVhost();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    await this.#rabbit[Symbol.asyncDispose]();
  }

  /** Just after its start the broker knows its name, and not yet its process. */
  async #node(): Promise<{ name: string; pid: number }> {
    const call = createManagement(this.#rabbit.url, this.#rabbit.managementUrl);
    for (let tries = 1; ; tries += 1) {
      const [node] = await call<{ name: string; os_pid?: string }[]>('GET', 'nodes');
      if (node?.os_pid !== undefined) return { name: node.name, pid: Number(node.os_pid) };
      if (tries === nodeTriesMax) throw new Error('the broker does not tell its process');
      await sleep(500);
    }
  }

  /** Asks the broker for its process, and finds beside its program the one that talks to it (erl_call(1)). */
  async #shell(): Promise<Shell> {
    const [home] = globSync(join(this.#folder, 'rollcall-rabbitmq-*'));
    if (home === undefined) throw new Error('the broker runs in a container, where its process cannot be reached');
    const { name, pid } = await this.#node();
    const program = join(dirname(readlinkSync(`/proc/${pid}/exe`)), 'erl_call');
    const cookie = readFileSync(join(home, '.erlang.cookie'), 'utf8').trim();
    const env = { ...process.env, ERL_EPMD_PORT: String(this.#rabbit.epmdPort) };
    return {
      pid,
      async evaluate(expression) {
        const asking = run(program, ['-sname', name, '-c', cookie, '-e'], { env, timeout: 10_000 });
        asking.child.stdin?.end(`${expression}.\n`);
        const { stdout } = await asking;
        if (!stdout.startsWith('{ok,')) throw new Error(`the broker does not evaluate ${expression}: ${stdout}`);
        return stdout;
      },
    };
  }
}
