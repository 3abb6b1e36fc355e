// Streams of events and of users: many at once cost little, slow ones hold nothing, and each ends with its reply.
import assert from 'node:assert/strict';
import net from 'node:net';
import { suite, test } from 'node:test';
import { type Db, startPool } from '../../src/platform/db/client.ts';
import { DatabaseUnavailableError } from '../../src/platform/db/unavailable.ts';
import { createReader, readEnd } from '../../src/platform/events/store/reading.ts';
import { startTail } from '../../src/platform/events/tail.ts';
import { patienceMs } from '../support/database.ts';
import { endOf, fillLog, muchMore, openStreams } from '../support/feed.ts';
import { startService } from '../support/service.ts';
import { connect } from '../support/socket.ts';
import { openStream, type Reader } from '../support/sse.ts';

const versionOf = (frame: Awaited<ReturnType<Reader['nextEvent']>>) => JSON.parse(frame?.data ?? '{}').data?.version;

suite('many readers at the end of the log', { concurrency: true }, () => {
  test('share one read of each event', async () => {
    await using service = await startService();
    await using pool = startPool(
      { url: service.database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 },
      1,
    );
    let batches = 0;
    const counting: Db = {
      async query<Row extends object>(text: string, values?: readonly unknown[]) {
        const rows = await pool.query<Row & { event_id?: string | null }>(text, values);
        if (rows[0]?.event_id != null) batches += 1;
        return rows;
      },
    };
    await using tail = startTail(counting, service.log);
    const cursor = await readEnd(pool);
    const stop = new AbortController();
    const readers = Array.from({ length: 50 }, () => tail.follow(stop.signal)(cursor));
    await service.createUser();
    await Promise.all(readers);
    assert.equal(batches, 1);
    const batch = tail.recall(cursor);
    assert.equal(typeof batch === 'object' && batch.events.length, 1);
    stop.abort();
  });

  test('get every event once and in order, whatever their filters, and cost no connection that writes', async () => {
    await using service = await startService({ DATABASE_POOL_SIZE: '1', DATABASE_CONNECT_TIMEOUT_MS: '1000' });
    const { id } = await service.createUser();
    const { id: other } = await service.createUser();
    await service.backlog(0);
    const after = await endOf(service);
    const paths = ['', `&user_id=${id}`, '&types=user.updated', '&types=user.deleted'];
    const streams = await Promise.all(
      Array.from({ length: 60 }, (_, n) => openStream(service.url, `/events/?after=${after}${paths[n % 4]}`)),
    );
    const polls = Array.from({ length: 200 }, () => service.call('GET', `/events/?after=${after}&wait=30`));
    for (let n = 1; n <= 5; n += 1) {
      for (const user of [id, other]) assert.equal((await service.call('PUT', `/users/${user}`, { name: `Name ${n}` })).status, 200);
    }
    assert.equal((await service.call('DELETE', `/users/${other}`)).status, 200);
    for (const [n, stream] of streams.entries()) {
      const wanted = [11, 5, 10, 1][n % 4] as number;
      const ids: string[] = [];
      for (let event = 0; event < wanted; event += 1) {
        const frame = await stream.nextEvent();
        ids.push(frame?.id ?? '');
        const { data, event_type } = JSON.parse(frame?.data ?? '{}');
        if (n % 4 === 1) assert.equal(data.user_id, id);
        if (n % 4 === 2) assert.equal(event_type, 'user.updated');
        if (n % 4 === 3) assert.equal(event_type, 'user.deleted');
      }
      assert.equal(new Set(ids).size, wanted);
      assert.deepEqual(
        ids,
        ids.toSorted((a, b) => positionOf(a) - positionOf(b)),
      );
      stream[Symbol.dispose]();
    }
    for (const { status, json } of await Promise.all(polls)) {
      assert.equal(status, 200);
      assert.ok(json.events.length >= 1);
    }
  });

  test('share a reading where they wait for the same one, and lose none to one connection that is lost', async () => {
    await using service = await startService();
    await service.createUser();
    await service.backlog(0);
    await using pool = startPool(
      { url: service.database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 },
      1,
    );
    let statements = 0;
    const losing: Db = {
      query(text, values) {
        statements += 1;
        return statements === 1 ? Promise.reject(new DatabaseUnavailableError(new Error('lost'))) : pool.query(text, values);
      },
    };
    const reader = createReader(losing, 1);
    const readings = await Promise.all(Array.from({ length: 100 }, () => reader.read(undefined, 10)));
    assert.ok(readings.every(({ events }) => events.length === 1));
    // One for all, tried twice.
    assert.equal(statements, 2);
  });

  test('are refused with 503 and Retry-After beyond STREAMS_MAX, and counted', async () => {
    await using service = await startService({ STREAMS_MAX: '2' });
    const streams = [await openStream(service.url), await openStream(service.url)];
    assert.equal(await openStreams(service), 2);
    for (const [path, accept] of [
      ['/events/', 'text/event-stream'],
      ['/users/snapshot', '*/*'],
    ] as const) {
      const { status, headers, json } = await service.call('GET', path, undefined, { accept });
      assert.deepEqual([status, json.code, headers.get('retry-after')], [503, 'overloaded', '5']);
    }
    assert.equal((await service.call('GET', '/events/')).status, 200, 'a page is no stream');
    for (const stream of streams) stream[Symbol.dispose]();
    while ((await openStreams(service)) > 0);
    assert.equal((await service.call('GET', '/users/snapshot')).status, 200);
  });
});

