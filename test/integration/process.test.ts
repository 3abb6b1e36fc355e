// The service as a process: how it starts, what it says, and how it ends.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createDatabase, onServer, serverUrl } from '../support/database.ts';
import { runNode, startProcess } from '../support/process.ts';

async function post(url: string, body: object): Promise<{ status: number; json: { id: number } }> {
  const response = await fetch(`${url}/users/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as { id: number } };
}
const john = { name: 'John', surname: 'Doe', password: 'correct horse' };

/** Processes whose command line holds `text`, such as the path of a data folder. */
function processesOf(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    });
}

async function dataDirectory(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-process-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'data');
}

suite('the process with its own PostgreSQL', { concurrency: true }, () => {
  test('starts on an empty folder with nothing configured, says how to try it, and leaves no process on Ctrl-C', async () => {
    await using stack = new AsyncDisposableStack();
    const DATA_DIR = await dataDirectory(stack);
    const service = stack.use(await startProcess({ DATA_DIR }));
    assert.match(service.stderr(), new RegExp(`API +${service.url}/users/`));
    assert.match(service.stderr(), new RegExp(`Swagger UI +${service.url}/schema`));
    const publicUrl = `http://localhost:${new URL(service.url).port}`;
    assert.match(service.stderr(), new RegExp(`PUBLIC_URL +${publicUrl}\n`));
    assert.equal(service.lines.find(({ event }) => event === 'Service started')?.['public_url'], publicUrl);
    assert.match(service.stderr(), /curl -s http/);
    const { status, json } = await post(service.url, john);
    assert.equal(status, 201);
    assert.ok(processesOf(DATA_DIR).length > 0);
    // As a terminal and npm do together: the same Ctrl-C twice.
    service.child.kill('SIGINT');
    service.child.kill('SIGINT');
    assert.equal(await service.ended, 0);
    assert.deepEqual(processesOf(DATA_DIR), []);

    const again = stack.use(await startProcess({ DATA_DIR }));
    assert.equal((await fetch(`${again.url}/users/${json.id}`)).status, 200);
  });

  test('a second start on a folder in use names its holder, and disturbs nothing', async () => {
    await using stack = new AsyncDisposableStack();
    const DATA_DIR = await dataDirectory(stack);
    const first = stack.use(await startProcess({ DATA_DIR }));
    const { code, stderr } = await runNode('start.js', { DATA_DIR, PORT: '0' });
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(String(first.child.pid)));
    assert.doesNotMatch(stderr, /\n +at /);
    assert.equal((await fetch(`${first.url}/ready`)).status, 200);
  });

  test('after kill -9 the next start recovers by itself, with every user still there', async () => {
    await using stack = new AsyncDisposableStack();
    const DATA_DIR = await dataDirectory(stack);
    const first = stack.use(await startProcess({ DATA_DIR }));
    const { json } = await post(first.url, john);
    first.child.kill('SIGKILL');
    assert.equal(await first.ended, 'SIGKILL');
    const second = stack.use(await startProcess({ DATA_DIR }));
    assert.equal((await fetch(`${second.url}/users/${json.id}`)).status, 200);
    assert.equal((await post(second.url, john)).status, 201);
  });
});

