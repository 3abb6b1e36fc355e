// What an operator can get wrong before the start: each ends it with a sentence that names the cure, exit code 1 and no stack.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite, test } from 'node:test';
import type { TObject } from 'typebox';
import { Settings } from '../../src/config.ts';
import { createDatabase } from '../support/database.ts';
import { runNode } from '../support/process.ts';

async function createFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-errors-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const commands: Record<string, readonly [file: string, ...args: string[]]> = {
  'npm start': ['start.js'],
  'npm run migrate': ['src/cli/migrate.ts'],
  'npm run migrate -- --status': ['src/cli/migrate.ts', '--status'],
  'npm run events': ['src/cli/events.ts', 'outbox', 'status'],
  'npm run db:setup': ['src/cli/setup.ts'],
};

suite('.env', { concurrency: true }, () => {
  for (const [command, [file, ...args]] of Object.entries(commands)) {
    test(`${command} ends with the file and the line where one is not meant so, and makes no database`, async () => {
      await using stack = new AsyncDisposableStack();
      const cwd = await createFolder(stack);
      await writeFile(join(cwd, '.env'), 'PORT=0\nDATABASE_URL: postgres://me:s3cret@127.0.0.1:1/users\n');
      const { code, stdout, stderr } = await runNode(file, {}, args, cwd);
      assert.deepEqual([code, stdout], [1, '']);
      assert.equal(stderr, 'The settings are not right:\n  .env line 2 does not set DATABASE_URL: write it as DATABASE_URL=value.\n');
      assert.deepEqual(await readdir(cwd), ['.env']);
    });
  }

  test('is read as PowerShell writes it: the database that it names is used, not a new one', async () => {
    await using stack = new AsyncDisposableStack();
    const cwd = await createFolder(stack);
    const database = stack.use(await createDatabase());
    await writeFile(join(cwd, '.env'), Buffer.from(`\ufeffDATABASE_URL=${database.url}\r\n`, 'utf16le'));
    const { code, stdout } = await runNode('src/cli/migrate.ts', {}, [], cwd);
    assert.deepEqual([code, stdout], [0, 'The schema is up to date.\n']);
    assert.deepEqual(await readdir(cwd), ['.env']);
  });

  test('that is a folder is reported in a sentence', async () => {
    await using stack = new AsyncDisposableStack();
    const cwd = await createFolder(stack);
    await mkdir(join(cwd, '.env'));
    const { code, stderr } = await runNode('start.js', {}, [], cwd);
    assert.equal(code, 1);
    assert.equal(stderr, 'The settings are not right:\n  .env is a folder: put a file of lines NAME=value there, or remove it.\n');
  });
});

suite('settings', { concurrency: true }, () => {
  test('that are wrong end the start with a sentence for each, before anything is created', async () => {
    await using stack = new AsyncDisposableStack();
    const cwd = await createFolder(stack);
    const names = Object.keys((Settings as TObject).properties);
    const env = Object.fromEntries(names.map((name) => [name, '~ s3cret:\\u202e?@#%']));
    const { code, stdout, stderr } = await runNode('start.js', env, [], cwd);
    assert.deepEqual([code, stdout], [1, '']);
    const [head, ...issues] = stderr.trimEnd().split('\n');
    assert.equal(head, 'The settings are not right:');
    assert.deepEqual(
      issues.map((issue) => /^ {2}([A-Z_]+) must .+\.$/.exec(issue)?.[1]),
      names,
    );
    assert.deepEqual(await readdir(cwd), []);
  });

  test('HOST that is not an address of this machine, or does not resolve, is reported', async () => {
    await using database = await createDatabase();
    const started = (HOST: string) => runNode('start.js', { HOST, AUTH: 'off', PORT: '0', DATABASE_URL: database.url });
    // 192.0.2.0/24 is for documents (RFC 5737), .invalid is never a name (RFC 6761).
    const [foreign, nameless] = await Promise.all([started('192.0.2.1'), started('rollcall.invalid')]);
    assert.deepEqual([foreign.code, nameless.code], [1, 1]);
    assert.equal(foreign.stderr, 'HOST 192.0.2.1 is no address of this machine: set HOST to one of its addresses, or to 127.0.0.1.\n');
    assert.match(nameless.stderr, /^HOST rollcall\.invalid is a name without an address \(E\w+\): set HOST to an address\.\n$/);
  });

  test('DATA_DIR that cannot be a data folder is reported with its path', async () => {
    await using stack = new AsyncDisposableStack();
    const cwd = await createFolder(stack);
    await writeFile(join(cwd, 'file'), '');
    await mkdir(join(cwd, 'photos'));
    await writeFile(join(cwd, 'photos/1.jpg'), '');
    const folders = ['file', 'file/below', 'photos', '/proc/rollcall', 'x'.repeat(300)];
    const outcomes = await Promise.all(folders.map((DATA_DIR) => runNode('start.js', { DATA_DIR, PORT: '0' }, [], cwd)));
    for (const [index, { code, stderr }] of outcomes.entries()) {
      assert.equal(code, 1);
      assert.ok(stderr.includes(resolve(cwd, folders[index] as string)), stderr);
      assert.match(stderr, /^[^\n]+set DATA_DIR to [^\n]+\.\n$/);
    }
  });
});

test('missing packages are reported with the command that installs them', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await createFolder(stack);
  for (const name of ['src', 'start.js', 'build.js', 'package.json']) await cp(name, join(folder, name), { recursive: true });
  const child = spawn(process.execPath, [join(folder, 'start.js')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [code] = await once(child, 'close');
  assert.deepEqual([code, stderr], [1, 'The packages of Rollcall are not installed, or not all of them: run "npm ci" in its folder.\n']);
});

test('an outdated Node is reported with the ways to a newer one', () => {
  const older = 'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.1.0"}})';
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', older, 'start.js'], { encoding: 'utf8' });
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /^Rollcall needs Node 24, [^\n]+ run "npm ci" and then "npm start"[^\n]+\.\n$/);
});
