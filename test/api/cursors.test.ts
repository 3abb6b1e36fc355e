// What becomes of a cursor: it holds until its events expire or the log is another one, and who is behind is told.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startNetwork } from '../../harness/network.ts';
import { startPool } from '../../src/platform/db/client.ts';
import { formatCursor, parseCursor } from '../../src/platform/events/store/cursor.ts';
import { maintain } from '../../src/platform/events/store/retention.ts';
import { createDatabase } from '../support/database.ts';
import { endOf, fillLog, muchMore } from '../support/feed.ts';
import { runNode } from '../support/process.ts';
import { startService, type TestService } from '../support/service.ts';
import { openStream } from '../support/sse.ts';

const encode = (text: string) => Buffer.from(text).toString('base64url');
const versionOf = (data: string | undefined) => JSON.parse(data ?? '{}').data?.version;

/** Lets the day expire on which `fillLog` has put the events. */
async function expire({ database }: TestService): Promise<void> {
  await using pool = startPool({ url: database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 20_000 }, 2);
  let dropped: string[] = [];
  while (dropped.length === 0) dropped = await maintain(pool, 30);
  assert.deepEqual(dropped, ['event_20200101']);
}

async function fillOldDay(service: TestService): Promise<void> {
  await service.database.query(`create table event_20200101 partition of event for values from ('2020-01-01') to ('2020-01-02')`);
  await fillLog(service, muchMore, `'2020-01-01 12:00Z'`);
}

suite('a cursor', { concurrency: true }, () => {
  test('whose events expire under a stream ends it with cursor_expired, and none is skipped', async () => {
    await using service = await startService({ EVENT_RETENTION_DAYS: '3650' });
    await fillOldDay(service);
    // Reads one, and then nothing: the rest is more than its socket takes.
    using stream = await openStream(service.url, '/events/', { 'x-request-id': 'behind' });
    assert.equal(versionOf((await stream.nextEvent())?.data), 1);
    const { json: page } = await service.call('GET', '/events/?limit=5');
    await expire(service);
    const { id } = await service.createUser();
    await service.backlog(0);

    let frame = await stream.nextEvent();
    for (let version = 2; frame?.event === 'user.updated'; version += 1) {
      assert.equal(versionOf(frame.data), version);
      assert.ok(version < muchMore.events);
      frame = await stream.nextEvent();
    }
    assert.equal(frame?.event, 'cursor_expired');
    const { code, status, trace_id, instance } = JSON.parse(frame.data);
    assert.deepEqual([code, status, trace_id, instance], ['cursor_expired', 410, 'behind', '/events/']);
    assert.equal(await stream.next(), undefined);
    assert.equal(await stream.closed, 'ended');

    for (const query of [`after=${page.next}`, `after=${page.next}&wait=30`, `after=${page.next}&user_id=1`]) {
      const answer = await service.call('GET', `/events/?${query}`);
      assert.deepEqual([answer.status, answer.json.code], [410, 'cursor_expired'], query);
    }
    const again = await service.call('GET', '/events/', undefined, { accept: 'text/event-stream', 'last-event-id': page.next });
    assert.deepEqual([again.status, again.json.code], [410, 'cursor_expired']);
    using oldest = await openStream(service.url);
    assert.equal(JSON.parse((await oldest.nextEvent())?.data ?? '').data.user_id, id, 'without a cursor it begins with what is kept');
  });

  test('that the service did not issue is a 400, in every parameter and header', async () => {
    await using service = await startService();
    const none = [
      'x',
      encode('0@2026-02-30T00:00:00.000000Z'),
      encode('0@0000-01-01T00:00:00.000000Z'),
      encode('0@2026-01-01T24:00:00.000000Z'),
      encode('9223372036854775807@2026-01-01T00:00:00.000000Z'),
      encode('1@2026-01-01T00:00:00.000000Z@zz'),
      `${await endOf(service)}=`,
      `${await endOf(service)}A`,
    ];
    for (const text of none) {
      const inQuery = await service.call('GET', `/events/?after=${encodeURIComponent(text)}`);
      assert.deepEqual(
        [inQuery.status, inQuery.json.code, inQuery.json.extra[0].key, inQuery.json.extra[0].source],
        [400, 'validation_failed', 'after', 'query'],
        text,
      );
      const inHeader = await service.call('GET', '/events/', undefined, { accept: 'text/event-stream', 'last-event-id': text });
      assert.deepEqual(
        [inHeader.status, inHeader.json.code, inHeader.json.extra],
        [400, 'validation_failed', [{ key: 'last-event-id', message: 'is no cursor of this service', source: 'header' }]],
        text,
      );
    }
    const beyond = [
      encode('5@1970-01-01T00:00:00.000000Z'),
      encode('0@9999-12-31T23:59:59.999999Z'),
      encode('999999999999999999@2026-01-01T00:00:00.000000Z'),
    ];
    for (const text of beyond) assert.equal((await service.call('GET', `/events/?after=${text}`)).status, 410, text);
  });

  test('that is empty in Last-Event-ID counts as absent', async () => {
    await using service = await startService();
    await service.createUser();
    await service.backlog(0);
    for (const headers of [{ 'last-event-id': '' }, { 'last-event-id': ' ' }]) {
      using stream = await openStream(service.url, '/events/', headers);
      assert.equal((await stream.nextEvent())?.event, 'user.created');
    }
    using stream = await openStream(service.url, `/events/?after=${await endOf(service)}`, { 'last-event-id': '' });
    const { id } = await service.createUser();
    assert.equal(JSON.parse((await stream.nextEvent())?.data ?? '').data.user_id, id, 'and after counts');
  });

  test('from before a restore is a 410, also when the log has grown past it, and ends open streams', async () => {
    await using service = await startService();
    for (let n = 0; n < 3; n += 1) await service.createUser();
    await service.backlog(0);
    const before = await endOf(service);
    const { position, loggedAt, epoch } = parseCursor(before) as NonNullable<ReturnType<typeof parseCursor>>;
    assert.match(epoch ?? '', /^[0-9a-f]{12}$/);
    // As clients hold it from before cursors had an epoch.
    const old = formatCursor({ position, loggedAt });
    for (const cursor of [before, old])
      assert.deepEqual((await service.call('GET', `/events/?after=${cursor}`)).json, { events: [], next: before });

    using stream = await openStream(service.url, `/events/?after=${before}`);
    using other = await openStream(service.url, `/events/?after=${old}`);
    const waiting = service.call('GET', `/events/?after=${before}&wait=30`);
    for (const opened of [stream, other]) assert.equal((await opened.next())?.comment, 'open');
    const { code, stdout } = await runNode('src/cli/events.ts', { DATABASE_URL: service.database.url }, ['restored']);
    assert.equal(code, 0);
    assert.match(stdout, /410 cursor_expired/);
    for (const opened of [stream, other]) {
      assert.equal((await opened.nextEvent())?.event, 'cursor_expired');
      assert.equal(await opened.next(), undefined);
    }
    assert.equal((await waiting).json.code, 'cursor_expired');

    for (let n = 0; n < 5; n += 1) await service.createUser();
    await service.backlog(0);
    for (const cursor of [before, old]) {
      const { status, json } = await service.call('GET', `/events/?after=${cursor}`);
      assert.deepEqual([status, json.code], [410, 'cursor_expired']);
      assert.match(json.detail, /restored from a backup/);
    }
    const now = await endOf(service);
    assert.deepEqual((await service.call('GET', `/events/?after=${now}`)).json, { events: [], next: now });
    assert.equal((await service.call('GET', '/events/')).json.events.length, 8);
  });
});

