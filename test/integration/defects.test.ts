// A defect is not an outage: what waiting does not cure is told with its cause and given up, and holds up nobody.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createMetrics } from '../../src/app/metrics.ts';
import { startPool, type Tx } from '../../src/platform/db/client.ts';
import { DatabaseUnavailableError } from '../../src/platform/db/unavailable.ts';
import { startRelay } from '../../src/platform/events/relay.ts';
import { createDatabase } from '../support/database.ts';
import { startCarrier } from '../support/events.ts';
import { captureLog } from '../support/log.ts';
import { createPublisher } from '../support/publisher.ts';

const circular: { self?: object } = {};
circular.self = circular;

const defects: Readonly<Record<string, readonly [effect: (tx: Tx) => Promise<unknown>, reason: RegExp]>> = {
  'a table that is not there': [(tx) => tx.query('select * from nowhere'), /relation "nowhere" does not exist/],
  'a column that is not there': [(tx) => tx.query('select nothing from inbox'), /column "nothing" does not exist/],
  'a right that is missing': [(tx) => tx.query('select * from pg_authid'), /permission denied/],
  'a syntax error': [(tx) => tx.query('selec 1'), /syntax error/],
  'a value that the driver cannot send': [(tx) => tx.query('select $1::json', [circular]), /circular/],
  'an error without a code': [() => Promise.reject(new TypeError('x is undefined')), /x is undefined/],
};

suite('a defect in an effect', { concurrency: true }, () => {
  for (const [what, [effect, reason]] of Object.entries(defects))
    test(`${what}: it is tried again, logged with its cause, dead-lettered, and the next user's event is handled`, async () => {
      await using carrier = await startCarrier('in-process');
      carrier.consume(async (tx, { data }) => {
        if (data['user_id'] === 1) await effect(tx);
      });
      await carrier.append(1, 1);
      await carrier.append(2, 1);
      await carrier.relay();
      const line = await carrier.line(({ event }) => /dead-lettered$/.test(event));
      assert.match((line['error'] as { message: string }).message, reason);
      await carrier.line((handled) => /^Received event/.test(handled.event) && handled['user_id'] === 2);
      const letters = await carrier.database.query<{ attempts: number; reason: string }>('select attempts, reason from dead_letter');
      assert.deepEqual(
        letters.map(({ attempts }) => attempts),
        [3],
      );
      assert.match(letters[0]?.reason ?? '', reason);
    });
});

test('an outage in an effect is waited for, and counts as no attempt', async () => {
  await using carrier = await startCarrier('in-process');
  let failures = 0;
  carrier.consume(async (tx) => {
    failures += 1;
    if (failures < 3) await tx.query('select pg_terminate_backend(pg_backend_pid())');
  });
  await carrier.append(1, 1);
  await carrier.relay();
  await carrier.line(({ event }) => /^Received event/.test(event));
  assert.deepEqual(await carrier.database.query('select attempts from delivery_retry union all select attempts from dead_letter'), []);
});

test('the relay logs the cause, not the sentence for callers', async () => {
  await using database = await createDatabase();
  await using pool = startPool({ url: database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 }, 2);
  const captured = captureLog();
  const publisher = createPublisher(() => 'routed');
  const metrics = createMetrics({ name: 'test', version: '0' }).events;
  await database.query('alter table outbox rename to elsewhere');
  await using _relay = startRelay({ pool, publisher, violationOf: () => undefined, onLogged: () => {}, metrics, log: captured.log });
  const line = await captured.line(({ event }) => event === 'Relay interrupted; events wait');
  assert.match(String(line['reason']), /relation "outbox" does not exist/);
});

test('an unreachable server is a DatabaseUnavailableError with its cause', async () => {
  await using pool = startPool(
    {
      url: 'postgresql://nobody@127.0.0.1:1/nothing?sslmode=disable',
      applicationName: 'test',
      connectTimeoutMs: 1000,
      statementTimeoutMs: 0,
    },
    1,
  );
  await assert.rejects(
    pool.query('select 1'),
    (error: Error) => error instanceof DatabaseUnavailableError && /ECONNREFUSED/.test(String((error.cause as { code?: string }).code)),
  );
});
