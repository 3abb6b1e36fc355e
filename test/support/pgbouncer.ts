// A PgBouncer in front of a test's PostgreSQL, in transaction mode and set up as docs/operations.md says.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram } from '../../harness/packages.ts';
import { findPort } from '../../harness/ports.ts';
import { findAccount, makeFolder, type TestPostgres } from './postgres.ts';

/** `url` is that of the server's, through PgBouncer. */
export type TestPgbouncer = AsyncDisposable & { readonly url: string };

export async function startPgbouncer(server: TestPostgres, settings: Readonly<Record<string, string>> = {}): Promise<TestPgbouncer> {
  const { path, env } = await findProgram({ package: 'pgbouncer', places: ['/usr/sbin/pgbouncer'] });
  const account = await findAccount();
  await using starting = new AsyncDisposableStack();
  const dir = await makeFolder(account);
  starting.defer(() => rm(dir, { recursive: true, force: true }));
  const port = await findPort();
  const all = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'trust',
    auth_file: join(dir, 'users'),
    pool_mode: 'transaction',
    ignore_startup_parameters: 'statement_timeout,idle_in_transaction_session_timeout',
    ...settings,
  };
  const lines = [
    '[databases]',
    `* = host=127.0.0.1 port=${server.port}`,
    '[pgbouncer]',
    ...Object.entries(all).map((pair) => pair.join(' = ')),
  ];
  // Root's files that the account reads.
  await writeFile(all.auth_file, '"postgres" ""\n', { mode: 0o644 });
  await writeFile(join(dir, 'pgbouncer.ini'), `${lines.join('\n')}\n`, { mode: 0o644 });
  const child = spawn(path, [join(dir, 'pgbouncer.ini')], {
    ...account,
    cwd: dir,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  starting.defer(async () => {
    child.kill('SIGINT');
    await ended;
  });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`PgBouncer did not start: ${said}`)));
    child.stderr.on('data', (chunk) => {
      said = `${said}${chunk}`.slice(-4000);
      if (said.includes('process up')) resolve();
    });
  });
  const url = new URL(server.url);
  url.port = String(port);
  const running = starting.move();
  return { url: url.href, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
