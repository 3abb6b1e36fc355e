// The consumer on a real RabbitMQ: who handles what when the active consumer changes, and what becomes of messages that cannot be handled.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Connection, type Envelope } from 'rabbitmq-client';
import type { Tx } from '../../src/platform/db/client.ts';
import type { Event } from '../../src/platform/events/contract/envelope.ts';
import { find } from '../../src/platform/events/store/dead-letters.ts';
import { type Carrier, retryDelaysMs, startCarrier, versionOf } from '../support/events.ts';
import type { Line } from '../support/log.ts';

const queue = 'rollcall.user_events';
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

async function connected<Result>(carrier: Carrier, work: (connection: Connection) => Promise<Result>): Promise<Result> {
  const connection = new Connection({ url: carrier.vhost?.url ?? '', frameMax: 131_072 });
  connection.on('error', () => {});
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/** Whether somebody consumes the service's queue, which may not be there. */
async function isConsumed(connection: Connection): Promise<boolean> {
  return connection.queueDeclare({ queue, passive: true }).then(
    ({ consumerCount }) => consumerCount > 0,
    () => false,
  );
}

/** Publishes messages as anybody could, and waits until RabbitMQ has them. */
async function publish(carrier: Carrier, messages: readonly (readonly [envelope: Envelope, body: Buffer])[]): Promise<void> {
  await connected(carrier, async (connection) => {
    const channel = await connection.acquire();
    await channel.confirmSelect();
    for (const [envelope, body] of messages) await channel.basicPublish({ routingKey: queue, durable: true, ...envelope }, body);
    await channel.close();
  });
}

const isConnected = (carrier: Carrier) =>
  carrier.line(({ event, component }) => event === 'RabbitMQ connected' && component === 'consumer', 'the consumer');

/** Resolves when so many messages were given up. */
const buried = (carrier: Carrier, count: number) =>
  carrier.line(() => carrier.lines.filter(({ event }) => /dead-lettered$/.test(event)).length === count, `${count} dead letters`);

const eventBody = (version: number, userId = 1) => ({
  event_id: crypto.randomUUID(),
  event_type: 'user.updated',
  occurred_at: '2025-01-01T10:00:00.000000Z',
  trace_id: `trace-${userId}-${version}`,
  data: { user_id: userId, version, changed: ['name'] },
});

/** An effect that stops at its first event until it is let go. */
function gate() {
  const reached = Promise.withResolvers<void>();
  const open = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: open.resolve,
    [Symbol.dispose]: open.resolve,
    async pass() {
      reached.resolve();
      await open.promise;
    },
  };
}

async function recorder(carrier: Carrier) {
  await carrier.database.query('create table effect (n bigint generated always as identity, version bigint, consumer text)');
  return async (tx: Tx, event: Event, consumer: string) => {
    await tx.query('insert into effect (version, consumer) values ($1, $2)', [versionOf(event), consumer]);
  };
}

const effects = async (carrier: Carrier) =>
  (await carrier.database.query<{ version: string }>('select version from effect order by n')).map(({ version }) => Number(version));

