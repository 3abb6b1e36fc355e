// Liveness, readiness and metrics.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

suite('health and metrics', () => {
  let service: TestService;
  before(async () => {
    service = await startService();
  });
  after(() => service[Symbol.asyncDispose]());

  async function metric(series: string): Promise<number> {
    const { text } = await service.call('GET', '/metrics');
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    return line === undefined ? 0 : Number(line.slice(series.length + 1));
  }

  test('GET /health is 200 while the process lives', async () => {
    const { status, json } = await service.call('GET', '/health');
    assert.deepEqual([status, json], [200, { status: 'ok' }]);
  });

  test('GET /ready names what it checked', async () => {
    const { status, json } = await service.call('GET', '/ready');
    assert.deepEqual([status, json], [200, { status: 'ready', database: 'ok', broker: 'in process' }]);
  });

  test('requests are counted by method, route and status class, never by id or raw path', async () => {
    const { id } = await service.createUser();
    await service.call('GET', `/users/${id}`);
    await service.call('GET', '/users/987654321');
    await service.call('GET', '/no/such/987654321');
    assert.equal(await metric('rollcall_http_request_duration_seconds_count{method="GET",route="/users/:id",status="2xx"}'), 1);
    assert.equal(await metric('rollcall_http_request_duration_seconds_count{method="GET",route="/users/:id",status="4xx"}'), 1);
    assert.equal(await metric('rollcall_http_request_duration_seconds_count{method="GET",route="none",status="4xx"}'), 1);
    const { text, headers } = await service.call('GET', '/metrics');
    assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    assert.ok(!text.includes('987654321'));
  });

  test('published, handled and duplicate events are counted', async () => {
    const names = ['published', 'handled', 'duplicate'] as const;
    const read = () => Promise.all(names.map((name) => metric(`rollcall_events_${name}_total`)));
    const handledLines = () => service.lines.filter(({ event }) => event.startsWith('Received event')).length;
    const start = handledLines();
    await service.createUser();
    await service.line(() => handledLines() > start, 'the event');
    await service.line(({ event }) => event === 'Published event user.created');
    const [published = 0, handled = 0, duplicate = 0] = await read();
    assert.ok(published > 0 && handled > 0);
    // The same event once more, as after a crash between confirm and removal.
    await service.database.query(
      `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
       select event_id, 'user.deleted', '1', now(), trace_id, 'x', '{"user_id":1,"version":1}' from inbox limit 1`,
    );
    await service.line(({ event }) => event === 'Received event user.deleted again');
    const after = await read();
    assert.deepEqual([after[1], after[2]], [handled, duplicate + 1]);
  });

  test('the outbox is measured by depth and age', async () => {
    await using alone = await startService({ RUN: 'api' });
    await alone.createUser();
    await alone.createUser();
    const { text } = await alone.call('GET', '/metrics');
    assert.match(text, /^rollcall_outbox_depth 2$/m);
    assert.match(text, /^rollcall_outbox_oldest_age_seconds 0\.\d+$/m);
  });

  test('build, pool, event loop, hash queue and memory are there', async () => {
    const { text } = await service.call('GET', '/metrics');
    assert.match(text, /^rollcall_build_info\{name="rollcall",version="\d+\.\d+\.\d+[^"]*",node="v2\d[^"]*"\} 1$/m);
    for (const name of [
      'rollcall_database_connections',
      'rollcall_database_waiting',
      'nodejs_eventloop_lag_p99_seconds',
      'rollcall_password_hash_waiting',
      'process_resident_memory_bytes',
      'rollcall_broker_connected',
    ]) {
      assert.match(text, new RegExp(`^${name} [\\d.e-]+$`, 'm'));
    }
  });
});
