// The private server's promises, against real servers: one holder for a folder, no committed row lost, no process left behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { existsSync, readdirSync, watch } from 'node:fs';
import { chmod, chown, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EmbeddedPostgresError } from '../../src/private-postgres/server.ts';
import {
  connect,
  isAlive,
  isRoot,
  kill,
  makeFolder,
  query,
  type Started,
  socketDirOf,
  spawnService,
  start,
  startAndStop,
  startService,
} from '../support/embedded.ts';

test('a fresh folder gets a durable, private server with an empty database rollcall', async () => {
  await using folder = await makeFolder('empty');
  await using server = await start(folder.path, { settings: {} });
  assert.equal(new URL(server.url).pathname, '/rollcall');
  const shown = ['fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums', 'listen_addresses', 'server_encoding'];
  const rows = await query(server.url, `select ${shown.map((name) => `current_setting('${name}') as ${name}`).join(', ')}`);
  const expected = {
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',
    data_checksums: 'on',
    listen_addresses: '',
    server_encoding: 'UTF8',
  };
  assert.deepEqual(rows, [expected]);
  assert.equal((await stat(socketDirOf(server))).mode & 0o777, 0o700);
  assert.deepEqual(await query(server.url, "select 1 from pg_class where relnamespace = 'public'::regnamespace"), []);
  // It leads a process group of its own, so a terminal's Ctrl-C does not reach it.
  assert.ok(process.kill(-server.pid, 0));
});

test('rows survive a restart, and the second start skips the setup', async () => {
  await using folder = await makeFolder();
  {
    await using server = await start(folder.path);
    await query(server.url, 'create table kept as select 42 as answer');
  }
  await using server = await start(folder.path);
  assert.deepEqual(await query(server.url, 'select answer from kept'), [{ answer: 42 }]);
  assert.match(await readFile(join(folder.path, 'postgres.log'), 'utf8'), /ready to accept connections/);
});

test('a second start on a folder in use names process and holder, and does not disturb the first', async () => {
  await using folder = await makeFolder();
  await using server = await start(folder.path, { holder: 'http://127.0.0.1:8000' });
  const session = await connect(server.url);
  await assert.rejects(start(folder.path, { holder: 'http://127.0.0.1:9000' }), (error) => {
    assert.ok(error instanceof EmbeddedPostgresError);
    assert.match(error.message, new RegExp(`in use by process ${process.pid} \\(http://127\\.0\\.0\\.1:8000\\)`));
    return true;
  });
  // Refused in a process of its own, nothing keeps that process open.
  const other = spawnService(folder.path, 'http://127.0.0.1:9000');
  assert.deepEqual(await once(other, 'exit'), [0, null]);
  await session.query('select 1');
  await session.end();
  assert.deepEqual(eventsOf(server), ['PostgreSQL started']);
});

test('after kill -9 of the service, the next start ends the orphaned server and finds the committed row', async () => {
  await using folder = await makeFolder();
  await using service = await startService(folder.path, 'http://127.0.0.1:8001');
  await query(service.url, 'create table kept as select 42 as answer');
  await kill(service.child);
  assert.ok(isAlive(service.pid), 'the server outlived its service');
  await using server = await start(folder.path);
  assert.deepEqual(
    server.logged.map(({ event, fields }) => [event, fields.pid]),
    [
      ['PostgreSQL left behind was stopped', service.pid],
      ['PostgreSQL started', server.pid],
    ],
  );
  assert.deepEqual(await query(server.url, 'select answer from kept'), [{ answer: 42 }]);
});

test('after kill -9 of service and server, the next start finds the committed row', async () => {
  await using folder = await makeFolder();
  await using service = await startService(folder.path, 'first');
  await query(service.url, 'create table kept as select 42 as answer');
  await kill(service.child);
  process.kill(service.pid, 'SIGKILL');
  await using server = await start(folder.path);
  assert.deepEqual(await query(server.url, 'select answer from kept'), [{ answer: 42 }]);
});

test('a server killed under load comes back by itself with every committed row, and the folder is held again', async () => {
  await using folder = await makeFolder();
  await using server = await start(folder.path, { settings: { shared_buffers: '16MB' } });
  await query(server.url, 'create table kept (id int)');
  const committed: number[] = [];
  const writers = [1, 2, 3, 4].map(async (writer) => {
    const session = await connect(server.url);
    for (let id = writer; ; id += 4) {
      const row = await session.query('insert into kept values ($1) returning id', [id]).catch(() => undefined);
      if (!row) return;
      if (committed.push(id) === 100) process.kill(server.pid, 'SIGKILL');
    }
  });
  const [{ pid }] = await once(server.events, 'PostgreSQL restarted');
  await Promise.all(writers);
  assert.notEqual(pid, server.pid);
  const found = new Set((await query(server.url, 'select id from kept')).map(({ id }) => id));
  assert.deepEqual(
    committed.filter((id) => !found.has(id)),
    [],
  );
  await assert.rejects(start(folder.path), /in use by process/);
});

