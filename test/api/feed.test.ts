// The event log over HTTP: in order, without gaps, from any cursor that is kept.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startPool } from '../../src/platform/db/client.ts';
import { formatCursor } from '../../src/platform/events/store/cursor.ts';
import { maintain } from '../../src/platform/events/store/retention.ts';
import { startService, type TestService } from '../support/service.ts';

type Told = { event_type: string; trace_id: string; data: { user_id: number; version: number; user?: { name: string } } };

/** Reads the log from a cursor to its end. */
async function readAll(service: TestService, from?: string, query = ''): Promise<{ events: Told[]; next: string }> {
  const events: Told[] = [];
  for (let next = from; ; ) {
    const { status, json, text } = await service.call('GET', `/events/?limit=7${next === undefined ? '' : `&after=${next}`}${query}`);
    assert.equal(status, 200, text);
    events.push(...json.events);
    if (json.next === next || (json.events.length === 0 && query === '')) return { events, next: json.next };
    next = json.next;
  }
}

/** Resolves when the log holds `count` events. */
async function logged(service: TestService, count: number): Promise<void> {
  await service.line(
    () => service.lines.filter(({ event }) => event.startsWith('Published event')).length >= count,
    `event number ${count}`,
  );
}

async function* readStream(service: TestService, headers: Record<string, string>, signal: AbortSignal) {
  const response = await fetch(`${service.url}/events/`, { headers: { accept: 'text/event-stream', ...headers }, signal });
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  let rest = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const frames = (rest + chunk).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames.filter((text) => !text.startsWith(':'))) {
      const fields = Object.fromEntries(
        frame.split('\n').map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
      );
      yield { id: fields['id'] ?? '', event: fields['event'], data: JSON.parse(fields['data'] ?? 'null') as Told };
    }
  }
}

suite('GET /events/', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
    for (let n = 0; n < 10; n += 1) await service.createUser();
    for (let id = 1; id <= 10; id += 1)
      await service.call('PUT', `/users/${id}`, { name: `Name ${id}` }, { 'x-request-id': `change-${id}` });
    await service.call('DELETE', '/users/4');
    await logged(service, 21);
  });
  after(() => service[Symbol.asyncDispose]());

  test('returns every event once, in order for each user, then an empty page with the same cursor', async () => {
    const { events, next } = await readAll(service);
    assert.equal(events.length, 21);
    for (let id = 1; id <= 10; id += 1) {
      const versions = events.filter(({ data }) => data.user_id === id).map(({ data }) => data.version);
      assert.deepEqual(versions, id === 4 ? [1, 2, 3] : [1, 2]);
    }
    const { json } = await service.call('GET', `/events/?after=${next}`);
    assert.deepEqual(json, { events: [], next });
  });

  test('has the next page in Link', async () => {
    const { headers, json } = await service.call('GET', '/events/?limit=2&types=user.created');
    assert.equal(headers.get('link'), `</events/?limit=2&types=user.created&after=${json.next}>; rel="next"`);
    const { json: more } = await service.call('GET', `/events/?limit=2&types=user.created&after=${json.next}`);
    assert.deepEqual(
      more.events.map(({ data }: Told) => data.user_id),
      [3, 4],
    );
  });

  test('filters by user and by type, and its cursor skips what was filtered out', async () => {
    const one = await readAll(service, undefined, '&user_id=4');
    assert.deepEqual(
      one.events.map(({ event_type }) => event_type),
      ['user.created', 'user.updated', 'user.deleted'],
    );
    const deleted = await readAll(service, undefined, '&types=user.deleted');
    assert.deepEqual(
      deleted.events.map(({ data }) => data.user_id),
      [4],
    );
    assert.equal(deleted.next, (await readAll(service)).next);
  });

  test('carries the trace id of the request that made the change', async () => {
    const { events } = await readAll(service, undefined, '&user_id=7');
    assert.equal(events[1]?.trace_id, 'change-7');
  });

  test('refuses invalid cursors, limits and waits, and unknown parameters', async () => {
    const queries = [
      'after=x',
      'after=',
      `after=${'A'.repeat(101)}`,
      'limit=0',
      'limit=1001',
      'wait=31',
      'wait=-1',
      'user_id=0',
      'types=',
      'types=a b',
      'types=user.crated',
      'types=user.created,user.exploded',
      'types=user.created,',
      'types=userXcreated',
      'nope=1',
    ];
    for (const query of queries) {
      const { status, json } = await service.call('GET', `/events/?${query}`);
      assert.deepEqual([status, json.code], [400, 'validation_failed'], query);
    }
  });

  test('with wait, answers as soon as an event arrives', async () => {
    const { next } = await readAll(service);
    const waiting = service.call('GET', `/events/?after=${next}&wait=30`);
    const { id } = await service.createUser();
    const { json } = await waiting;
    assert.deepEqual(
      json.events.map(({ data }: Told) => data.user_id),
      [id],
    );
  });

  test('answers an empty page when the wait ends', async () => {
    const { next } = await readAll(service);
    const { status, json } = await service.call('GET', `/events/?after=${next}&wait=1`);
    assert.deepEqual([status, json], [200, { events: [], next }]);
  });

  test('streams the same as server-sent events, and continues from Last-Event-ID', async () => {
    const { events } = await readAll(service);
    const stop = new AbortController();
    const ids: string[] = [];
    for await (const { id, event, data } of readStream(service, {}, stop.signal)) {
      assert.equal(event, data.event_type);
      assert.deepEqual(data, events[ids.length]);
      ids.push(id);
      if (ids.length === events.length) break;
    }
    for await (const { data } of readStream(service, { 'last-event-id': ids[4] ?? '' }, stop.signal)) {
      assert.deepEqual(data, events[5]);
      break;
    }
    stop.abort();
  });
});

