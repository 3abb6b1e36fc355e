// Events that are taken together: as few statements as it goes, and none of them pays for another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPool } from '../../src/platform/db/client.ts';
import { queue } from '../../src/platform/events/contract/topology.ts';
import { createClaims } from '../../src/platform/events/store/inbox.ts';
import { createDatabase } from '../support/database.ts';

const made = (subject: string, version: number, event_id: string = crypto.randomUUID()) => ({
  subscription: queue,
  event: { event_id, event_type: 'user.updated', occurred_at: '2025-01-01T10:00:00.000000Z', trace_id: 'trace', data: {} },
  subject,
  version,
});

async function start() {
  const database = await createDatabase();
  const pool = startPool({ url: database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 }, 2);
  let statements = 0;
  const claim = createClaims({
    query(text, values) {
      statements += 1;
      return pool.query(text, values);
    },
  });
  return {
    claim,
    statements: () => statements,
    rows: () => pool.query<{ subject: string; version: string }>('select subject, version from inbox order by subject, version'),
    async [Symbol.asyncDispose]() {
      await pool[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

test('fifty concurrent claims are one statement, and two if the last version is unknown', async () => {
  await using inbox = await start();
  const all = Array.from({ length: 50 }, (_, n) => inbox.claim(made(`${n}`, 1)));
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const later = Array.from({ length: 50 }, (_, n) => inbox.claim(made(`${100 + n}`, 4)));
  assert.deepEqual(new Set(await Promise.all([...all, ...later])), new Set([true]));
  assert.equal(inbox.statements(), 3);
  assert.equal((await inbox.rows()).length, 100);
});

test('each is judged on its own: the next, a duplicate, one ahead of its turn', async () => {
  await using inbox = await start();
  const first = made('1', 1);
  assert.equal(await inbox.claim(first), true);
  const answers = await Promise.all([inbox.claim(made('1', 2)), inbox.claim(first), inbox.claim(made('1', 5)), inbox.claim(made('2', 1))]);
  assert.deepEqual(answers, [true, false, false, true]);
});

test('an id that comes twice is taken once, in capital letters too', async () => {
  await using inbox = await start();
  const id = crypto.randomUUID();
  const answers = await Promise.all([inbox.claim(made('1', 1, id.toUpperCase())), inbox.claim(made('2', 1, id))]);
  assert.deepEqual(answers.toSorted(), [false, true]);
  assert.equal((await inbox.rows()).length, 1);
});

test('one that PostgreSQL refuses fails alone', async () => {
  await using inbox = await start();
  const answers = await Promise.allSettled([inbox.claim(made('1', 1)), inbox.claim(made('2', 1, 'no id')), inbox.claim(made('3', 1))]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(
    (await inbox.rows()).map(({ subject }) => subject),
    ['1', '3'],
  );
});
