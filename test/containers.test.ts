// The way into containers: Dockerfile, compose.yaml and setup.sh, as far as they can be held to their word without a Docker engine.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, matchesGlob } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { readConfig, Settings } from '../src/config.ts';
import { securityRelease } from '../src/platform/runtime/node.ts';

type Service = {
  readonly build?: string;
  readonly ports?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly env_file?: string;
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test?: readonly string[]; readonly interval?: string };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly logging?: object;
  readonly mem_limit?: string;
  readonly pids_limit?: number;
  readonly shm_size?: string;
  readonly ulimits?: object;
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
};
type Compose = { readonly services: Readonly<Record<string, Service>>; readonly volumes: Readonly<Record<string, null>> };
// Its declarations are those of an ES module, and it is none.
type Lint = { run(folder: string, text: string): { readonly line: number; readonly title: string }[] };

const root = fileURLToPath(new URL('../', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const lint = createRequire(import.meta.url)('dockerfilelint') as Lint;
const dockerfile = read('Dockerfile');
const instructions = dockerfile
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter(Boolean);
const argumentsOf = (name: string) => instructions.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));
const copied = argumentsOf('COPY')
  .filter((line) => !line.startsWith('--from='))
  .flatMap((line) => line.split(' ').slice(0, -1));
const compose = parse(read('compose.yaml')) as Compose;
const services = Object.entries(compose.services);
const { api } = compose.services;
assert.ok(api);