suite('an outage of the database', { concurrency: true }, () => {
  async function startBehindProxy() {
    const stack = new AsyncDisposableStack();
    const database = stack.use(await createDatabase());
    const direct = new URL(database.url);
    const proxy = stack.use(await startNetwork({ path: `${direct.searchParams.get('host')}/.s.PGSQL.${direct.port}` }));
    const DATABASE_URL = `postgresql://${direct.username}@127.0.0.1:${proxy.port}${direct.pathname}?sslmode=disable`;
    const service = stack.use(await startService({ DATABASE_URL }, { database, streamLimits: { heartbeatMs: 100 } }));
    return { stack, proxy, service };
  }

  test('leaves streams open with heartbeats, and their events follow', async () => {
    const { stack, proxy, service } = await startBehindProxy();
    await using _ = stack;
    await fillLog(service, muchMore);
    const after = await endOf(service);
    using idle = await openStream(service.url, `/events/?after=${after}`);
    using reading = await openStream(service.url);
    assert.equal(versionOf((await reading.nextEvent())?.data), 1);
    assert.equal((await idle.next())?.comment, 'open');
    await proxy.refuse();
    for (let n = 0; n < 3; n += 1) assert.equal((await idle.next())?.comment, 'still here');

    // As a browser connects again: anything but 200 would be the end.
    using waiting = await openStream(service.url, `/events/?after=${after}`);
    using expired = await openStream(
      service.url,
      `/events/?after=${formatCursor({ position: '999999', loggedAt: '2020-01-01T00:00:00.000000Z' })}`,
    );
    for (const stream of [waiting, expired]) {
      assert.deepEqual([stream.status, stream.headers['content-type']], [200, 'text/event-stream']);
      assert.equal((await stream.next())?.comment, 'open');
      assert.equal((await stream.next())?.comment, 'still here');
    }
    const invalid = await service.call('GET', '/events/?after=x', undefined, { accept: 'text/event-stream' });
    assert.equal(invalid.status, 400, 'what needs no database is judged at once');

    await proxy.heal();
    assert.equal((await expired.nextEvent())?.event, 'cursor_expired');
    assert.equal(await expired.next(), undefined);
    let created = await service.call('POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse' });
    while (created.status !== 201)
      created = await service.call('POST', '/users/', { name: 'John', surname: 'Doe', password: 'correct horse' });
    for (const stream of [idle, waiting]) assert.equal(JSON.parse((await stream.nextEvent())?.data ?? '').data.user_id, created.json.id);
    for (let version = 2; version <= muchMore.events; version += 1) assert.equal(versionOf((await reading.nextEvent())?.data), version);
    assert.equal(JSON.parse((await reading.nextEvent())?.data ?? '').data.user_id, created.json.id);
  });
});