suite('the event log', { concurrency: true }, () => {
  test('never skips an event whose transaction began earlier and committed later', async () => {
    await using service = await startService();
    await service.createUser();
    await logged(service, 1);
    // As the service writes it, in a transaction that stays open: its outbox position is drawn, and nobody can see it yet.
    const slow = await service.database.hold(
      `with created as (insert into "user" (name, surname, password) values ('Slow', 'Writer', 'x') returning id)
       insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
       select gen_random_uuid(), 'user.created', id::text, now(), 'slow', 'x', json_build_object('user_id', id, 'version', 1, 'changed', json_build_array('name')) from created`,
    );
    await service.createUser();
    await logged(service, 2);
    const before = await readAll(service);
    assert.deepEqual(
      before.events.map(({ data }) => data.user_id),
      [1, 3],
    );
    await slow.release();
    await logged(service, 3);
    const rest = await readAll(service, before.next);
    assert.deepEqual(
      rest.events.map(({ trace_id, data }) => [trace_id, data.user_id]),
      [['slow', 2]],
    );
    const positions = await service.database.query<{ position: string }>('select position from event order by position');
    assert.deepEqual(positions, [{ position: '1' }, { position: '2' }, { position: '3' }]);
  });

  test('expires by whole days, answers 410 to older cursors, and keeps unpublished events', async () => {
    await using service = await startService();
    await using pool = startPool(
      { url: service.database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 },
      2,
    );
    for (let n = 0; n < 3; n += 1) await service.createUser();
    await logged(service, 3);
    const start = formatCursor({ position: '0', loggedAt: '1970-01-01T00:00:00.000000Z' });
    // Three days as they would be a month and a half later: everything of them is moved there.
    await service.database.query(`
      do $$ begin
        create table event_20200101 partition of event for values from ('2020-01-01') to ('2020-01-02');
        create table event_20200102 partition of event for values from ('2020-01-02') to ('2020-01-03');
        update event set logged_at = '2020-01-01 12:00Z' where position <= 2;
        update event set logged_at = '2020-01-02 12:00Z' where position = 3;
        update event_state set published_position = 2;
      end $$`);
    let dropped: string[] = [];
    while (dropped.length === 0) dropped = await maintain(pool, 30);
    assert.deepEqual(dropped, ['event_20200101'], 'the day of the event that was not published stays');
    const { status, json } = await service.call('GET', `/events/?after=${start}`);
    assert.deepEqual([status, json.code], [410, 'cursor_expired']);
    assert.match(json.detail, /snapshot/);
    const { events } = await readAll(service);
    assert.deepEqual(
      events.map(({ data }) => data.user_id),
      [3],
    );
    const beyond = formatCursor({ position: '1000', loggedAt: '2030-01-01T00:00:00.000000Z' });
    assert.equal((await service.call('GET', `/events/?after=${beyond}`)).json.code, 'cursor_expired', 'nor is one of another log taken');
  });

  test('a process without a relay serves new events too', async () => {
    await using relay = await startService();
    await using api = await startService({ RUN: 'api', DATABASE_URL: relay.database.url }, { database: relay.database });
    const { json } = await api.call('GET', '/events/');
    const waiting = api.call('GET', `/events/?after=${json.next}&wait=30`);
    const { id } = await relay.createUser();
    assert.deepEqual(
      (await waiting).json.events.map(({ data }: Told) => data.user_id),
      [id],
    );
  });

  test('shutdown ends waiting requests and streams, with what they have', async () => {
    const service = await startService();
    const stop = new AbortController();
    const waiting = service.call('GET', '/events/?wait=30');
    const streaming = (async () => {
      const seen = [];
      for await (const frame of readStream(service, {}, stop.signal)) seen.push(frame);
      return seen;
    })();
    await service.line(() => service.lines.filter(({ event }) => event === 'Request started').length === 2);
    await service[Symbol.asyncDispose]();
    assert.deepEqual((await waiting).json.events, []);
    assert.deepEqual(await streaming, []);
  });
});

