// Old code on the new schema, as in a rolling upgrade: the commit before the newest migration, taken from git, on the schema after it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isOlder, readMigrations } from '../../src/platform/db/migrations.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);
const runs = '20';

/** The commit before the one that brought the newest migration; undefined where there is no history, or the migration is not committed. */
async function findCommit(): Promise<string | undefined> {
  const newest = (await readMigrations()).at(-1);
  const log = ['log', '--diff-filter=A', '--format=%P', '-1', '--', `migrations/${newest?.name}`];
  const { stdout } = await run('git', log, { cwd: root }).catch(() => ({ stdout: '' }));
  const [parent] = stdout.trim().split(' ');
  if (parent === undefined || parent === '') return undefined;
  return run('git', ['cat-file', '-e', parent], { cwd: root }).then(
    () => parent,
    () => undefined,
  );
}

test('the contract suite of the commit before the newest migration passes on the schema after it', async (t) => {
  const commit = await findCommit();
  if (commit === undefined) return t.skip('git has no commit before the newest migration here: a shallow clone, or no clone');
  const around = await mkdtemp(join(tmpdir(), 'rollcall-upgrade-'));
  t.after(() => rm(around, { recursive: true, force: true }));
  const archive = join(around, 'old.tar');
  const folder = join(around, 'code');
  await mkdir(folder);
  await run('git', ['archive', '--format=tar', '-o', archive, commit], { cwd: root });
  await run('tar', ['-xf', archive, '-C', folder]);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  // The template of the tests' databases has the new schema: the old code takes it for its own.
  await cp(join(root, 'migrations'), join(folder, 'migrations'), { recursive: true });
  const { version, dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  // What the old code needs and the new one does not: Node finds it in the folder above.
  const gone = Object.entries(dependencies).filter(([name]) => !existsSync(join(root, 'node_modules', name)));
  if (gone.length > 0) {
    const install = ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', around, ...gone.map((each) => each.join('@'))];
    const failed = await run('npm', install).then(
      () => undefined,
      (error: { stderr: string }) => error.stderr,
    );
    if (failed !== undefined && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(failed))
      return t.skip(`the registry cannot be reached, and the old code needs ${gone.map(([name]) => name).join(', ')}`);
    assert.equal(failed, undefined);
  }
  const oldestCode = (await readMigrations()).at(-1)?.oldestCode;
  if (oldestCode !== undefined && isOlder(version, oldestCode)) {
    // What docs/operations.md says of such a migration: consumers are stopped before it, and the API goes on.
    const suite = join(folder, 'test/api/contract.test.ts');
    const text = await readFile(suite, 'utf8');
    assert.match(text, /startService\(\)/);
    await writeFile(suite, text.replaceAll('startService()', "startService({ RUN: 'api' })"));
  }
  const args = ['--test', '--test-timeout=120000', 'test/api/contract.test.ts'];
  // Of a test runner inside a test runner.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = await run(process.execPath, args, { cwd: folder, env: { ...env, FUZZ_RUNS: runs }, maxBuffer: 1 << 26 }).catch(
    (error: { stdout: string }) => error,
  );
  assert.match(stdout, /^ℹ fail 0$/m, stdout.slice(-4000));
  assert.match(stdout, /^ℹ pass [1-9]\d+$/m);
});