suite('when another consumer becomes active', { concurrency: true }, () => {
  test('on SIGTERM with 50 events held, each takes effect once, in order, and none is dead-lettered', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    const record = await recorder(carrier);
    using slow = gate();
    const first = carrier.consume(async (tx, event) => {
      await record(tx, event, 'first');
      if (versionOf(event) === 1) await slow.pass();
    });
    await isConnected(carrier);
    for (const version of range(1, 60)) await carrier.append(1, version);
    await carrier.relay();
    await slow.reached;
    // One stands by. What the first holds, it has not begun, except for version 1.
    carrier.consume((tx, event) => record(tx, event, 'second'));
    await carrier.line(() => carrier.lines.filter(({ event }) => event === 'RabbitMQ connected').length === 2, 'the second consumer');
    const ended = first[Symbol.asyncDispose]();
    for (const version of range(61, 80)) await carrier.append(1, version);
    await carrier.relay();
    slow.open();
    await ended;
    await carrier.line(() => carrier.lines.filter(({ event }) => event.startsWith('Received event')).length === 80, 'the last event');
    assert.deepEqual(await effects(carrier), range(1, 80));
    const by = await carrier.database.query('select consumer from effect where version = 1 or version = 80 order by n');
    assert.deepEqual(by, [{ consumer: 'first' }, { consumer: 'second' }]);
    assert.deepEqual(await carrier.database.query('select from dead_letter'), []);
  });

  test('an event that RabbitMQ delivers after a later one of its user takes effect before that one, from the log', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    const record = await recorder(carrier);
    carrier.consume((tx, event) => record(tx, event, 'only'));
    await isConnected(carrier);
    await carrier.append(1, 1);
    await carrier.relay();
    await carrier.line(({ event }) => event.startsWith('Received event'));
    // The queue misses versions 2 to 5, as one that was unbound or deleted, and gets 6 first.
    await connected(carrier, (connection) => connection.queueUnbind({ exchange: 'user_events', queue, routingKey: 'user.*' }));
    await connected(carrier, (connection) => connection.queueDeclare({ queue: 'elsewhere', durable: true }));
    await connected(carrier, (connection) => connection.queueBind({ exchange: 'user_events', queue: 'elsewhere', routingKey: 'user.*' }));
    for (const version of range(2, 6)) await carrier.append(1, version, { traceId: `late-${version}` });
    await carrier.relay();
    const bodies = await connected(carrier, async (connection) => {
      const taken = [];
      for (const _ of range(2, 6)) taken.push((await connection.basicGet({ queue: 'elsewhere', noAck: true }))?.body);
      return taken.map((body) => Buffer.from(JSON.stringify(body)));
    });
    await publish(
      carrier,
      bodies.reverse().map((body) => [{}, body]),
    );
    await carrier.line(() => carrier.lines.filter(({ event }) => event === 'Received event user.updated again').length === 4, 'the others');
    assert.deepEqual(await effects(carrier), range(1, 6));
    const caughtUp = carrier.lines.filter(({ from }) => from === 'log').map(({ trace_id }) => trace_id);
    assert.deepEqual(caughtUp, ['late-2', 'late-3', 'late-4', 'late-5']);
    assert.equal((await carrier.metrics.caughtUp.get()).values[0]?.value, 4);
    assert.deepEqual(await carrier.database.query('select from dead_letter'), []);
  });

  test('an earlier event that fails when taken from the log is retried later, and the later one waits behind it', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    const record = await recorder(carrier);
    let failures = 2;
    carrier.consume(async (tx, event) => {
      if (versionOf(event) === 2 && failures-- > 0) throw new Error('not yet');
      await record(tx, event, 'only');
    });
    await isConnected(carrier);
    await carrier.append(1, 1);
    await carrier.relay();
    await carrier.line(({ event }) => event.startsWith('Received event'));
    // Version 2 is in the log, and was delivered to nobody.
    await carrier.append(1, 2);
    await carrier.step();
    await carrier.line(({ event }) => event === 'Event user.updated failed and will be tried again');
    await carrier.append(1, 3);
    await carrier.relay();
    await carrier.line(() => carrier.lines.filter(({ event }) => event.startsWith('Received event')).length === 3, 'version 3');
    assert.deepEqual(await effects(carrier), [1, 2, 3]);
  });

  test('two consumers that hold the same events, as after one was frozen, let each take effect once and in order', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    const record = await recorder(carrier);
    using slow = gate();
    carrier.consume(async (tx, event) => {
      await record(tx, event, 'first');
      if (versionOf(event) === 3) await slow.pass();
    });
    await isConnected(carrier);
    for (const version of range(1, 20)) await carrier.append(1, version);
    await carrier.relay();
    await slow.reached;
    // RabbitMQ gives everything to another consumer, while the first is in the middle of version 3.
    carrier.consume((tx, event) => record(tx, event, 'second'));
    await carrier.line(() => carrier.lines.filter(({ event }) => event === 'RabbitMQ connected').length === 2, 'the second consumer');
    await connected(carrier, (connection) => connection.queueDelete({ queue }));
    // The lines of connections are at most one a second, so that none may say it.
    while (!(await connected(carrier, isConsumed)));
    for (const version of range(21, 30)) await carrier.append(1, version);
    await carrier.relay();
    slow.open();
    const handled = () => carrier.lines.filter(({ event }) => event.startsWith('Received event')).length;
    const last = carrier.line(() => handled() === 30, 'the last event');
    // What came before the queue was bound is published again.
    while (await Promise.race([last.then(() => false), carrier.step().then(() => true)]));
    assert.deepEqual(await effects(carrier), range(1, 30));
    assert.deepEqual(await carrier.database.query('select from dead_letter'), []);
  });
});