function positionOf(cursor: string): number {
  return Number(Buffer.from(cursor, 'base64url').toString().split('@')[0]);
}

suite('slow readers', { concurrency: true }, () => {
  test('are cut off when they take nothing for a while; others are not', async () => {
    await using service = await startService({}, { streamLimits: { progressMs: 300, heartbeatMs: 100 } });
    await fillLog(service, muchMore);
    using stalled = await openStream(service.url);
    using idle = await openStream(service.url, `/events/?after=${await endOf(service)}`);
    const { level, reason } = await service.line(({ event }) => event === 'Stream cut off');
    assert.match(`${level} ${reason}`, /^warn its reader took nothing for \d+\.\d s$/);
    // Heartbeats, and nothing else, for longer than a reader may take nothing.
    for (let n = 0; n < 5; n += 1) assert.notEqual((await idle.next())?.comment, undefined);
    const { id } = await service.createUser();
    assert.equal(JSON.parse((await idle.nextEvent())?.data ?? '').data.user_id, id);
    let read = 0;
    while ((await stalled.nextEvent()) !== undefined) read += 1;
    assert.ok(read < muchMore.events, String(read));
  });

  test('resume when they read again, and miss nothing', async () => {
    // Longer than the other takes on a busy machine.
    await using service = await startService({}, { streamLimits: { progressMs: patienceMs } });
    await fillLog(service, muchMore);
    using slow = await openStream(service.url);
    // Written until the socket is full, which shows nowhere: others have been served meanwhile.
    using other = await openStream(service.url);
    for (let n = 1; n <= muchMore.events; n += 1) assert.equal(versionOf(await other.nextEvent()), n);
    for (let n = 1; n <= muchMore.events; n += 1) assert.equal(versionOf(await slow.nextEvent()), n);
  });

  test('share a memory limit: the slowest is cut off first', async () => {
    await using service = await startService({}, { streamLimits: { bytesMax: 100_000 } });
    await fillLog(service, muchMore);
    const stalled = await Promise.all(Array.from({ length: 12 }, () => openStream(service.url)));
    await service.line(({ reason }) => /^more waits to be read than is kept/.test(String(reason)));
    while ((await openStreams(service)) > 6);
    for (const stream of stalled) stream[Symbol.dispose]();
  });

  test('of pages count too, and do not delay others', async () => {
    await using service = await startService({ DATABASE_STATEMENT_TIMEOUT_MS: '10000' }, { streamLimits: { bytesMax: 12_000_000 } });
    await fillLog(service, { events: 1000, bytesEach: 6000 });
    const { port } = new URL(service.url);
    // 6 MB each, of which their sockets take four.
    const sockets = Array.from({ length: 4 }, () => {
      const socket = net.connect(Number(port), '127.0.0.1').pause();
      socket.on('error', () => {});
      socket.write('GET /events/?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n');
      return socket;
    });
    await service.line(({ reason }) => /^more waits to be read than is kept/.test(String(reason)));
    using stream = await openStream(service.url);
    for (let n = 1; n <= 1000; n += 1) assert.equal(versionOf(await stream.nextEvent()), n);
    assert.equal((await service.call('GET', '/events/?limit=1000')).json.events.length, 1000);
    for (const socket of sockets) socket.destroy();
  });

  test('of a snapshot hold neither a connection nor a transaction, and are cut off', async () => {
    await using service = await startService({}, { streamLimits: { progressMs: 300 } });
    await service.database.query(
      `insert into "user" (name, surname, password) select repeat('N', 100), repeat('S', 100), 'x' from generate_series(1, 60000) as n`,
    );
    using stalled = await openStream(service.url, '/users/snapshot', { accept: '*/*' });
    await service.line(({ event }) => event === 'Stream cut off');
    const busy = await service.database.query(
      `select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' and query like '%"user"%'`,
    );
    assert.deepEqual(busy, []);
    while ((await stalled.next()) !== undefined);
    assert.equal(await stalled.closed, 'cut off');
  });
});

