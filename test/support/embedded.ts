// Private servers for a test: in its process, or in one of their own that can be killed.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { type EmbeddedPostgres, startEmbedded } from '../../src/private-postgres/server.ts';

type Row = Record<string, unknown>;
export type Started = EmbeddedPostgres & {
  readonly pid: number;
  readonly events: EventEmitter;
  readonly logged: { event: string; fields: Row }[];
};
type Service = AsyncDisposable & { readonly child: ChildProcess; readonly url: string; readonly pid: number };

const execute = promisify(execFile);
export const repository = join(import.meta.dirname, '../..');
export const isRoot = process.getuid?.() === 0;
export const needsRoot = isRoot ? false : 'needs root';
// None of these folders outlives its test, so no test pays for a disk.
export const settings = { fsync: 'off', full_page_writes: 'off', shared_buffers: '16MB' };

// Most tests begin with a cluster that is there, as most starts do; a copy costs a tenth of initdb.
let template: Promise<string> | undefined;
after(async () => template && rm(await template, { recursive: true }));

async function makeTemplate(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-test-'));
  await startAndStop(path);
  return path;
}

export async function makeFolder(content: 'empty' | 'cluster' = 'cluster'): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-test-'));
  if (content === 'cluster') {
    template ??= makeTemplate();
    await execute('cp', ['-a', join(await template, 'pgdata'), path]);
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

export async function start(dataDir: string, options: { holder?: string; settings?: Record<string, string> } = {}): Promise<Started> {
  const events = new EventEmitter();
  const logged: { event: string; fields: Row }[] = [];
  const log = (event: string, fields: Row = {}) => {
    logged.push({ event, fields });
    events.emit(event, fields);
  };
  const server = await startEmbedded({ dataDir, holder: 'test', settings, ...options, log });
  const pid = Number(logged.find(({ event }) => event === 'PostgreSQL started')?.fields.pid);
  const { url, adminUrl, account } = server;
  return {
    url,
    adminUrl,
    account,
    dataDir: server.dataDir,
    pid,
    events,
    logged,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export async function startAndStop(dataDir: string): Promise<{ readonly url: string }> {
  await using server = await start(dataDir);
  return { url: server.url };
}

const serviceProgram = `
  const { startEmbedded } = await import(process.argv[1]);
  process.on('SIGHUP', () => process.exit(0));
  let pid;
  const log = (event, fields) => { if (event === 'PostgreSQL started') pid = fields.pid; };
  const said = await startEmbedded({ ...JSON.parse(process.argv[2]), log }).then(({ url }) => ({ url, pid }), ({ message }) => ({ message }));
  console.log(JSON.stringify(said));`;

type Surroundings = { readonly root?: string; readonly wrapper?: readonly string[] };

/** A process that holds a server until it is killed; on SIGHUP it exits without disposing. */
export function spawnService(dataDir: string, holder: string, { root = repository, wrapper = [] }: Surroundings = {}): ChildProcess {
  const node = [process.execPath, '--input-type=module', '--eval', serviceProgram];
  const [file = '', ...args] = [
    ...wrapper,
    ...node,
    join(root, 'src/private-postgres/server.ts'),
    JSON.stringify({ dataDir, holder, settings }),
  ];
  return spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

export async function startService(dataDir: string, holder: string, surroundings?: Surroundings): Promise<Service> {
  const child = spawnService(dataDir, holder, surroundings);
  assert.ok(child.stdout);
  const [line] = await once(createInterface(child.stdout), 'line');
  const { url, pid, message } = JSON.parse(line);
  if (message) throw new Error(message);
  const dispose = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGHUP');
    await once(child, 'exit');
  };
  return { child, url, pid, [Symbol.asyncDispose]: dispose };
}

export async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

export async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
}

export async function query(url: string, text: string): Promise<Row[]> {
  const client = await connect(url);
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

export function socketDirOf({ url }: { url: string }): string {
  return new URL(url).searchParams.get('host') ?? '';
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
