// Requests that are sent without waiting for the answers: a few of a connection are under way at once, and none is lost.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createMetrics } from '../../src/app/metrics.ts';
import { readConfig } from '../../src/config.ts';
import { type App, createServer } from '../../src/platform/http/server.ts';
import { captureLog } from '../support/log.ts';
import { connect } from '../support/socket.ts';

const config = { access: 'anyone' } as const;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const numbered = (count: number) => Array.from({ length: count }, (_, n) => get(`/${n}`)).join('');

async function startApp(addRoutes: (app: App) => void): Promise<AsyncDisposable & { readonly app: App; readonly url: string }> {
  const parts = { settings: readConfig({}), log: captureLog().log, metrics: createMetrics({ name: 'test', version: '0' }).http };
  const app = await createServer(parts, async (added) => addRoutes(added));
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  return { app, url, [Symbol.asyncDispose]: () => app.close() };
}

suite('1,200 requests in one packet', () => {
  test('are answered in order, at most ten at once, also after a half-close', async () => {
    let underWay = 0;
    let most = 0;
    await using server = await startApp((app) => {
      app.get('/:n', { config }, async ({ params }) => {
        underWay += 1;
        most = Math.max(most, underWay);
        await nextTurn();
        underWay -= 1;
        return params;
      });
    });
    using connection = await connect(server.url);
    connection.write(numbered(1200));
    connection.end();
    for (let n = 0; n < 1200; n += 1) assert.deepEqual((await connection.answer()).json, { n: String(n) });
    assert.equal(most, 10);
    await connection.closed;
  });

  test('leave room for other callers', async () => {
    const order: string[] = [];
    await using server = await startApp((app) => {
      app.get('/:n', { config }, async ({ params }) => {
        order.push((params as { n: string }).n);
        return {};
      });
    });
    using greedy = await connect(server.url);
    using other = await connect(server.url);
    greedy.write(numbered(1200));
    await greedy.answer();
    other.write(get('/other'));
    await other.answer();
    for (let n = 1; n < 1200; n += 1) await greedy.answer();
    assert.ok(order.indexOf('other') < order.length - 1, 'the other waited for all of them');
  });

  test('are dropped when the caller leaves', async () => {
    let begun = 0;
    const release = Promise.withResolvers<object>();
    const tenBegan = Promise.withResolvers<void>();
    await using server = await startApp((app) => {
      app.get('/:n', { config }, () => {
        begun += 1;
        if (begun === 10) tenBegan.resolve();
        return release.promise;
      });
    });
    const closed = new Promise((resolve) => server.app.server.once('connection', (socket) => socket.once('close', resolve)));
    using connection = await connect(server.url);
    connection.write(numbered(1200));
    await tenBegan.promise;
    connection.reset();
    await connection.closed;
    release.resolve({});
    await closed;
    await nextTurn();
    assert.ok(begun < 100, `${begun} were begun`);
    // What was held of that connection holds up no other.
    using next = await connect(server.url);
    next.write(get('/next'));
    assert.equal((await next.answer()).status, 200);
  });
});

test('bodies that wait keep their bytes, and the last may come in pieces', async () => {
  await using server = await startApp((app) => {
    app.post('/', { config }, async ({ body }) => {
      await nextTurn();
      return body;
    });
  });
  using connection = await connect(server.url);
  const bodies = Array.from({ length: 400 }, (_, n) => JSON.stringify({ n, text: 'x'.repeat(n) }));
  const last = post('/', JSON.stringify({ n: 400 }));
  connection.write(`${bodies.map((body) => post('/', body)).join('')}${last.slice(0, -3)}`);
  for (const body of bodies) assert.deepEqual((await connection.answer()).json, JSON.parse(body));
  connection.write(`${last.slice(-3)}${get('/nowhere')}`);
  assert.deepEqual((await connection.answer()).json, { n: 400 });
  assert.equal((await connection.answer()).status, 404);
});

test('a refusal keeps its place in order, and nothing after the end of the connection is begun', async () => {
  const begun: string[] = [];
  await using server = await startApp((app) => {
    app.get('/:n', { config }, async ({ params }) => {
      begun.push((params as { n: string }).n);
      await nextTurn();
      return {};
    });
  });
  using connection = await connect(server.url);
  const end = 'GET /end HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
  connection.write(`${numbered(50)}${get('/no/where')}${numbered(50)}${end}${get('/after')}`);
  const statuses: number[] = [];
  for (let n = 0; n < 102; n += 1) statuses.push((await connection.answer()).status);
  assert.deepEqual(statuses, [...Array(50).fill(200), 404, ...Array(51).fill(200)]);
  await connection.ended;
  assert.ok(!begun.includes('after'));
});
