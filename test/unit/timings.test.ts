import assert from 'node:assert/strict';
import { test } from 'node:test';
import { own, type Timings, timingIssues } from '../../src/app/timings.ts';

const right: Timings = { ...own, confirmTimeoutMs: 10_000, retryDelaysMs: [1000, 5000] };

test('the timings fit each other, with the longest confirm timeout allowed', () => {
  assert.deepEqual(timingIssues(right), []);
});

test('each broken relation is named', () => {
  const wrong: readonly (readonly [Partial<Timings>, RegExp])[] = [
    [{ confirmTimeoutMs: 11_000 }, /RABBITMQ_CONFIRM_TIMEOUT_MS \(11000\)/],
    [{ batchMs: 10_000 }, /RABBITMQ_CONFIRM_TIMEOUT_MS/],
    [{ idleInTransactionMs: 5000 }, /RABBITMQ_CONFIRM_TIMEOUT_MS/],
    [{ retryDelaysMs: [1000, 600_000] }, /more than 10 minutes/],
    [{ retryDelaysMs: [5000, 1000] }, /get shorter/],
    [{ sinceDays: 7 }, /take effect twice/],
  ];
  for (const [change, words] of wrong) {
    const issues = timingIssues({ ...right, ...change });
    assert.equal(issues.length, 1, JSON.stringify(change));
    assert.match(issues[0] ?? '', words);
  }
});