suite('GET /users/snapshot', () => {
  test('with the events after its cursor it gives an exact copy, while users change', async () => {
    await using service = await startService();
    await service.database.query(
      `insert into "user" (name, surname, password) select 'Name ' || n, 'Surname', 'x' from generate_series(1, 2500) as n`,
    );
    let changing = true;
    const writers = [0, 1, 2].map(async (writer) => {
      for (let n = 0; changing; n += 1) {
        const id = ((n * 3 + writer) % 2500) + 1;
        if (n % 10 === 9) await service.call('DELETE', `/users/${id}`);
        else if (n % 7 === 0) await service.createUser({ name: `New ${n}` });
        else await service.call('PUT', `/users/${id}`, { name: `Changed ${n}` });
      }
    });
    const copy = new Map<number, { name: string; version: number }>();
    const { text, headers } = await service.call('GET', '/users/snapshot');
    assert.equal(headers.get('content-type'), 'application/x-ndjson');
    const [first = '', ...lines] = text.trimEnd().split('\n');
    for (const line of lines) {
      const { id, name, version } = JSON.parse(line);
      copy.set(id, { name, version });
    }
    changing = false;
    await Promise.all(writers);
    await service.backlog(0);
    const { events } = await readAll(service, JSON.parse(first).cursor);
    for (const { event_type, data } of events) {
      if (event_type === 'user.deleted') copy.delete(data.user_id);
      else if (data.version > (copy.get(data.user_id)?.version ?? 0))
        copy.set(data.user_id, { name: data.user?.name ?? '', version: data.version });
    }
    const rows = await service.database.query<{ id: string; name: string; version: string }>(
      'select id, name, version from "user" order by id',
    );
    assert.deepEqual(
      [...copy].sort(([a], [b]) => a - b).map(([id, { name, version }]) => [id, name, version]),
      rows.map(({ id, name, version }) => [Number(id), name, Number(version)]),
    );
    assert.ok(events.length > 0, 'users did change meanwhile');
  });
});