suite('the process', { concurrency: true }, () => {
  test('names every wrong setting at once, and never the value of a URL', async () => {
    const env = { PORT: 'http', LOG_LEVEL: 'loud', DATABASE_URL: 'mysql://me:secret@host/db', RUN: 'api,cron', PASSWORD_LENGTH_MIN: '4' };
    const { code, stderr } = await runNode('start.js', env);
    assert.equal(code, 1);
    for (const name of Object.keys(env)) assert.match(stderr, new RegExp(`^ {2}${name} must`, 'm'));
    assert.doesNotMatch(stderr, /secret|\n +at /);
  });

  test('refuses an address beyond loopback without AUTH=off, and with it warns', async () => {
    const { code, stderr } = await runNode('start.js', { HOST: '0.0.0.0' });
    assert.equal(code, 1);
    assert.match(stderr, /AUTH=off/);
    await using database = await createDatabase();
    await using service = await startProcess({ HOST: '0.0.0.0', AUTH: 'off', DATABASE_URL: database.url });
    const port = new URL(service.url).port;
    assert.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200);
    assert.ok(service.lines.some(({ event, level }) => level === 'warn' && event.startsWith('AUTH=off')));
  });

  test('says in a sentence that its port is taken', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url });
    const { port } = new URL(service.url);
    const { code, stderr } = await runNode('start.js', { DATABASE_URL: database.url, PORT: port });
    assert.deepEqual([code, stderr.trim()], [1, `Port ${port} is taken: stop what listens there, or set PORT.`]);
  });

  test('names the command if role or database is missing, and creates both with DATABASE_ADMIN_URL', async () => {
    await using database = await createDatabase();
    const name = `missing_${process.pid}`;
    const url = new URL(database.url);
    const DATABASE_ADMIN_URL = serverUrl();
    url.pathname = `/${name}`;
    url.username = name;
    const DATABASE_URL = url.href.replace('postgresql:', 'postgresql+asyncpg:');
    const refused = await runNode('start.js', { DATABASE_URL });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /npm run db:setup/);
    try {
      const setup = await runNode('src/cli/setup.ts', { DATABASE_URL, DATABASE_ADMIN_URL });
      assert.equal(setup.stdout.trim(), `Created role ${name} and database ${name}.`);
      await onServer(`drop database ${name}`);
      await using service = await startProcess({ DATABASE_URL, DATABASE_ADMIN_URL });
      assert.equal((await post(service.url, john)).status, 201);
    } finally {
      await onServer(`drop database if exists ${name} with (force)`);
      await onServer(`drop role if exists ${name}`);
    }
  });

  test('shows and applies migrations by npm run migrate', async () => {
    await using database = await createDatabase({ template: 'empty' });
    const env = { DATABASE_URL: database.url };
    assert.match((await runNode('src/cli/migrate.ts', env)).stdout, /^Created or applied 0001_users\.sql\./);
    assert.match((await runNode('src/cli/migrate.ts', env)).stdout, /^The schema is up to date\./);
  });

  test('a second signal exits at once', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url, SHUTDOWN_DRAIN_MS: '5000' });
    const startedAt = performance.now();
    service.child.kill('SIGTERM');
    const again = setInterval(() => service.child.kill('SIGTERM'), 100);
    assert.equal(await service.ended, 1);
    clearInterval(again);
    assert.ok(performance.now() - startedAt < 4000);
  });

  test('/ready fails first while requests are still answered, then the process ends with 0', async () => {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url, SHUTDOWN_DRAIN_MS: '1000' });
    service.child.kill('SIGTERM');
    let ready = 200;
    while (ready === 200) ready = (await fetch(`${service.url}/ready`)).status;
    assert.equal(ready, 503);
    const answer = await fetch(`${service.url}/users/`);
    assert.deepEqual([answer.status, answer.headers.get('connection')], [200, 'close']);
    assert.equal(await service.ended, 0);
  });
});

// Each client keeps its connection, as a pool of a real caller does, and stops at the first refusal to connect.
// What a reset of the system cut off in its queue of connections, the service never saw: `cutOff` has the ids of all that
// got no answer, to compare with those that the service began.
async function callUntilRefused(url: string, agent: Agent, cutOff: string[], failures: string[]): Promise<number> {
  let answered = 0;
  for (;;) {
    const id = randomUUID();
    const outcome = await new Promise<number | NodeJS.ErrnoException>((resolve) => {
      const body = JSON.stringify({ name: 'A', surname: 'B', password: 'correct horse' });
      const call = request(
        `${url}/users/`,
        { agent, method: 'POST', headers: { 'x-request-id': id, 'content-type': 'application/json', 'content-length': body.length } },
        (response) => {
          response
            .resume()
            .on('end', () => resolve(response.statusCode ?? 0))
            .on('error', resolve);
        },
      );
      call.on('error', resolve);
      call.end(body);
    });
    if (typeof outcome === 'number') {
      if (outcome !== 201) failures.push(`status ${outcome}`);
      answered += 1;
      continue;
    }
    if (outcome.code !== 'ECONNREFUSED') cutOff.push(id);
    return answered;
  }
}

test('SIGTERM under load fails no request that was accepted, twenty times, and every answered user is in the table', async () => {
  async function once(): Promise<void> {
    await using database = await createDatabase();
    await using service = await startProcess({ DATABASE_URL: database.url, SHUTDOWN_DRAIN_MS: '300' });
    const agent = new Agent({ keepAlive: true });
    const failures: string[] = [];
    const cutOff: string[] = [];
    const clients = Array.from({ length: 8 }, () => callUntilRefused(service.url, agent, cutOff, failures));
    await post(service.url, john);
    service.child.kill('SIGTERM');
    const answered = (await Promise.all(clients)).reduce((sum, count) => sum + count, 0);
    agent.destroy();
    assert.equal(await service.ended, 0);
    assert.deepEqual(failures, []);
    const begun = new Set(service.lines.map(({ trace_id }) => trace_id));
    assert.deepEqual(
      cutOff.filter((id) => begun.has(id)),
      [],
    );
    assert.ok(answered > 8);
    const [row] = await database.query<{ n: string }>('select count(*) as n from "user"');
    assert.equal(Number(row?.n), answered + 1);
  }
  for (let round = 0; round < 5; round += 1) await Promise.all([once(), once(), once(), once()]);
});
