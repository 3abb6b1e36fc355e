// RabbitMQ for tests, chaos runs and benches: the broker of TEST_RABBITMQ_URL, else a private node of a package that is installed or can be
// fetched, else a container. What is started here ends with this process, even on SIGKILL, and no service of the machine is touched.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createVhost, findManagementUrl, type Vhost } from './management.ts';
import { startNetwork } from './network.ts';
import { findProgram, type Program, type Wanted } from './packages.ts';
import { findPort, managementOffset } from './ports.ts';
import { type Watchdog, watchContainer, watchFolder } from './watchdog.ts';

export type Rabbit = AsyncDisposable & {
  readonly url: string;
  readonly managementUrl: string;
  createVhost(): Promise<Vhost>;
};

/** A broker that may be ill-treated: data and ports outlive stop and kill. Each method resolves when it is done. */
export type PrivateRabbit = Rabbit & {
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
  /** Ends with the broker, and removes its folder. */
  readonly watchdog: Watchdog;
  /** Its name server, which ends with the watchdog. */
  readonly epmd?: ChildProcess;
};

/** Files in PEM of a server and of the authority that signed its certificate. */
export type ServerCertificates = { readonly ca: string; readonly server: { readonly cert: string; readonly key: string } };

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
export async function startRabbit(): Promise<Rabbit> {
  const url = process.env.TEST_RABBITMQ_URL;
  if (!url) return startPrivateRabbit();
  const managementUrl = findManagementUrl(url);
  return { url, managementUrl, createVhost: () => createVhost(url, managementUrl), [Symbol.asyncDispose]: async () => {} };
}

/**
 * A broker of one's own, whatever TEST_RABBITMQ_URL says. Takes 3 to 8 s; the first time on a machine also the fetching of a package.
 * @param certificates it listens with TLS too, and on [::1]; a client certificate is checked where one is shown
 */
export async function startPrivateRabbit(certificates?: ServerCertificates): Promise<PrivateRabbit> {
  const node = new RabbitNode(await createRunner(certificates));
  try {
    await node.start();
    return node;
  } catch (error) {
    await node[Symbol.asyncDispose]();
    throw error;
  }
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

  createVhost(): Promise<Vhost> {
    return createVhost(this.url, this.managementUrl);
  }

  async start(): Promise<void> {
    if (this.#child) throw new Error('This broker runs already.');
    const child = this.#runner.launch();
    this.#child = child;
    this.#runner.watchdog.watch(child.pid);
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
    this.#runner.watchdog.forget(child.pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#runner.watchdog[Symbol.asyncDispose]();
    if (this.#runner.epmd !== undefined) await untilEnded(this.#runner.epmd);
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

async function createRunner(certificates: ServerCertificates | undefined): Promise<Runner> {
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

// As `rabbitmqctl stop` does, but the management agent goes first. Otherwise, on 3.10, it asks the application controller
// something while that one is stopping it, and gives up after 5 s. No blanks: the start script splits its arguments there.
const stopAtEndOfInput =
  'spawn(fun()->io:get_line([]),catch(gen_event:delete_handler(rabbit_event,rabbit_mgmt_db_handler,[])),rabbit:stop_and_halt()end)';

/** A node with a name server (epmd), ports, cookie and data folder of its own. Nothing of the caller's environment reaches it. */
async function createPrivateRunner({ path: program, root, env }: Program, certificates?: ServerCertificates): Promise<Runner> {
  const port = await findPort();
  const managementPort = port + managementOffset;
  const [epmdPort, distributionPort, tlsPort] = [await findPort(), await findPort(), await findPort()];
  const password = randomBytes(16).toString('hex');
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-rabbitmq-'));
  const watchdog = watchFolder(dir);
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
  watchdog.watch(epmd.pid);
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
    await watchdog[Symbol.asyncDispose]();
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
    watchdog,
    epmd,
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
    watchdog: watchContainer(id),
  };
}

/** A proxy in front of the broker. `url` is the address of the same vhost through it. */
export async function startBrokerProxy(amqpUrl: string) {
  const url = new URL(amqpUrl);
  const proxy = await startNetwork({ host: url.hostname, port: Number(url.port || 5672) });
  url.host = `127.0.0.1:${proxy.port}`;
  return { ...proxy, url: url.href };
}