suite('an event whose queue was deleted with it', { concurrency: true }, () => {
  test('is taken from the log, in order, once', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    const record = await recorder(carrier);
    // The queue is there, and nobody reads it.
    const former = carrier.consume(async () => {});
    await isConnected(carrier);
    await former[Symbol.asyncDispose]();
    // PostgreSQL's clock was a day ahead once; times in the log never run back.
    await carrier.database.query(`update event_state set logged_at = now() + interval '1 day'`);
    for (const user of [1, 2]) for (const version of range(1, 3)) await carrier.append(user, version);
    await connected(carrier, (connection) => connection.queueDeclare({ queue: 'elsewhere', durable: true }));
    await connected(carrier, (connection) => connection.queueBind({ exchange: 'user_events', queue: 'elsewhere', routingKey: 'user.*' }));
    await carrier.relay();
    await connected(carrier, (connection) => connection.queueDelete({ queue }));
    const consumer = carrier.consume((tx, event) => record(tx, event, 'only'));
    const isConsumer = ({ event, component }: Line) => event === 'RabbitMQ connected' && component === 'consumer';
    await carrier.line(() => carrier.lines.filter(isConsumer).length === 2, 'the second consumer');
    await carrier.append(3, 1);
    await carrier.relay();
    await carrier.line(({ event }) => event === 'Received event user.updated with user_id=3');
    assert.deepEqual(await effects(carrier), [1]);
    while ((await consumer.reconcile()) > 0);
    const rows = await carrier.database.query('select version from effect order by n offset 1');
    assert.equal(rows.length, 6);
    assert.deepEqual(new Set(carrier.lines.filter(({ from }) => from === 'log').map(({ trace_id }) => trace_id)).size, 6);
    for (const user of [1, 2]) {
      const own = carrier.lines.filter(({ from, user_id }) => from === 'log' && user_id === user).map(({ trace_id }) => trace_id);
      assert.deepEqual(
        own,
        range(1, 3).map((version) => `trace-${user}-${version}`),
      );
    }
  });
});

suite('messages that are not valid events', { concurrency: true }, () => {
  test('are dead-lettered at once, byte for byte with properties and headers, and delay no event', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    carrier.consume(async () => {});
    await isConnected(carrier);
    const deep = Buffer.from(`{"event_type":${'['.repeat(200_000)}${']'.repeat(200_000)}}`);
    const poison: [envelope: Envelope, body: Buffer][] = [
      [{ contentType: 'application/json' }, Buffer.from('{not json')],
      [{ contentType: 'application/json' }, Buffer.from('[1]')],
      [{ contentType: 'application/json', correlationId: 'poisoned' }, Buffer.from('{"event_type":"user.exploded"}')],
      [{ contentType: 'text/plain', contentEncoding: 'utf-8' }, Buffer.from('hello')],
      [{}, Buffer.alloc(0)],
      [{ contentType: 'application/json' }, deep],
      [{ contentType: 'application/json' }, Buffer.from([0x22, 0xff, 0xfe, 0x00, 0x22])],
      [{ contentType: 'application/json' }, Buffer.from('{ "n": 9007199254740993, "a": 1, "a": 2 }\r\n')],
      [{ headers: { rollcall_attempts: 'many', rollcall_reason: 7 } }, Buffer.from('{}')],
      [{ headers: { baggage: 'x'.repeat(60_000), trace_id: 'bulky' } }, Buffer.from('{}')],
      [
        { headers: { table: { list: [1, 'two', null, true, 2.5] }, big: 2 ** 40 }, priority: 3, type: 'a\0b', messageId: 'm-1' },
        Buffer.from('1'),
      ],
      [{ contentType: 'application/json' }, Buffer.alloc(1_500_000, ' ')],
    ];
    await publish(carrier, poison);
    await publish(carrier, [[{}, Buffer.from(JSON.stringify(eventBody(1)))]]);
    await carrier.line(({ event }) => event === 'Received event user.updated with user_id=1');
    await buried(carrier, poison.length);
    type Row = { body: Buffer; properties: Record<string, unknown>; headers: Record<string, unknown>; attempts: number; reason: string };
    const rows = await carrier.database.query<Row>('select body, properties, headers, attempts, reason from dead_letter');
    assert.equal(rows.length, poison.length);
    for (const [{ headers = {}, ...envelope }, body] of poison) {
      const row = rows.find((candidate) => candidate.body.equals(body) && JSON.stringify(candidate.headers) === JSON.stringify(headers));
      assert.ok(row !== undefined, `no dead letter is the message ${body.subarray(0, 40)}`);
      const { deliveryMode, timestamp, ...properties } = row.properties;
      assert.deepEqual([properties, deliveryMode, typeof timestamp], [envelope, 2, 'number']);
      assert.equal(row.attempts, 1);
      assert.match(row.reason, /^breaks the schema: /);
    }
    // None of them cost the channel of the others.
    assert.ok(!carrier.lines.some(({ event }) => event === 'RabbitMQ connection lost'));
    const lines = carrier.lines.filter(({ event }) => event.startsWith('Received a message that is no event'));
    assert.equal(lines.length, poison.length);
    assert.ok(lines.some(({ trace_id }) => trace_id === 'poisoned') && lines.some(({ trace_id }) => trace_id === 'bulky'));
    assert.equal((await carrier.metrics.deadLettered.get()).values[0]?.value, poison.length);
  });

  test('messages that RabbitMQ or an older version dead-lettered are taken out of the dead-letter queue', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    carrier.consume(async () => {});
    await isConnected(carrier);
    const handled = eventBody(1, 7);
    await publish(carrier, [[{}, Buffer.from(JSON.stringify(handled))]]);
    await carrier.line(({ event }) => event === 'Received event user.updated with user_id=7');
    const dlq = { routingKey: `${queue}.dlq` };
    const lost = eventBody(3, 8);
    await publish(carrier, [
      [{ ...dlq, headers: { rollcall_attempts: 5, rollcall_reason: 'it was full' } }, Buffer.from('old')],
      [{ ...dlq, headers: { rollcall_attempts: 'NaN' } }, Buffer.from('odd')],
      [{ ...dlq, messageId: lost.event_id, headers: { 'x-first-death-reason': 'delivery_limit' } }, Buffer.from(JSON.stringify(lost))],
      [dlq, Buffer.from(JSON.stringify(handled))],
    ]);
    await buried(carrier, 3);
    await connected(carrier, async (connection) => {
      // What was handled is in no need of burying: it leaves the queue without a letter.
      while ((await connection.queueDeclare({ queue: `${queue}.dlq`, passive: true })).messageCount > 0);
    });
    const rows = await carrier.database.query(
      'select attempts, reason, subject, version, message_id from dead_letter order by reason, attempts',
    );
    assert.deepEqual(rows, [
      { attempts: 0, reason: 'given up by RabbitMQ (delivery_limit)', subject: 'user:8', version: '3', message_id: lost.event_id },
      { attempts: 0, reason: 'given up by RabbitMQ (no reason given)', subject: null, version: null, message_id: null },
      { attempts: 5, reason: 'it was full', subject: null, version: null, message_id: null },
    ]);
  });
});

