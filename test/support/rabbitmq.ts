// The suite's own RabbitMQ: the broker of TEST_RABBITMQ_URL, else a private node of a package that is installed or can be
// fetched, else a container. What is started here ends with this process, even on SIGKILL, and no service of the machine is touched.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { startNetwork } from '../../harness/network.ts';
import { findPort, managementOffset } from '../../harness/ports.ts';
import type { Certificates } from './certificates.ts';
import { findProgram, type Program, type Wanted } from './packages.ts';

/** `url` ends in the virtual host's name. Disposing removes it with all that is in it. */
export type TestVhost = AsyncDisposable & { readonly url: string };

export type TestRabbit = AsyncDisposable & {
  readonly url: string;
  readonly managementUrl: string;
  createVhost(): Promise<TestVhost>;
};

/** A broker that may be ill-treated: data and ports outlive stop and kill. Each method resolves when it is done. */
export type PrivateRabbit = TestRabbit & {
  /** Listens with TLS if the broker was started with certificates. */
  readonly tlsPort: number;
  /** Of the node's name server; 0 where the broker runs in a container. */
  readonly epmdPort: number;
  /** Ends the broker in order: it closes its connections and its stores. */
  stop(): Promise<void>;
  /** SIGKILL: connections just break. A quorum queue that is less than half a second old does not survive it on 3.10 (Ra's names.dets). */
  kill(): Promise<void>;
  /** Resolves when the broker takes connections. Only after stop or kill. */
  start(): Promise<void>;
};

/** Where the parts of one broker meet. The child's output is the broker's log, its end the broker's end. */
type Runner = {
  readonly url: string;
  readonly tlsPort: number;
  readonly epmdPort: number;
  readonly managementUrl: string;
  launch(): ChildProcess;
  stop(child: ChildProcess): void;
  kill(child: ChildProcess): void;
  /** Processes to kill when this one is gone; `child` is the broker if it runs. */
  pids(child?: ChildProcess): (number | undefined)[];
  readonly watchdog: { readonly ended: Promise<unknown>; readonly stdin: Writable };
};

const erlang = '/usr/lib/erlang';
const rabbitmq: Wanted = {
  package: 'rabbitmq-server',
  // Debian's and Red Hat's own place, before the wrapper in PATH, which would change the user; then those of Homebrew and of archives.
  places: ['/usr/lib/rabbitmq/lib/rabbitmq_server-*', '/opt/homebrew/opt/rabbitmq', '/usr/local/opt/rabbitmq', '/opt/rabbitmq'].map(
    (place) => join(place, 'sbin/rabbitmq-server'),
  ),
  // All of Erlang has to come from one place.
  together: ['erlang', 'rabbitmq'],
  async relocate(draft, root) {
    // Debian's erl knows where it was installed, and looks nowhere else.
    const erl = join(draft, erlang, 'bin/erl');
    await writeFile(erl, (await readFile(erl, 'utf8')).replaceAll(erlang, join(root, erlang)));
  },
};
const run = promisify(execFile);
const image = 'rabbitmq:4-management-alpine';
const user = 'rollcall';
const bootMsMax = 120_000;
const logCharsMax = 4000;
const remedy =
  'set TEST_RABBITMQ_URL to a RabbitMQ with its management plugin, install one (apt-get install rabbitmq-server, brew install rabbitmq), or start Docker.';

/** The broker of TEST_RABBITMQ_URL, which disposing leaves alone; a private one where the variable is not set. */
export async function startRabbit(): Promise<TestRabbit> {
  const url = process.env.TEST_RABBITMQ_URL;
  if (!url) return startPrivateRabbit();
  const managementUrl = findManagementUrl(url);
  return { url, managementUrl, createVhost: () => createVhost(url, managementUrl), [Symbol.asyncDispose]: async () => {} };
}

/**
 * A broker of one's own, whatever TEST_RABBITMQ_URL says. Takes 3 to 8 s; the first time on a machine also the fetching of a package.
 * @param certificates it listens with TLS too, and on [::1]; a client certificate is checked where one is shown
 */
export async function startPrivateRabbit(certificates?: Certificates): Promise<PrivateRabbit> {
  const node = new RabbitNode(await createRunner(certificates));
  try {
    await node.start();
    return node;
  } catch (error) {
    await node[Symbol.asyncDispose]();
    throw error;
  }
}