suite('a stream', { concurrency: true }, () => {
  test('answers HEAD with its headers alone, and asks the database for nothing more', async () => {
    await using service = await startService();
    await fillLog(service, muchMore);
    for (const [path, accept, type] of [
      ['/users/snapshot', '*/*', 'application/x-ndjson'],
      ['/events/', 'text/event-stream', 'text/event-stream'],
    ] as const) {
      using connection = await connect(service.url);
      connection.write(
        `HEAD ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: ${accept}\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      );
      const { status, headers } = await connection.answer('HEAD');
      assert.deepEqual([status, headers.get('content-type'), headers.get('content-length')], [200, type, null]);
      // The connection goes on with the next request: nothing is under way on it.
      assert.equal((await connection.answer()).json.status, 'ok');
    }
    assert.equal(await openStreams(service), 0);
    const scans = await service.database.query(
      `select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query like '%from "user" where id >%'`,
    );
    assert.deepEqual(scans, []);
  });

  test('ends with its reply: when the caller goes, over HTTP/1.0, and when the service stops', async () => {
    const service = await startService();
    await fillLog(service, muchMore);
    const { port } = new URL(service.url);
    for (const path of ['/events/', '/users/snapshot'])
      for (const version of ['1.0', '1.1']) {
        const socket = net.connect(Number(port), '127.0.0.1').pause();
        socket.on('error', () => {});
        socket.write(`GET ${path} HTTP/${version}\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`);
        await service.line(() => service.lines.filter(({ event }) => event === 'Request started').length > 0);
        socket.destroy();
      }
    while ((await openStreams(service)) > 0);
    using open = await openStream(service.url, `/events/?after=${await endOf(service)}`);
    await service[Symbol.asyncDispose]();
    assert.equal((await open.next())?.comment, 'open');
    assert.equal(await open.next(), undefined);
    assert.equal(await open.closed, 'ended');
  });

  test('that fails is logged with its cause and trace id', async () => {
    await using service = await startService();
    await fillLog(service, muchMore);
    using stream = await openStream(service.url, '/events/', { 'x-request-id': 'failing' });
    // No outage, and no error of the caller's.
    await service.database.query('delete from event_state');
    void (async () => {
      while ((await stream.next()) !== undefined);
    })();
    const { level, error } = await service.line(({ event, trace_id }) => event === 'Stream failed' && trace_id === 'failing');
    assert.equal(level, 'error');
    assert.match(JSON.stringify(error), /event_state has lost its row/);
    await stream.closed;
  });
});