test('when only the sessions of a server die, the folder is held again', async () => {
  await using folder = await makeFolder();
  await using server = await start(folder.path);
  const session = await connect(server.adminUrl);
  const restarted = once(server.events, 'PostgreSQL restarted');
  await session.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres' and backend_type = 'client backend' and pid <> pg_backend_pid()",
  );
  await session.end();
  const [{ pid }] = await restarted;
  assert.equal(pid, server.pid);
  await assert.rejects(start(folder.path), /in use by process/);
});

test('of several concurrent starts on a fresh folder, and again on a used one, exactly one wins and the others name it', async () => {
  await using folder = await makeFolder('empty');
  for (const round of ['fresh', 'used']) {
    const starts = [start(folder.path, { holder: round }), start(folder.path, { holder: round }), startService(folder.path, round)];
    const outcomes = await Promise.allSettled<AsyncDisposable & { url: string }>(starts);
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
    await using stack = new AsyncDisposableStack();
    for (const server of won) stack.use(server);
    const lost = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => String(reason));
    assert.equal(won.length, 1, lost.join('\n'));
    for (const reason of lost) assert.match(reason, new RegExp(`in use by process \\d+ \\(${round}\\)`));
    assert.equal((await query(won[0]?.url ?? '', 'select 1 as one')).length, 1);
  }
});

test('an interrupted initdb starts over, and leaves nothing behind', async () => {
  await using folder = await makeFolder('empty');
  const watcher = watch(folder.path);
  const child = spawnService(folder.path, 'interrupted');
  for await (const [, name] of on(watcher, 'change')) if (`${name}`.startsWith('init-')) break;
  watcher.close();
  await kill(child);
  assert.ok(!existsSync(join(folder.path, 'pgdata')));
  await using server = await start(folder.path);
  assert.deepEqual(await query(server.url, 'select 1 as one'), [{ one: 1 }]);
  assert.deepEqual(readdirSync(folder.path).sort(), ['pgdata', 'postgres.log', 'run']);
});

test('stale lock files whose process id belongs to another program do not stop the start', async () => {
  await using folder = await makeFolder();
  const { url } = await startAndStop(folder.path);
  const { uid, gid } = await stat(join(folder.path, 'pgdata'));
  const other = spawn('sleep', ['60'], isRoot ? { uid, gid } : {});
  try {
    for (const file of [join(folder.path, 'pgdata', 'postmaster.pid'), join(socketDirOf({ url }), '.s.PGSQL.5432.lock')]) {
      await writeFile(file, `${other.pid}\n${folder.path}/pgdata\n1\n5432\n${socketDirOf({ url })}\n\n  1  1\n`, { mode: 0o600 });
      if (isRoot) await chown(file, uid, gid);
      await utimes(file, 1, 1);
    }
    await using server = await start(folder.path);
    assert.deepEqual(await query(server.url, 'select 1 as one'), [{ one: 1 }]);
    assert.ok(isAlive(other.pid ?? 0), 'the other program was left alone');
  } finally {
    await kill(other);
  }
});

test('disposing twice is harmless and leaves no process', async () => {
  await using folder = await makeFolder();
  const server = await start(folder.path);
  const session = await connect(server.url);
  const backends = await session.query<{ pid: number }>('select pid from pg_stat_activity');
  await Promise.all([server[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
  await server[Symbol.asyncDispose]();
  for (const pid of [server.pid, ...backends.rows.map((row) => row.pid)]) assert.ok(!isAlive(pid), `process ${pid} is gone`);
});

test('a service that exits without disposing takes its server with it', async () => {
  await using folder = await makeFolder();
  await using service = await startService(folder.path, 'careless');
  service.child.kill('SIGHUP');
  await once(service.child, 'exit');
  await using server = await start(folder.path);
  assert.deepEqual(eventsOf(server), ['PostgreSQL started']);
});

test('a folder name too long for a socket, with spaces and quotes in it, gets its socket in a private temporary folder, and none that others made', async () => {
  await using folder = await makeFolder('empty');
  const path = join(folder.path, `it's a "very, long" näme ${'x'.repeat(100)}`);
  const { url } = await startAndStop(path);
  const socketDir = socketDirOf({ url });
  try {
    assert.ok(socketDir.startsWith(join(tmpdir(), 'rollcall-')));
    assert.equal((await stat(socketDir)).mode & 0o777, 0o700);
    await chmod(socketDir, 0o777);
    await assert.rejects(start(path), /must be a folder of mode 0700/);
  } finally {
    await rm(socketDir, { recursive: true });
  }
});

test('a folder of another major version is refused in one sentence that names both', async () => {
  await using folder = await makeFolder();
  await startAndStop(folder.path);
  await writeFile(join(folder.path, 'pgdata', 'PG_VERSION'), '15\n');
  await assert.rejects(start(folder.path), {
    name: 'EmbeddedPostgresError',
    message: /made by PostgreSQL 15 and this is PostgreSQL \d+: set DATA_DIR/,
  });
});

function eventsOf({ logged }: Started): string[] {
  return logged.map(({ event }) => event);
}
