// `npm run check:clients`: clients in other languages, generated from the service's own OpenAPI document, compiled, and used for every
// operation; then a fuzzer that makes its requests of the same document. What this machine has no tools for is skipped, and said.
import { spawn, spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startSystem } from '../src/app/system.ts';
import { readConfig } from '../src/config.ts';
import { createLogger } from '../src/platform/telemetry/logger.ts';
import { startEmbedded } from '../src/private-postgres/server.ts';

const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' }, only: { type: 'string' } } });

type Run = (file: string, ...args: string[]) => Promise<string>;
/** @param run starts a program in a copy of the client's folder, openapi.json beside it, and gives what it wrote */
type Check = (run: Run, folder: string, url: string) => Promise<string | undefined>;
type Client = {
  readonly name: string;
  /** The folder with what calls the generated client. */
  readonly folder: string;
  /** Programs that have to be there. */
  readonly needs: readonly (readonly [file: string, ...args: string[]])[];
  /** @returns the names of the operations that were called, by line; or nothing where the check is another one */
  readonly check: Check;
};

const python = [['python3', '-c', 'import sys, venv; assert sys.version_info >= (3, 11)']] as const;
const go = [['go', 'version']] as const;
const goGenerator = {
  'oapi-codegen': 'github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2',
  ogen: 'github.com/ogen-go/ogen/cmd/ogen@v1.24.0',
};

/** Of a fuzzer that can make valid bodies. */
const usersMin = 20;

const clients: readonly Client[] = [
  {
    name: 'Python, openapi-spec-validator',
    folder: 'python',
    needs: python,
    async check(run) {
      await run('venv/bin/openapi-spec-validator', 'openapi.json');
      return undefined;
    },
  },
  {
    name: 'Python, datamodel-code-generator',
    folder: 'python',
    needs: python,
    async check(run, _folder, url) {
      const models = ['--input', 'openapi.json', '--input-file-type', 'openapi', '--output', 'models.py'];
      await run('venv/bin/datamodel-codegen', ...models, '--output-model-type', 'pydantic_v2.BaseModel', '--formatters', 'builtin');
      return run('venv/bin/python', 'calls.py', url);
    },
  },
  {
    name: 'Go, oapi-codegen',
    folder: 'go',
    needs: go,
    async check(run, folder, url) {
      await mkdir(join(folder, 'oapi/client'), { recursive: true });
      const output = ['-generate', 'types,client', '-package', 'client', '-o', 'oapi/client/client.go'];
      await run('go', 'run', goGenerator['oapi-codegen'], ...output, 'openapi.json');
      await run('go', 'mod', 'tidy', '-e');
      return run('go', 'run', './oapi', url);
    },
  },
  {
    name: 'Go, ogen',
    folder: 'go',
    needs: go,
    async check(run, _folder, url) {
      await run('go', 'run', goGenerator.ogen, '--target', 'ogen/client', '--package', 'client', '--clean', 'openapi.json');
      await run('go', 'mod', 'tidy', '-e');
      return run('go', 'run', './ogen', url);
    },
  },
  {
    name: 'Java, openapi-generator',
    folder: 'java',
    needs: [
      ['javac', '--release', '17', '--version'],
      ['mvn', '--version'],
    ],
    check: (run, _folder, url) => run('mvn', '--quiet', '--batch-mode', 'compile', 'exec:java', `-Dexec.args=${url}`),
  },
  {
    name: 'Python, Schemathesis',
    folder: 'python',
    needs: python,
    async check(run, _folder, url) {
      // Texts whose rules the document tells in words alone may be refused, so a valid body is not always taken.
      const checks = ['--exclude-checks', 'positive_data_acceptance', '--seed', values.seed, '--max-examples', '50'];
      await run('venv/bin/schemathesis', '--config-file', 'schemathesis.toml', 'run', 'openapi.json', '--url', url, ...checks);
      const { events } = (await (await fetch(`${url}/events/?types=user.created&limit=1000`)).json()) as { events: object[] };
      if (events.length < usersMin) throw new Error(`It made ${events.length} users only: few of its bodies are valid.`);
      return undefined;
    },
  },
];

await using stack = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), 'rollcall-clients-'));
stack.defer(() => rm(folder, { recursive: true, force: true }));
const server = stack.use(
  await startEmbedded({ dataDir: join(folder, 'data'), holder: 'npm run check:clients', log: () => {}, settings: { fsync: 'off' } }),
);
const config = readConfig({ DATABASE_URL: server.url, PORT: '0', SHUTDOWN_DRAIN_MS: '0', RATE_LIMIT_PER_MINUTE: '0' });
const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
const system = stack.use(await startSystem(config, createLogger({ level: 'silent', appName: config.APP_NAME }, nowhere)));
const text = await (await fetch(`${system.url}/schema/openapi.json`)).text();
const operations = Object.values<Record<string, { operationId: string }>>(JSON.parse(text).paths).flatMap((methods) =>
  Object.values(methods).map(({ operationId }) => operationId),
);

let failed = 0;
for (const { name, folder: source, needs, check } of clients) {
  if (values.only !== undefined && !name.toLowerCase().includes(values.only.toLowerCase())) continue;
  const missing = needs.filter(([file, ...args]) => spawnSync(file, args).status !== 0).map((command) => command.join(' '));
  if (missing.length > 0) {
    console.log(`skipped  ${name}: "${missing.join('" and "')}" does not work here`);
    continue;
  }
  const startedAt = performance.now();
  const work = join(folder, name.replaceAll(/\W+/g, '-'));
  await cp(fileURLToPath(new URL(source, import.meta.url)), work, { recursive: true });
  await writeFile(join(work, 'openapi.json'), text);
  const outcome = await tried(work, check).catch((error: Error) => error);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  if (outcome instanceof Error) {
    failed += 1;
    console.log(`FAILED   ${name} (${seconds} s)\n${outcome.message}\n`);
  } else console.log(`ok       ${name} (${seconds} s)`);
}
if (failed > 0) process.exitCode = 1;

async function tried(work: string, check: Check): Promise<void> {
  const run: Run = (file, ...args) => start(file.includes('/') ? join(work, file) : file, args, work);
  if ((await readdir(work)).includes('requirements.txt')) {
    await run('python3', '-m', 'venv', 'venv');
    await run('venv/bin/python', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', 'requirements.txt');
  }
  const output = await check(run, work, system.url);
  if (output === undefined) return;
  const called = output.split('\n').map((line) => line.trim());
  const left = operations.filter((name) => !called.includes(name));
  if (left.length > 0) throw new Error(`It never called ${left.join(', ')}.\n${output}`);
}

function start(file: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (piece: string) => {
        output += piece;
      });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${[file, ...args].join(' ')}\n${output.slice(-4000)}`));
    });
  });
}