/** A new virtual host in which the user of `amqpUrl` may do everything. Any process may call this that knows the address. */
export async function createVhost(amqpUrl: string, managementUrl = findManagementUrl(amqpUrl)): Promise<TestVhost> {
  const { username, password } = new URL(amqpUrl);
  const name = `test-${randomUUID()}`;
  const api = (method: string, path: string, body?: object) => manage({ managementUrl, username, password, method, path, body });
  await api('PUT', `vhosts/${name}`, {});
  await api('PUT', `permissions/${name}/${username || 'guest'}`, { configure: '.*', write: '.*', read: '.*' });
  const url = new URL(amqpUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      // A test may have ended the whole broker.
      await api('DELETE', `vhosts/${name}`).catch((error: Error) => {
        if (!(error.cause instanceof Error)) throw error;
      });
    },
  };
}

type Permissions = { readonly configure: string; readonly write: string; readonly read: string };

/** A user of its own, with these permissions on the virtual host of `vhostUrl` or with none; `url` is the address as that user. */
export async function createUser(vhostUrl: string, permissions?: Permissions) {
  const { username, password, pathname } = new URL(vhostUrl);
  const managementUrl = findManagementUrl(vhostUrl);
  const name = `test-${randomUUID()}`;
  const secret = randomBytes(8).toString('hex');
  const api = (method: string, path: string, body?: object) => manage({ managementUrl, username, password, method, path, body });
  const permit = (to: Permissions) => api('PUT', `permissions${pathname}/${name}`, to);
  await api('PUT', `users/${name}`, { password: secret, tags: '' });
  if (permissions !== undefined) await permit(permissions);
  const url = new URL(vhostUrl);
  [url.username, url.password] = [name, secret];
  return { url: url.href, permit, [Symbol.asyncDispose]: () => api('DELETE', `users/${name}`) };
}

// 5672 has 15672, 5671 has 15671; private nodes keep the rule.
function findManagementUrl(amqpUrl: string): string {
  const { TEST_RABBITMQ_MANAGEMENT_URL } = process.env;
  if (TEST_RABBITMQ_MANAGEMENT_URL) return TEST_RABBITMQ_MANAGEMENT_URL;
  const { protocol, hostname, port } = new URL(amqpUrl);
  const secure = protocol === 'amqps:';
  return `${secure ? 'https' : 'http'}://${hostname}:${Number(port || (secure ? 5671 : 5672)) + managementOffset}`;
}

type ApiCall = { managementUrl: string; username: string; password: string; method: string; path: string; body: object | undefined };

// https://www.rabbitmq.com/docs/http-api-reference; user and password arrive percent-encoded, as in the URL.
async function manage({ managementUrl, username, password, method, path, body }: ApiCall): Promise<void> {
  const credentials = `${decodeURIComponent(username) || 'guest'}:${decodeURIComponent(password) || 'guest'}`;
  const headers = { authorization: `Basic ${Buffer.from(credentials).toString('base64')}`, 'content-type': 'application/json' };
  const address = `${managementUrl.replace(/\/$/, '')}/api/${path}`;
  const init: RequestInit = { method, headers, signal: AbortSignal.timeout(10_000), ...(body && { body: JSON.stringify(body) }) };
  const response = await fetch(address, init).catch((cause: Error) => {
    throw new Error(
      `The tests make virtual hosts through RabbitMQ's management plugin, and nothing answers at ${managementUrl}: enable rabbitmq_management, or name its address in TEST_RABBITMQ_MANAGEMENT_URL.`,
      { cause },
    );
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`RabbitMQ's management plugin refused ${method} ${address}: ${response.status} ${text}`);
}

class RabbitNode implements PrivateRabbit {
  readonly url: string;
  readonly tlsPort: number;
  readonly epmdPort: number;
  readonly managementUrl: string;
  readonly #runner: Runner;
  #child: ChildProcess | undefined;

  constructor(runner: Runner) {
    this.#runner = runner;
    this.url = runner.url;
    this.tlsPort = runner.tlsPort;
    this.epmdPort = runner.epmdPort;
    this.managementUrl = runner.managementUrl;
  }

  createVhost(): Promise<TestVhost> {
    return createVhost(this.url, this.managementUrl);
  }

  async start(): Promise<void> {
    if (this.#child) throw new Error('This broker runs already.');
    const child = this.#runner.launch();
    this.#child = child;
    tellWatchdog(this.#runner, child);
    await untilStarted(child);
  }

  stop(): Promise<void> {
    return this.#end(this.#runner.stop);
  }

  kill(): Promise<void> {
    return this.#end(this.#runner.kill);
  }

  async #end(order: (child: ChildProcess) => void): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = untilEnded(child);
    order(child);
    await ended;
    this.#child = undefined;
    tellWatchdog(this.#runner);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#runner.watchdog.stdin.end();
    await this.#runner.watchdog.ended;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function untilEnded(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, 'exit');
}

async function untilStarted(child: ChildProcess): Promise<void> {
  let log = '';
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (reason: string) => reject(new Error(`RabbitMQ ${reason}; the end of its log:\n${log}`));
  const timer = setTimeout(fail, bootMsMax, `did not start within ${bootMsMax / 1000} s`);
  // Read to the end of its life, or a full pipe would stop it.
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-logCharsMax);
      if (log.includes('Server startup complete')) resolve();
    });
  }
  child.once('error', reject).once('close', (code) => fail(`ended with code ${code} instead of starting`));
  await promise.finally(() => clearTimeout(timer));
}

