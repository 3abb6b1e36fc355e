// What every measurement stands on: the time it may take, databases, a broker, the service and the floors as processes of
// their own.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Vhost } from '../harness/management.ts';
import { findPort } from '../harness/ports.ts';
import { startRabbit } from '../harness/rabbitmq.ts';
import { type Child, startChild } from './child.ts';
import { type Database, type Databases, startDatabases } from './database.ts';

export type Service = Child & { readonly url: string };

export type Stage = AsyncDisposable & {
  readonly postgresVersion: string;
  /** The server's superuser. */
  readonly admin: Databases['admin'];
  /** Measured time for each side of a row, shared out over the rounds. */
  readonly seconds: number;
  readonly rounds: number;
  readonly signal: AbortSignal;
  cloneDatabase(template: 'users' | 'empty'): Promise<Database>;
  /** A folder of its own, that goes with the stage. */
  makeFolder(): Promise<string>;
  /** The broker starts when it is first asked for. */
  createVhost(): Promise<Vhost>;
  /** The service with its defaults but for `env`, its log on /dev/null; resolves at its first 200. */
  startService(env: Readonly<Record<string, string>>, path?: string): Promise<Service>;
  /** @param input what the floor reads from its command line */
  startFloor(name: 'server' | 'statements' | 'outbox' | 'hashes' | 'publisher', input?: object): Child;
  /** The floor of floors/server.ts, which reads users where it is given a database. */
  startFloorServer(database?: object): Promise<Service>;
  /** The floor of floors/handlers.ts, on a database of its own or on one that is only read. */
  startHandlers(url: string): Promise<Service>;
};

export type StageOptions = {
  readonly seconds: number;
  readonly signal: AbortSignal;
  /** Where the service writes a CPU profile when it ends. */
  readonly profileFolder?: string | undefined;
  /** Of PostgreSQL. */
  readonly settings?: Record<string, string>;
};

const rounds = 4;

export async function startStage({ seconds, signal, profileFolder, settings = {} }: StageOptions): Promise<Stage> {
  await using starting = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-bench-'));
  starting.defer(() => rm(folder, { recursive: true, force: true }));
  // PostgreSQL refuses root, so a service that root starts runs it as somebody else, who has to get in.
  await chmod(folder, 0o711);
  const databases = starting.use(await startDatabases(settings));
  let rabbit: ReturnType<typeof startRabbit> | undefined;
  starting.defer(async () => (await rabbit?.catch(() => undefined))?.[Symbol.asyncDispose]());
  // As `npm start` runs it.
  const asStarted = ['--max-semi-space-size=16'];
  const nodeArgs = profileFolder === undefined ? asStarted : [...asStarted, '--cpu-prof', `--cpu-prof-dir=${profileFolder}`];

  function startFloor(name: string, input: object = {}): Child {
    const file = new URL(`./floors/${name}.ts`, import.meta.url);
    return startChild(file, { args: [JSON.stringify(input)], cwd: folder, answers: true, signal });
  }

  // In a folder without .env.
  async function startService(env: Readonly<Record<string, string>>, path = '/ready'): Promise<Service> {
    const port = await findPort();
    const child = startChild(new URL('../start.js', import.meta.url), {
      env: { PORT: String(port), SHUTDOWN_DRAIN_MS: '0', ...env },
      nodeArgs,
      cwd: folder,
      answers: false,
      signal,
    });
    return untilOk(child, `http://127.0.0.1:${port}`, path);
  }

  const running = starting.move();
  return {
    postgresVersion: databases.version,
    admin: databases.admin,
    seconds,
    rounds,
    signal,
    cloneDatabase: databases.clone,
    makeFolder: () => mkdtemp(join(folder, 'data-')),
    async createVhost() {
      rabbit ??= startRabbit();
      return (await rabbit).createVhost();
    },
    startService,
    startFloor,
    async startFloorServer(database) {
      const port = await findPort();
      return untilOk(startFloor('server', { port, database }), `http://127.0.0.1:${port}`, '/bare');
    },
    async startHandlers(url) {
      const port = await findPort();
      return untilOk(startFloor('handlers', { port, url }), `http://127.0.0.1:${port}`, '/ready');
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function untilOk(child: Child, url: string, path: string): Promise<Service> {
  try {
    await child.untilOk(`${url}${path}`);
    return { ...child, url };
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
}
