// `/subscriptions/`: how far each is, what it gave up, and giving that to it again.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

const own = '/subscriptions/rollcall.user_events';

const bury = (service: TestService, body: string, reason = 'it was full') =>
  service.database.query<{ id: string }>(
    `insert into dead_letter (message_id, event_id, event_type, trace_id, subject, version, attempts, reason, body)
     select event_id::text, event_id, event_type, trace_id, subject, 1, 5, $2, convert_to($1, 'UTF8') from event order by position limit 1
     returning id`,
    [body, reason],
  );

async function eventOf(service: TestService): Promise<string> {
  const { id } = await service.createUser();
  await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
  const { json } = await service.call('GET', '/events/?limit=1');
  return JSON.stringify(json.events[0]);
}

suite('/subscriptions/', { concurrency: true }, () => {
  test('lists each with its backlog and its lag, and without a slash at the end', async () => {
    await using service = await startService({ RUN: 'api' });
    await service.createUser();
    await service.createUser();
    for (const path of ['/subscriptions/', '/subscriptions']) {
      const { status, json } = await service.call('GET', path);
      assert.equal(status, 200);
      const [{ lag_seconds, ...state }] = json.subscriptions;
      assert.deepEqual(state, { name: 'rollcall.user_events', source: 'queue', backlog: 2, retries: 0, parked: 0, dead_letters: 0 });
      assert.ok(lag_seconds > 0 && lag_seconds < 60, String(lag_seconds));
    }
  });

  test('does not count handled events', async () => {
    await using service = await startService();
    await eventOf(service);
    const { json } = await service.call('GET', '/subscriptions/');
    assert.deepEqual([json.subscriptions[0].backlog, json.subscriptions[0].lag_seconds], [0, 0]);
  });

  test('dead letters are listed by page, redriven and deleted', async () => {
    await using service = await startService();
    const event = await eventOf(service);
    await service.database.query('delete from inbox');
    const ids = [];
    for (let n = 0; n < 3; n += 1) ids.push(Number((await bury(service, event, `reason ${n}`))[0]?.id));
    const first = (await service.call('GET', `${own}/dead-letters?limit=2`)).json;
    assert.deepEqual(
      first.dead_letters.map(({ id, reason }: { id: number; reason: string }) => [id, reason]),
      [
        [ids[0], 'reason 0'],
        [ids[1], 'reason 1'],
      ],
    );
    assert.equal(first.next, ids[1]);
    const second = (await service.call('GET', `${own}/dead-letters?limit=2&after=${first.next}`)).json;
    assert.deepEqual([second.dead_letters.length, second.next], [1, undefined]);
    const [{ dead_at, trace_id, event_id, message_id, ...letter }] = second.dead_letters;
    assert.deepEqual(letter, { id: ids[2], event_type: 'user.created', subject: 'user:1', version: 1, attempts: 5, reason: 'reason 2' });
    assert.equal(event_id, JSON.parse(event).event_id);

    assert.equal((await service.call('DELETE', `${own}/dead-letters/${ids[2]}`)).status, 200);
    assert.equal((await service.call('DELETE', `${own}/dead-letters/${ids[2]}`)).json.code, 'dead_letter_not_found');
    assert.equal((await service.call('DELETE', `${own}/dead-letters/${ids[1]}`)).status, 200);
    const redriven = await service.call('POST', `${own}/dead-letters/${ids[0]}/redrive`);
    assert.deepEqual([redriven.status, redriven.json], [202, { message: `Dead letter ${ids[0]} is on its way again` }]);
    assert.equal((await service.call('POST', `${own}/dead-letters/${ids[0]}/redrive`)).json.code, 'dead_letter_not_found');
    const received = () => service.lines.filter((line) => line.event === 'Received event user.created with user_id=1').length === 2;
    await service.line(received);
    assert.deepEqual((await service.call('GET', `${own}/dead-letters`)).json, { dead_letters: [] });
  });

  test('a message that is not a valid event cannot be redriven, and stays', async () => {
    await using service = await startService();
    await eventOf(service);
    for (const [body, reason] of [
      ['x', 'the body is not JSON in UTF-8'],
      ['{"event_type":"user.created"}', 'it has no event_id and no version'],
    ]) {
      const [letter] = await bury(service, body ?? '');
      const { status, json } = await service.call('POST', `${own}/dead-letters/${letter?.id}/redrive`);
      assert.deepEqual([status, json.code], [409, 'dead_letter_refused']);
      assert.ok(json.detail.includes(reason), json.detail);
    }
    assert.equal((await service.call('GET', `${own}/dead-letters`)).json.dead_letters.length, 2);
  });

  test('failed attempts are found by the trace id of the request', async () => {
    await using service = await startService();
    await service.database.query(
      `insert into failed_attempt (subscription, event_id, event_type, trace_id, attempt, reason)
       select 'rollcall.user_events', gen_random_uuid(), 'user.created', trace, n, 'reason ' || n
       from generate_series(1, 3) as n, unnest(array['one', 'other']) as trace`,
    );
    const { status, json } = await service.call('GET', `${own}/failed-attempts?trace_id=one&limit=2`);
    assert.equal(status, 200);
    const shown = json.failed_attempts.map(({ trace_id, attempt, reason }: Record<string, unknown>) => [trace_id, attempt, reason]);
    assert.deepEqual(shown, [
      ['one', 1, 'reason 1'],
      ['one', 2, 'reason 2'],
    ]);
  });

  test('unknown names and malformed ids are refused', async () => {
    await using service = await startService({ RUN: 'api' });
    const codeOf = async (method: string, path: string) => {
      const { status, json } = await service.call(method as 'GET', path);
      return `${status} ${json.code}`;
    };
    for (const path of ['audit', 'rollcall.user_events2', 'x'.repeat(100)])
      assert.equal(await codeOf('GET', `/subscriptions/${path}/dead-letters`), '404 subscription_not_found', path);
    for (const path of ['UPPER', '%00', '..%2f', 'x'.repeat(101)])
      assert.match(await codeOf('GET', `/subscriptions/${path}/dead-letters`), /^4\d\d (not_found|malformed_request)$/, path);
    for (const id of ['0', '-1', 'abc', '1e3', '99999999999999999'])
      assert.equal(await codeOf('DELETE', `${own}/dead-letters/${id}`), '404 not_found', id);
    assert.equal(await codeOf('DELETE', `${own}/dead-letters/9007199254740991`), '404 dead_letter_not_found');
    assert.equal(await codeOf('GET', `${own}/failed-attempts`), '400 validation_failed');
    assert.equal(await codeOf('GET', `${own}/dead-letters?limit=0`), '400 validation_failed');
    assert.equal(await codeOf('PUT', `${own}/dead-letters/1`), '405 method_not_allowed');
  });
});
