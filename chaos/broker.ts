// The RabbitMQ of a run: it can be stopped, killed, paused, made to raise its alarms, and its topology changed behind everybody's back.
import { execFile } from 'node:child_process';
import { globSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type PrivateRabbit, startPrivateRabbit, type TestVhost } from '../test/support/rabbitmq.ts';

export type Alarm = 'memory' | 'disk';

/** Where a run has its exchange and queues. */
export type Vhost = AsyncDisposable & {
  /** Straight to the broker, past all proxies. */
  readonly url: string;
  setTracing(on: boolean): Promise<void>;
  deleteExchange(name: string): Promise<void>;
  deleteQueue(name: string): Promise<void>;
  /** Up to 5 s old, as all that the broker counts. */
  countConsumers(queue: string): Promise<number>;
  declareExchange(name: string): Promise<void>;
  hasExchange(name: string): Promise<boolean>;
  bind(exchange: string, queue: string, key: string): Promise<void>;
  unbind(exchange: string, queue: string, key: string): Promise<void>;
  isBound(exchange: string, queue: string): Promise<boolean>;
  /** How many messages each queue holds, those under way to a consumer included. Up to 5 s old: the broker counts that often. */
  countMessages(): Promise<Map<string, number>>;
};

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

  async createVhost(): Promise<Vhost> {
    const vhost = await this.#rabbit.createVhost();
    return openVhost(vhost, this.#rabbit.managementUrl);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume();
    await this.#rabbit[Symbol.asyncDispose]();
  }

  /** Just after its start the broker knows its name, and not yet its process. */
  async #node(): Promise<{ name: string; pid: number }> {
    for (let tries = 1; ; tries += 1) {
      const [node] = await manage<{ name: string; os_pid?: string }[]>(this.#rabbit.url, this.#rabbit.managementUrl, 'GET', 'nodes');
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

function openVhost(vhost: TestVhost, managementUrl: string): Vhost {
  const name = new URL(vhost.url).pathname.slice(1);
  const api = <Answer>(method: string, path: string, body?: object) => manage<Answer>(vhost.url, managementUrl, method, path, body);
  return {
    url: vhost.url,
    setTracing: (on) => api('PUT', `vhosts/${name}`, { tracing: on }),
    deleteExchange: (exchange) => api('DELETE', `exchanges/${name}/${exchange}`),
    async countConsumers(queue) {
      const queues = await api<{ name: string; consumers?: number }[]>('GET', `queues/${name}`);
      return queues.find((found) => found.name === queue)?.consumers ?? 0;
    },
    deleteQueue: (queue) => api('DELETE', `queues/${name}/${queue}`),
    declareExchange: (exchange) => api('PUT', `exchanges/${name}/${exchange}`, { type: 'topic', durable: true }),
    hasExchange: async (exchange) => (await api<{ name: string }[]>('GET', `exchanges/${name}`)).some((found) => found.name === exchange),
    bind: (exchange, queue, key) => api('POST', `bindings/${name}/e/${exchange}/q/${queue}`, { routing_key: key }),
    // Without arguments a binding's name is its key, percent-encoded by RabbitMQ too.
    unbind: (exchange, queue, key) =>
      api('DELETE', `bindings/${name}/e/${exchange}/q/${queue}/${encodeURIComponent(key).replace('*', '%2A')}`),
    isBound: async (exchange, queue) => (await api<unknown[]>('GET', `bindings/${name}/e/${exchange}/q/${queue}`)).length > 0,
    async countMessages() {
      const queues = await api<{ name: string; messages?: number }[]>('GET', `queues/${name}`);
      return new Map(queues.map(({ name, messages = 0 }) => [name, messages]));
    },
    [Symbol.asyncDispose]: () => vhost[Symbol.asyncDispose](),
  };
}

// https://www.rabbitmq.com/docs/http-api-reference
async function manage<Answer>(amqpUrl: string, managementUrl: string, method: string, path: string, body?: object): Promise<Answer> {
  const { username, password } = new URL(amqpUrl);
  const response = await fetch(`${managementUrl}/api/${path}`, {
    method,
    headers: { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(10_000),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`RabbitMQ refused ${method} ${path}: ${response.status} ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as Answer;
}