async function createRunner(certificates: Certificates | undefined): Promise<Runner> {
  let cause: unknown;
  try {
    return await createPrivateRunner(await findProgram(rabbitmq), certificates);
  } catch (error) {
    cause = error;
  }
  // A container would need the certificates inside.
  if (certificates !== undefined) throw new Error(`The tests of TLS need a RabbitMQ that is no container: ${remedy}`, { cause });
  try {
    return await createContainerRunner();
  } catch {
    throw new Error(`The tests need RabbitMQ and found none: ${remedy}`, { cause });
  }
}

/**
 * The script reads lines from its standard input, which only this process holds, and acts at their end: when this process
 * closes it, or is gone however it went.
 */
function startWatchdog(script: string, ...args: string[]): Runner['watchdog'] {
  const child = spawn('/bin/sh', ['-c', script, 'watchdog', ...args], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  // A line that comes too late for it is of no use to it.
  child.stdin.on('error', () => {});
  return { ended: once(child, 'exit'), stdin: child.stdin };
}

function tellWatchdog({ watchdog, pids }: Runner, child?: ChildProcess): void {
  watchdog.stdin.write(`${pids(child).join(' ')}\n`);
}

const endProcessesAndFolder = `
  while read -r line; do pids=$line; done
  kill -9 $pids
  until rm -rf "$1"; do sleep 0.1; done`;

// As `rabbitmqctl stop` does, but the management agent goes first. Otherwise, on 3.10, it asks the application controller
// something while that one is stopping it, and gives up after 5 s. No blanks: the start script splits its arguments there.
const stopAtEndOfInput =
  'spawn(fun()->io:get_line([]),catch(gen_event:delete_handler(rabbit_event,rabbit_mgmt_db_handler,[])),rabbit:stop_and_halt()end)';

/** A node with a name server (epmd), ports, cookie and data folder of its own. Nothing of the caller's environment reaches it. */
async function createPrivateRunner({ path: program, root, env }: Program, certificates?: Certificates): Promise<Runner> {
  const port = await findPort();
  const managementPort = port + managementOffset;
  const [epmdPort, distributionPort, tlsPort] = [await findPort(), await findPort(), await findPort()];
  const password = randomBytes(16).toString('hex');
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-rabbitmq-'));
  const watchdog = startWatchdog(endProcessesAndFolder, dir);
  const environment = {
    LANG: 'C.UTF-8',
    ...env,
    PATH: [...(root === '' ? [] : [join(root, erlang, 'bin')]), process.env.PATH].join(':'),
    // Where Erlang makes its cookie.
    HOME: dir,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(epmdPort),
    RABBITMQ_NODENAME: 'rollcall@localhost',
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_MNESIA_BASE: join(dir, 'data'),
    RABBITMQ_LOG_BASE: join(dir, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONFIG_FILE: join(dir, 'none'),
    RABBITMQ_CONFIG_FILES: join(dir, 'none', '*.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(dir, 'advanced.config'),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    // With input allowed the start script becomes the broker instead of waiting for it, so that the child's pid is the broker's.
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-noshell +S 2:2 -kernel inet_dist_use_interface {127,0,0,1} -eval ${stopAtEndOfInput}`,
  };
  // Detached: Ctrl-C is for the tests, which then end these.
  const epmd = spawn('epmd', ['-address', '127.0.0.1', '-port', String(epmdPort)], { env: environment, detached: true, stdio: 'ignore' });
  watchdog.stdin.write(`${epmd.pid ?? ''}\n`);
  // Erlang terms and no rabbitmq.conf, which would have to be translated at each start.
  const listeners = (on: number) => `{"127.0.0.1", ${on}}${certificates === undefined ? '' : `, {"::1", ${on}}`}`;
  const tls =
    certificates === undefined
      ? ''
      : `{ssl_listeners, [${listeners(tlsPort)}]}, {ssl_options, [{cacertfile, "${certificates.ca}"}, {certfile, "${certificates.server.cert}"},
         {keyfile, "${certificates.server.key}"}, {verify, verify_peer}, {fail_if_no_peer_cert, false}]},`;
  const config = `[{rabbit, [{tcp_listeners, [${listeners(port)}]}, ${tls} {default_user, <<"${user}">>}, {default_pass, <<"${password}">>}]},
    {rabbitmq_management, [{tcp_config, [{ip, "127.0.0.1"}, {port, ${managementPort}}]}]}].`;
  try {
    await Promise.all([
      once(epmd, 'spawn'),
      writeFile(environment.RABBITMQ_ADVANCED_CONFIG_FILE, config),
      writeFile(environment.RABBITMQ_ENABLED_PLUGINS_FILE, '[rabbitmq_management].'),
    ]);
  } catch (error) {
    watchdog.stdin.end();
    throw error;
  }
  return {
    url: `amqp://${user}:${password}@127.0.0.1:${port}`,
    tlsPort,
    epmdPort,
    managementUrl: `http://127.0.0.1:${managementPort}`,
    launch: () => spawn(program, { env: environment, cwd: dir, detached: true, stdio: 'pipe' }),
    stop: (child) => child.stdin?.end(),
    kill: (child) => child.kill('SIGKILL'),
    pids: (child) => [epmd.pid, child?.pid],
    watchdog: { stdin: watchdog.stdin, ended: Promise.all([watchdog.ended, untilEnded(epmd)]) },
  };
}

async function createContainerRunner(): Promise<Runner> {
  const port = await findPort();
  const password = randomBytes(16).toString('hex');
  const ports = [`127.0.0.1:${port}:5672`, `127.0.0.1:${port + managementOffset}:15672`].flatMap((mapping) => ['--publish', mapping]);
  const variables = ['RABBITMQ_DEFAULT_USER', 'RABBITMQ_DEFAULT_PASS'].flatMap((name) => ['--env', name]);
  const env = { ...process.env, RABBITMQ_DEFAULT_USER: user, RABBITMQ_DEFAULT_PASS: password };
  const { stdout } = await run('docker', ['create', ...ports, ...variables, image], { env });
  const id = stdout.trim();
  return {
    url: `amqp://${user}:${password}@127.0.0.1:${port}`,
    tlsPort: 0,
    epmdPort: 0,
    managementUrl: `http://127.0.0.1:${port + managementOffset}`,
    launch: () => spawn('docker', ['start', '--attach', id], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] }),
    stop: () => spawn('docker', ['stop', '-t', '60', id], { stdio: 'ignore' }),
    kill: () => spawn('docker', ['kill', id], { stdio: 'ignore' }),
    pids: () => [],
    watchdog: startWatchdog('while read -r line; do :; done; docker rm --force --volumes "$1"', id),
  };
}

/** A proxy in front of the broker. `url` is the address of the same vhost through it. */
export async function startBrokerProxy(amqpUrl: string) {
  const url = new URL(amqpUrl);
  const proxy = await startNetwork({ host: url.hostname, port: Number(url.port || 5672) });
  url.host = `127.0.0.1:${proxy.port}`;
  return { ...proxy, url: url.href };
}