suite('a dead letter', { concurrency: true }, () => {
  test('keeps body, id, trace id and reason, and takes effect when redriven', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    let isClosed = true;
    carrier.consume(async () => {
      if (isClosed) throw new Error('the ledger is closed');
    });
    await isConnected(carrier);
    const id = await carrier.append(1, 1, { traceId: 'doomed' });
    await carrier.relay();
    await buried(carrier, 1);
    const [letter] = await find(carrier.pool, [id]);
    assert.deepEqual(
      [
        letter?.messageId,
        letter?.type,
        letter?.traceId,
        letter?.subject,
        letter?.reason,
        letter?.attempts,
        JSON.parse(String(letter?.body)).event_id,
      ],
      [id, 'user.updated', 'doomed', 'user:1', 'the ledger is closed', retryDelaysMs.length + 1, id],
    );
    isClosed = false;
    assert.equal(await carrier.redrive(letter?.id ?? ''), undefined);
    const line = await carrier.line(({ event }) => event === 'Received event user.updated with user_id=1');
    assert.equal(line.trace_id, 'doomed');
    assert.deepEqual(await find(carrier.pool, [id]), []);
  });

  test('that is not a valid event stays, with the reason', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    carrier.consume(async () => {});
    await isConnected(carrier);
    await publish(carrier, [
      [{ messageId: 'one', headers: { 'x-death': [{ count: 1 }], bytes: 'b' } }, Buffer.from('1')],
      [{ messageId: 'two' }, Buffer.from('{"event_type": "user.created"}')],
    ]);
    await buried(carrier, 2);
    // Either may be buried first.
    const [[one], [two]] = [await find(carrier.pool, ['one']), await find(carrier.pool, ['two'])];
    assert.deepEqual(await carrier.redrive(one?.id ?? ''), { refused: 'it is no event of ours: the body is not a JSON object' });
    assert.match(JSON.stringify(await carrier.redrive(two?.id ?? '')), /it is no event of ours: it has no event_id and no version/);
    assert.equal(await carrier.redrive('999999'), 'not there');
    assert.deepEqual([await find(carrier.pool, ['one']), await find(carrier.pool, ['two'])], [[one], [two]]);
  });

  test('that comes after a later version when redriven is dead-lettered again, in order of versions', async () => {
    await using carrier = await startCarrier('RabbitMQ');
    const seen: number[] = [];
    let failing = true;
    carrier.consume(async (_tx, event) => {
      if (versionOf(event) === 1 && failing) throw new Error('never');
      seen.push(versionOf(event));
    });
    await isConnected(carrier);
    const id = await carrier.append(1, 1);
    await carrier.append(1, 2);
    await carrier.relay();
    await carrier.line(() => seen.length === 1, 'version 2');
    failing = false;
    const [letter] = await find(carrier.pool, [id]);
    assert.equal(await carrier.redrive(letter?.id ?? ''), undefined);
    await carrier.line(({ event }) => event === 'Event user.updated came after a later version; dead-lettered');
    const letters = await carrier.database.query('select event_id, reason from dead_letter');
    assert.deepEqual(letters, [{ event_id: id, reason: 'version 2 was handled before it' }]);
    assert.deepEqual(seen, [2]);
  });
});
