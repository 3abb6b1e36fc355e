// What `npm start` runs: JavaScript that is always that of the sources, whose stacks name the sources.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { createDatabase } from '../support/database.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const nodeFile = `export const findSecureNode = (): undefined => undefined;\nexport const hasSecurityRelease = (): boolean => true;\n`;

/** A project whose sources are the given ones, but for the choice of the Node. */
async function createProject(files: Readonly<Record<string, string>>) {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-build-'));
  for (const name of ['start.js', 'build.js', 'package.json']) await cp(join(root, name), join(path, name));
  await mkdir(join(path, 'src', 'platform', 'runtime'), { recursive: true });
  const write = (file: string, text: string) => writeFile(join(path, 'src', file), text);
  await write('platform/runtime/node.ts', nodeFile);
  for (const [file, text] of Object.entries(files)) await write(file, text);
  return {
    path,
    write,
    start: () => spawnSync(process.execPath, ['start.js'], { cwd: path, encoding: 'utf8' }),
    built: async () => (await readdir(path)).filter((name) => name.startsWith('.build-')),
    async [Symbol.asyncDispose]() {
      await chmod(path, 0o700);
      await rm(path, { recursive: true });
    },
  };
}

suite('npm start', { concurrency: true }, () => {
  test('runs the current sources, of every file', async () => {
    await using project = await createProject({
      'main.ts': `import { word } from './word.ts';\nconst say: (text: string) => void = console.log;\nsay(word);\n`,
      'word.ts': `export const word: string = 'one';\n`,
    });
    assert.equal(project.start().stdout, 'one\n');
    assert.equal(project.start().stdout, 'one\n');
    assert.equal((await project.built()).length, 1);
    await project.write('word.ts', `export const word: string = 'two';\n`);
    assert.equal(project.start().stdout, 'two\n');
    await project.write('word.ts', `export const word: string = 'one';\n`);
    assert.equal(project.start().stdout, 'one\n');
  });

  test('keeps the build of the last sources only', async () => {
    await using project = await createProject({ 'main.ts': '' });
    for (let n = 0; n < 9; n += 1) {
      await project.write('main.ts', `console.log(${n});\n`);
      assert.equal(project.start().stdout, `${n}\n`);
    }
    assert.equal((await project.built()).length, 6);
  });

  test('loads no TypeScript compiler, and names the .ts file and line in stacks, in threads too', async () => {
    await using project = await createProject({
      'main.ts': `import { Worker } from 'node:worker_threads';
type Told = { readonly stack: string };
const worker = new Worker(new URL('./thread.ts', import.meta.url));
worker.once('error', (error: unknown) => {
  console.log((error as Told).stack);
  console.log(process.moduleLoadList.some((name) => name.includes('amaro')));
  throw new Error('in the process');
});
`,
      'thread.ts': `interface Nothing {}\n\nconst fail = (_nothing: Nothing): never => {\n  throw new Error('in the thread');\n};\nfail({});\n`,
    });
    const { stdout, stderr } = project.start();
    assert.match(stdout, /^Error: in the thread\n {4}at fail \(src\/thread\.ts:4:9\)\n {4}at src\/thread\.ts:6:1\n/);
    assert.match(stdout, /\nfalse\n$/);
    assert.match(stderr, /\nError: in the process\n {4}at \S+ .*\(src\/main\.ts:7:9\)\n/);
  });

  test('is safe for concurrent starts', async () => {
    await using project = await createProject({ 'main.ts': `console.log('begun' as string);\n` });
    const all = await Promise.all(Array.from({ length: 6 }, () => run(process.execPath, ['start.js'], { cwd: project.path })));
    assert.deepEqual(
      all.map(({ stdout, stderr }) => stdout + stderr),
      all.map(() => 'begun\n'),
    );
    assert.equal((await project.built()).length, 1);
  });

  test('runs the sources in a read-only folder, and says why in a line', async () => {
    await using project = await createProject({ 'main.ts': `console.log('runs' as string);\n` });
    // A file where the folder is to be: root may write everywhere.
    await project.write('broken.ts', 'enum Direction { Up }\n');
    const { stdout, stderr } = project.start();
    assert.equal(stdout, 'runs\n');
    assert.match(stderr, /^src\/ runs as TypeScript, which takes more memory, since no JavaScript could be made of it: \S.+\n$/);
  });

  test('an unknown command is reported with the known ones', async () => {
    const { status, stderr } = spawnSync(process.execPath, ['start.js', 'migrat'], { cwd: root, encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stderr, /^There is no command "migrat": leave it out to start the service, or name one of migrate, db:setup, events\.\n$/);
  });
});

test('a package has what it needs and no sources, and its commands run', async () => {
  await using database = await createDatabase({ template: 'empty' });
  const path = await mkdtemp(join(tmpdir(), 'rollcall-package-'));
  try {
    const project = join(path, 'project');
    await mkdir(project);
    for (const name of ['start.js', 'build.js', 'package.json', 'src', 'migrations'])
      await cp(join(root, name), join(project, name), { recursive: true });
    await mkdir(join(project, '.build-000000000000'));
    const npm = await run('npm', ['pack', '--json'], { cwd: project });
    const [{ filename }] = JSON.parse(npm.stdout.slice(npm.stdout.indexOf('[')));
    await run('tar', ['-xzf', join(project, filename)], { cwd: path });
    const unpacked = join(path, 'package');
    const files = await readdir(unpacked);
    assert.equal(files.filter((name) => name.startsWith('.build-')).length, 1);
    assert.deepEqual(files.toSorted(), [
      ...files.filter((name) => name.startsWith('.build-')),
      'build.js',
      'migrations',
      'package.json',
      'start.js',
    ]);
    // As a dependency, where Node reads no TypeScript.
    const installed = join(path, 'node_modules', 'rollcall');
    await mkdir(join(path, 'node_modules'));
    await cp(unpacked, installed, { recursive: true });
    await symlink(join(root, 'node_modules'), join(installed, 'node_modules'));
    const env = { PATH: process.env['PATH'], DATABASE_URL: database.url };
    const migrated = await run(process.execPath, [join(installed, 'start.js'), 'migrate'], { cwd: path, env });
    assert.match(migrated.stdout, /0001_users\.sql/);
    const status = await run(process.execPath, [join(installed, 'start.js'), 'events', 'outbox', 'status'], { cwd: path, env });
    assert.match(status.stdout, /^waiting +0\n/);
    assert.equal(JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')).name, 'rollcall');
  } finally {
    await rm(path, { recursive: true });
  }
});
