// What both brokers promise: every committed event is handled once, in order for each user, or ends where it can be found.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Tx } from '../../src/platform/db/client.ts';
import type { Event } from '../../src/platform/events/contract/envelope.ts';
import { brokerKinds, retryDelaysMs, startCarrier, versionOf } from '../support/events.ts';

for (const kind of brokerKinds) {
  suite(`events by ${kind}`, { concurrency: true }, () => {
    test('an event is handled with the trace id that it was written with, and leaves the outbox', async () => {
      await using carrier = await startCarrier(kind);
      carrier.consume(async () => {});
      const id = await carrier.append(7, 1, { traceId: 'my-trace' });
      await carrier.relay();
      const line = await carrier.line(({ event }) => event === 'Received event user.updated with user_id=7');
      assert.deepEqual([line['event_id'], line.trace_id, line['user_id'], line['event_type']], [id, 'my-trace', 7, 'user.updated']);
      assert.equal(await carrier.backlog(), 0);
    });

    test('events of one user are handled in order, and of many users all of them', async () => {
      await using carrier = await startCarrier(kind);
      const seen: Event[] = [];
      carrier.consume(async (_tx, event) => {
        seen.push(event);
      });
      const users = 20;
      const versions = 15;
      for (let version = 1; version <= versions; version += 1)
        for (let user = 1; user <= users; user += 1) await carrier.append(user, version);
      await carrier.relay();
      await carrier.line(() => seen.length === users * versions, 'the last event');
      for (let user = 1; user <= users; user += 1) {
        const order = seen.filter(({ data }) => data['user_id'] === user).map(versionOf);
        assert.deepEqual(
          order,
          Array.from({ length: versions }, (_, n) => n + 1),
        );
      }
    });

    test('an event that comes a hundred times takes effect once', async () => {
      await using carrier = await startCarrier(kind);
      await carrier.database.query('create table effect (event_id text)');
      carrier.consume(async (tx, event) => {
        await tx.query('insert into effect (event_id) values ($1)', [event.event_id]);
      });
      const eventId = crypto.randomUUID();
      for (let copy = 0; copy < 100; copy += 1) await carrier.append(1, 1, { eventId });
      await carrier.append(2, 1);
      await carrier.relay();
      await carrier.line(
        () => carrier.lines.filter(({ event }) => event === 'Received event user.updated again').length === 99,
        'the last copy',
      );
      const [row] = await carrier.database.query<{ n: string }>('select count(*) as n from effect where event_id = $1', [eventId]);
      assert.equal(row?.n, '1');
    });

    test('an effect that fails leaves nothing behind, is tried again, and counts once when it succeeds', async () => {
      await using carrier = await startCarrier(kind);
      await carrier.database.query('create table effect (event_id text)');
      let failures = 2;
      carrier.consume(async (tx, event) => {
        await tx.query('insert into effect (event_id) values ($1)', [event.event_id]);
        if (failures-- > 0) throw new Error('the mail server is on fire');
      });
      await carrier.append(1, 1, { traceId: 'burning' });
      await carrier.relay();
      const line = await carrier.line(({ event }) => event.startsWith('Received event'));
      assert.equal(line.trace_id, 'burning');
      const retries = carrier.lines.filter(({ event }) => event === 'Event user.updated failed and will be tried again');
      assert.deepEqual(
        retries.map((retry) => [retry['attempts'], retry.trace_id]),
        [
          [1, 'burning'],
          [2, 'burning'],
        ],
      );
      assert.equal((await carrier.database.query('select from effect')).length, 1);
      assert.equal((await carrier.database.query('select from inbox')).length, 1);
    });

    test('an effect that always fails ends in the dead letters with its reason, and later events go on', async () => {
      await using carrier = await startCarrier(kind);
      carrier.consume(async (_tx, { data }) => {
        if (data['user_id'] === 1) throw new Error('never');
      });
      await carrier.append(1, 1, { traceId: 'poison' });
      await carrier.append(2, 1);
      await carrier.relay();
      const line = await carrier.line(({ event }) => event === 'Gave up event user.updated; dead-lettered');
      assert.deepEqual([line.trace_id, line['attempts']], ['poison', 3]);
      await carrier.line(({ event }) => event === 'Received event user.updated with user_id=2');
      const [metric] = (await carrier.metrics.deadLettered.get()).values;
      assert.equal(metric?.value, 1);
    });

    test('a database that is away while an event is handled costs no attempt', async () => {
      await using carrier = await startCarrier(kind);
      let outages = 3;
      carrier.consume(async (tx) => {
        if (outages-- > 0) await tx.query('select pg_terminate_backend(pg_backend_pid())');
      });
      await carrier.append(1, 1);
      await carrier.relay();
      await carrier.line(({ event }) => event === 'Received event user.updated with user_id=1');
      assert.equal(outages, -1);
      assert.ok(!carrier.lines.some(({ event }) => event.includes('failed')));
    });

    test('with nobody to receive them, events stay in the outbox, and are handled once somebody does', async () => {
      await using carrier = await startCarrier(kind);
      await carrier.append(1, 1);
      await carrier.step();
      assert.equal(await carrier.backlog(), 1);
      carrier.consume(async () => {});
      await carrier.relay();
      await carrier.line(({ event }) => event === 'Received event user.updated with user_id=1');
    });

    test('an event that breaks its schema is never published, and does not stop those of other users', async () => {
      await using carrier = await startCarrier(kind);
      carrier.consume(async () => {});
      await carrier.append(1, 0);
      await carrier.append(2, 1);
      await carrier.step();
      await carrier.line(({ event }) => event === 'Event user.updated was returned by the broker; will retry');
      while ((await carrier.backlog()) > 1) await carrier.step();
      await carrier.line(({ event }) => event === 'Received event user.updated with user_id=2');
      assert.ok(!carrier.lines.some(({ event }) => event.endsWith('user_id=1')));
    });

    for (const laterContainsEarlier of [false, true]) {
      const end = laterContainsEarlier ? 'dropped and counted, if that one contains its effect' : 'dead-lettered';
      test(`an event that comes after a later one of its user was handled is ${end}`, async () => {
        await using carrier = await startCarrier(kind);
        const seen: number[] = [];
        const effect = async (_tx: Tx, event: Event) => void seen.push(versionOf(event));
        carrier.consume(effect, { laterContainsEarlier });
        await carrier.append(1, 2);
        await carrier.relay();
        await carrier.line(() => seen.length === 1, 'the later event');
        const id = await carrier.append(1, 1);
        await carrier.relay();
        const words = laterContainsEarlier ? 'Dropped event user.updated' : 'Event user.updated came after a later version; dead-lettered';
        const line = await carrier.line(({ event }) => event.startsWith(words));
        assert.deepEqual([line['user_id'], line['version'], line['event_id']], [1, 1, id]);
        assert.deepEqual(seen, [2]);
        const letters = await carrier.database.query('select event_id, reason, attempts, subject, version from dead_letter');
        const letter = { event_id: id, reason: 'version 2 was handled before it', attempts: 1, subject: 'user:1', version: '1' };
        assert.deepEqual(letters, laterContainsEarlier ? [] : [letter]);
        assert.equal((await carrier.metrics.stale.get()).values[0]?.value, laterContainsEarlier ? 1 : 0);
      });
    }

    test('while an event waits for its next attempt, later ones of its user wait behind it, and those of others do not', async () => {
      await using carrier = await startCarrier(kind);
      const seen: string[] = [];
      let failures = 2;
      carrier.consume(async (_tx, event) => {
        if (event.data['user_id'] === 1 && versionOf(event) === 2 && failures-- > 0) throw new Error('not yet');
        seen.push(`${event.data['user_id']}.${versionOf(event)}`);
      });
      for (let version = 1; version <= 10; version += 1) for (const user of [1, 2]) await carrier.append(user, version);
      await carrier.relay();
      await carrier.line(() => seen.length === 20, 'all events');
      for (const user of [1, 2]) {
        const own = seen.filter((one) => one.startsWith(`${user}.`));
        assert.deepEqual(
          own,
          Array.from({ length: 10 }, (_, n) => `${user}.${n + 1}`),
        );
      }
      assert.equal((await carrier.database.query('select from delivery_retry')).length, 0);
    });

    test('when an event is given up, those behind it are handled in order', async () => {
      await using carrier = await startCarrier(kind);
      const seen: number[] = [];
      carrier.consume(async (_tx, event) => {
        if (versionOf(event) === 2) throw new Error('never');
        seen.push(versionOf(event));
      });
      for (let version = 1; version <= 6; version += 1) await carrier.append(1, version);
      await carrier.relay();
      await carrier.line(() => seen.length === 5, 'the others');
      assert.deepEqual(seen, [1, 3, 4, 5, 6]);
      const letters = await carrier.database.query('select version, attempts, reason from dead_letter');
      assert.deepEqual(letters, [{ version: '2', attempts: retryDelaysMs.length + 1, reason: 'never' }]);
    });

    test('an effect that fails at the commit is a failed attempt like any other', async () => {
      await using carrier = await startCarrier(kind);
      await carrier.database.query('create table effect (version bigint)');
      await carrier.database.query(
        `create function refuse() returns trigger language plpgsql as 'begin raise exception ''not this one''; end'`,
      );
      await carrier.database.query(`create constraint trigger refuse after insert on effect deferrable initially deferred
        for each row when (new.version = 1) execute function refuse()`);
      carrier.consume(async (tx, event) => {
        await tx.query('insert into effect (version) values ($1)', [versionOf(event)]);
      });
      await carrier.append(1, 1);
      await carrier.append(1, 2);
      await carrier.relay();
      const line = await carrier.line(({ event }) => event === 'Gave up event user.updated; dead-lettered');
      assert.equal(line['attempts'], retryDelaysMs.length + 1);
      await carrier.line(({ event }) => event === 'Received event user.updated with user_id=1');
      assert.deepEqual(await carrier.database.query('select version from effect'), [{ version: '2' }]);
    });

    test('events that waited behind one leave with it, in one batch and in order', async () => {
      await using carrier = await startCarrier(kind);
      const seen: number[] = [];
      carrier.consume(async (_tx, event) => {
        seen.push(versionOf(event));
      });
      // The first breaks its schema, until it is mended.
      await carrier.append(1, 0);
      for (let version = 2; version <= 30; version += 1) await carrier.append(1, version);
      while ((await carrier.database.query('select from event_retry')).length < 30) await carrier.step();
      await carrier.database.query(`update event set data = '{"user_id":1,"version":1,"changed":["name"]}' where position = 1`);
      const left = async () => (await carrier.database.query('select from event_retry')).length;
      const batches = [];
      for (let before = await left(); before > 0; ) {
        await carrier.database.query('update event_retry set retry_at = now() where retry_at > now()');
        await carrier.step();
        const after = await left();
        if (after < before) batches.push(before - after);
        before = after;
      }
      await carrier.line(() => seen.length === 30, 'all events');
      assert.deepEqual(batches, [30]);
      assert.deepEqual(
        seen,
        seen.toSorted((a, b) => a - b),
      );
    });

    test('a retry does not wait for a clock that was set back', async () => {
      await using carrier = await startCarrier(kind);
      carrier.consume(async () => {});
      await carrier.append(1, 0);
      const attempts = async () => (await carrier.database.query<{ attempts: number }>('select attempts from event_retry'))[0]?.attempts;
      while ((await attempts()) === undefined) await carrier.step();
      const before = await attempts();
      // On a busy machine a step takes longer than the first delay.
      await carrier.database.query(`update event_retry set retry_at = now() + interval '30 seconds'`);
      await carrier.step();
      assert.equal(await attempts(), before, 'it waits for its time');
      await carrier.database.query(`update event_retry set retry_at = retry_at + interval '1 day'`);
      await carrier.step();
      assert.equal(await attempts(), (before ?? 0) + 1);
    });

    test('a later event never overtakes a retry of the same user', async () => {
      await using carrier = await startCarrier(kind);
      const seen: number[] = [];
      carrier.consume(async (_tx, event) => {
        seen.push(versionOf(event));
      });
      await carrier.append(1, 0);
      await carrier.step();
      while ((await carrier.database.query('select from event_retry where retry_at > now()')).length === 0) await carrier.step();
      await carrier.append(1, 2);
      await carrier.step();
      assert.deepEqual([seen, await carrier.backlog()], [[], 2]);
      await carrier.database.query(`update event set data = '{"user_id":1,"version":1,"changed":["name"]}' where position = 1`);
      await carrier.relay();
      await carrier.line(() => seen.length === 2, 'both events');
      assert.deepEqual(seen, [1, 2]);
    });
  });
}