suite('Dockerfile', () => {
  test('passes its linter', () => {
    assert.deepEqual(lint.run(root, dockerfile), []);
  });

  test('copies files that exist, and the build context holds nothing else', () => {
    for (const path of copied) assert.ok(existsSync(join(root, path)), path);
    const [first, ...seen] = read('.dockerignore')
      .replaceAll(/^#.*\n/gm, '')
      .trim()
      .split('\n');
    assert.equal(first, '*');
    assert.deepEqual(new Set(seen), new Set(copied.map((path) => `!${path}`)));
  });

  test('has the Node version that the service requires', () => {
    const versions = argumentsOf('RUN').flatMap((line) => line.match(/\b24\.\d+\.\d+\b/g) ?? []);
    assert.deepEqual([...new Set(versions)], [securityRelease]);
  });

  test('runs a file that it copies, as an unprivileged user, without a shell between the service and its signals', () => {
    const [program, file = '', ...rest] = JSON.parse(argumentsOf('CMD').at(-1) ?? '') as string[];
    assert.deepEqual([program, rest], ['node', []]);
    assert.ok(copied.includes(file.split('/')[0] ?? '') && existsSync(join(root, file)), file);
    assert.deepEqual(argumentsOf('USER'), ['node']);
  });

  test('makes its files readable for the account that runs them, whatever the umask of the checkout', () => {
    const [modes = ''] = argumentsOf('RUN').filter((line) => line.startsWith('chmod -R a+rX '));
    assert.deepEqual(new Set(modes.split(' ').slice(3)), new Set(copied));
    const order = instructions.map((line) => line.split(' ', 2).join(' '));
    assert.ok(order.lastIndexOf('COPY migrations') < order.indexOf('RUN chmod'));
    assert.ok(order.indexOf('RUN chmod') < order.indexOf('USER node'));
  });

  test('has a cheap health check with a start period', async () => {
    const [check = ''] = argumentsOf('HEALTHCHECK');
    assert.match(check, /--start-period=60s/);
    assert.doesNotMatch(check, /fetch/);
    const [program = '', ...args] = JSON.parse(check.slice(check.indexOf('['))) as string[];
    let status = 200;
    const server = createServer((_request, response) => response.writeHead(status).end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const run = async (env: Record<string, string>) => {
      const child = spawn(program === 'node' ? process.execPath : program, args, { env, stdio: 'ignore' });
      const [code] = await once(child, 'close');
      return code as number;
    };
    assert.equal(await run({ PORT: String(port) }), 0);
    status = 503;
    assert.equal(await run({ PORT: String(port) }), 1);
    server.close();
    assert.equal(await run({ PORT: String(port) }), 1);
  });

  test('has a health check for a path that exists', () => {
    const [check = ''] = argumentsOf('HEALTHCHECK');
    const path = check.match(/\}(\/\w+)`/)?.[1] ?? '';
    const { paths } = JSON.parse(read('openapi.json')) as { paths: Record<string, object> };
    assert.ok(path in paths, check);
  });

  test('leaves out every optional dependency: no PostgreSQL server, no second Node', () => {
    const { optionalDependencies } = JSON.parse(read('package.json')) as { optionalDependencies: Record<string, string> };
    const removed = argumentsOf('RUN')
      .flatMap((line) => line.split(/\s+/))
      .filter((word) => word.startsWith('node_modules/'));
    for (const name of Object.keys(optionalDependencies)) {
      const path = `node_modules/${name}`;
      assert.ok(
        removed.some((pattern) => matchesGlob(path, pattern) || path.startsWith(`${pattern}/`)),
        name,
      );
    }
  });
});

// As Compose does it where .env holds nothing but passwords.
function expanded(text: string): string {
  const inner = text.replaceAll(/\$\{\w+:\?[^}]*\}/g, 'x').replaceAll(/\$\{\w+:-([^${}]*)\}/g, '$1');
  return inner === text ? text : expanded(inner);
}

suite('compose.yaml', () => {
  test('publishes its ports on loopback only', () => {
    const ports = services.flatMap(([, service]) => service.ports ?? []);
    assert.ok(ports.length > 0);
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:/);
  });

  test('names the engine version from which that holds', () => {
    for (const document of ['compose.yaml', 'docs/decisions/0012-auth-off-is-written-out.md', 'SECURITY.md'])
      assert.match(read(document), /Docker (Engine )?28/, document);
  });

  test('limits the resources of each service', () => {
    for (const [name, service] of services) {
      assert.deepEqual(service.cap_drop, ['ALL'], name);
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
      assert.deepEqual(service.logging, { driver: 'json-file', options: { 'max-size': '10m', 'max-file': '5' } }, name);
      assert.match(String(service.mem_limit), /^\dg$/, name);
      assert.ok(Number(service.pids_limit) >= 200, name);
    }
    const { postgres, rabbitmq } = compose.services;
    assert.equal(api.cap_add, undefined);
    assert.deepEqual(postgres?.cap_add, ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID']);
    assert.equal(postgres?.shm_size, '256m');
    assert.deepEqual(rabbitmq?.cap_add, ['CHOWN', 'DAC_OVERRIDE', 'SETGID', 'SETUID']);
    assert.deepEqual(rabbitmq?.ulimits, { nofile: { soft: 65_536, hard: 65_536 } });
    assert.equal(rabbitmq?.healthcheck?.interval, '30s');
    assert.deepEqual(rabbitmq?.ports, [`127.0.0.1:\${RABBITMQ_MANAGEMENT_PORT:-15672}:15672`]);
  });

  test('contains no password, and says where to set one', () => {
    const required = /^\$\{\w+:\?[^}]+\.env[^}]*\}/;
    const secrets = services.flatMap(([, { environment }]) =>
      Object.entries(environment).flatMap(([name, value]) => (/PASS/.test(name) ? [value] : (value.match(/(?<=:\/\/\w+:)[^@]*@.*/) ?? []))),
    );
    assert.equal(secrets.length, 4);
    for (const secret of secrets) assert.match(secret, required);
    const example = read('.env.example');
    for (const name of secrets.map((secret) => secret.match(/\w+/)?.[0])) assert.match(example, new RegExp(`^${name}=$`, 'm'));
  });

  test('sets only settings that exist, with valid values', () => {
    const environment = Object.fromEntries(Object.entries(api.environment).map(([name, value]) => [name, expanded(value)]));
    for (const name of Object.keys(environment)) assert.ok(name in Settings.properties, name);
    const { HOST, AUTH, PORT, PUBLIC_URL, DATABASE_URL, DATABASE_ADMIN_URL, RABBITMQ_URL } = readConfig(environment);
    assert.deepEqual([HOST, AUTH, DATABASE_ADMIN_URL], ['0.0.0.0', 'off', undefined]);
    assert.ok(api.ports?.[0]?.endsWith(`:${PORT}`));
    assert.equal(PUBLIC_URL, `http://localhost:${expanded(api.ports?.[0] ?? '').split(':')[1]}`);
    for (const url of [DATABASE_URL, RABBITMQ_URL]) assert.ok(new URL(url ?? '').hostname in compose.services, url);
  });

  test('starts the service when its servers are healthy, and keeps their data in named volumes', () => {
    const servers = services.filter(([name]) => name !== 'api');
    assert.deepEqual(api.depends_on, Object.fromEntries(servers.map(([name]) => [name, { condition: 'service_healthy' }])));
    for (const [name, { healthcheck, volumes }] of servers) {
      assert.equal(healthcheck?.test?.[0], 'CMD', name);
      assert.ok(volumes?.[0] !== undefined && (volumes[0].split(':')[0] ?? '') in compose.volumes, name);
    }
  });

  test('runs the service read-only, without new privileges, with time to stop', () => {
    assert.equal(api.read_only, true);
    assert.deepEqual(api.cap_drop, ['ALL']);
    assert.deepEqual(api.security_opt, ['no-new-privileges:true']);
    const shutdownMsMax = Number(
      read('src/main.ts')
        .match(/shutdownMsMax = ([\d_]+)/)?.[1]
        ?.replaceAll('_', ''),
    );
    assert.ok(Number.parseInt(api.stop_grace_period ?? '', 10) * 1000 > shutdownMsMax);
  });
});

suite('setup.sh', () => {
  test('ends with one sentence, before it writes anything, if Docker is not usable', () => {
    using without = new Machine();
    assert.match(without.refusal(), /^Docker is not installed: .*\.\n$/);
    using plain = new Machine({ fails: 'compose version' });
    assert.match(plain.refusal(), /^Docker has no Compose plugin: .*\.\n$/);
    using old = new Machine({ version: '1.29.2' });
    assert.match(old.refusal(), /^Docker Compose 1\.29\.2 is too old: .*\.\n$/);
    using off = new Machine({ fails: 'info' });
    assert.match(off.refusal(), /^The Docker engine does not answer: .*\.\n$/);
    using waitless = new Machine({ version: 'v2.0.1' });
    assert.match(waitless.refusal(), /^Docker Compose v2\.0\.1 is too old: install Compose 2\.1\.1 or newer.*\.\n$/);
    for (const machine of [without, plain, old, off, waitless]) assert.equal(machine.env, undefined);
  });

  test('writes .env with two random passwords and mode 0600, starts everything and prints the address', () => {
    using machine = new Machine({});
    const { status, stdout, stderr } = machine.setup();
    assert.deepEqual([status, stderr], [0, '']);
    assert.ok(machine.calls.includes('compose up --build --detach --wait'));
    assert.match(stdout, /http:\/\/127\.0\.0\.1:8000\/schema\n.*http:\/\/127\.0\.0\.1:15672/s);
    const secrets = machine.env?.match(/(?<=_PASSWORD=).*/g) ?? [];
    assert.equal(new Set(secrets).size, 2);
    for (const secret of secrets) {
      assert.match(secret, /^[0-9a-f]{48}$/);
      assert.ok(!stdout.includes(secret));
    }
    assert.equal(machine.env?.replaceAll(/(?<=_PASSWORD=).*/g, ''), read('.env.example'));
    assert.equal(statSync(join(machine.folder, '.env')).mode & 0o777, 0o600);
  });

  test('keeps an existing .env', () => {
    using machine = new Machine({});
    const mine = 'POSTGRES_PASSWORD=mine\n';
    writeFileSync(join(machine.folder, '.env'), mine);
    assert.equal(machine.setup().status, 0);
    assert.equal(machine.env, mine);
  });

  test('makes no new passwords for existing data', () => {
    const removal = /data of an earlier run: .*"docker compose -p rollcall down --volumes"\.\n$/;
    using machine = new Machine({ hasData: true });
    assert.match(machine.refusal(), /^There is no \.env, but/);
    assert.match(machine.refusal(), removal);
    assert.equal(machine.env, undefined);
    using emptied = new Machine({ hasData: true });
    const mine = 'POSTGRES_PASSWORD=mine\nRABBITMQ_PASSWORD=\n';
    writeFileSync(join(emptied.folder, '.env'), mine);
    assert.match(emptied.refusal(), /^\.env has no value for RABBITMQ_PASSWORD, but/);
    assert.match(emptied.refusal(), removal);
    assert.equal(emptied.env, mine);
  });

  for (const empty of ['', '""', "''", ' ', '\r', ' # a comment']) {
    test(`fills in the passwords that .env has empty, ${JSON.stringify(empty)}, and keeps the rest`, () => {
      using machine = new Machine({});
      writeFileSync(join(machine.folder, '.env'), `# mine\nPORT=9000\nPOSTGRES_PASSWORD=${empty}\nRABBITMQ_PASSWORD="kept"\nAPP_NAME=x\n`);
      assert.equal(machine.setup().status, 0);
      assert.match(machine.env ?? '', /^# mine\nPORT=9000\nRABBITMQ_PASSWORD="kept"\nAPP_NAME=x\nPOSTGRES_PASSWORD=[0-9a-f]{48}\n$/);
    });
  }

  test('warns only about engines that open loopback ports to the network', () => {
    for (const [engine, warns] of [
      ['26.1.5+dfsg1', true],
      ['27.5.1', true],
      ['19.03.15', true],
      ['28.0.0', false],
      ['29.1.0', false],
      ['', false],
    ] as const) {
      using machine = new Machine({ engine });
      const { status, stderr } = machine.setup();
      assert.equal(status, 0);
      if (warns) assert.match(stderr, /^Warning: Docker Engine .* 127\.0\.0\.1\n.*45610/);
      else assert.equal(stderr, '');
    }
  });

  test('says how to find out more when something does not come up', () => {
    using machine = new Machine({ fails: 'compose up' });
    assert.match(machine.setup().stderr, /^Rollcall did not come up: .*\.\n$/);
  });
});

type Docker = { readonly version?: string; readonly engine?: string; readonly fails?: string; readonly hasData?: boolean };

/** A folder with setup.sh and its example, and a PATH with the tools that every system has and, if asked for, a stand-in for Docker. */
class Machine implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'rollcall-setup-'));
  readonly #bin = join(this.folder, 'bin');

  constructor(docker?: Docker) {
    mkdirSync(this.#bin);
    for (const file of ['setup.sh', '.env.example']) copyFileSync(join(root, file), join(this.folder, file));
    for (const tool of ['sh', 'dirname', 'od', 'tr', 'grep', 'mv', 'cat']) {
      const place = ['/bin', '/usr/bin'].map((dir) => join(dir, tool)).find(existsSync);
      assert.ok(place, tool);
      symlinkSync(place, join(this.#bin, tool));
    }
    if (docker) writeFileSync(join(this.#bin, 'docker'), standIn(this.folder, docker), { mode: 0o755 });
  }

  setup(): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(join(this.folder, 'setup.sh'), { cwd: '/', env: { PATH: this.#bin }, encoding: 'utf8' });
  }

  refusal(): string {
    const { status, stdout, stderr } = this.setup();
    assert.deepEqual([status, stdout], [1, '']);
    return stderr;
  }

  get calls(): string[] {
    return readFileSync(join(this.folder, 'calls'), 'utf8').split('\n');
  }

  get env(): string | undefined {
    const path = join(this.folder, '.env');
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

function standIn(folder: string, { version = '2.40.3', engine = '28.3.0', fails = 'nothing', hasData = false }: Docker): string {
  return `#!/bin/sh
echo "$*" >>'${folder}/calls'
case "$*" in
'${fails}'*) exit 1 ;;
'compose version'*) echo '${version}' ;;
version*) echo '${engine}' ;;
'volume inspect'*) exit ${hasData ? 0 : 1} ;;
'compose port api 8000') echo 127.0.0.1:8000 ;;
'compose port rabbitmq 15672') echo 127.0.0.1:15672 ;;
esac
`;
}
