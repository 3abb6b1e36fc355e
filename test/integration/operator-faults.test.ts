// What an operator can get wrong before the start: each ends it with a sentence that names the cure, exit code 1 and no stack.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createDatabase } from '../support/database.ts';
import { runNode } from '../support/process.ts';

async function createFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-faults-'));
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

  test('as a folder is told in a sentence', async () => {
    await using stack = new AsyncDisposableStack();
    const cwd = await createFolder(stack);
    await mkdir(join(cwd, '.env'));
    const { code, stderr } = await runNode('start.js', {}, [], cwd);
    assert.equal(code, 1);
    assert.equal(stderr, 'The settings are not right:\n  .env is a folder: put a file of lines NAME=value there, or remove it.\n');
  });
});
