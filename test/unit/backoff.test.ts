// The waits between attempts: growing, bounded, and never the same for all.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { backoffMs } from '../../src/platform/runtime/backoff.ts';

const bounds = { firstMs: 50, maxMs: 2000 };
const justBelowOne = 1 - Number.EPSILON;

suite('backoffMs', () => {
  test('doubles its bounds with each failure, up to the greatest wait', ({ mock }) => {
    const random = mock.method(Math, 'random', () => 0);
    const shortest = [0, 1, 2, 3, 4, 5, 6, 7].map((failures) => backoffMs(failures, bounds));
    random.mock.mockImplementation(() => justBelowOne);
    const longest = [0, 1, 2, 3, 4, 5, 6, 7].map((failures) => Math.round(backoffMs(failures, bounds)));
    assert.deepEqual(shortest, [25, 50, 100, 200, 400, 800, 1000, 1000]);
    assert.deepEqual(longest, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
  });

  test('stays in the upper half of its ceiling, and differs from caller to caller', () => {
    const waits = Array.from({ length: 1000 }, () => backoffMs(3, bounds));
    assert.ok(waits.every((ms) => ms >= 200 && ms <= 400));
    assert.ok(new Set(waits).size > 900);
  });

  test('stays at its greatest wait however many failures there were', () => {
    for (const failures of [31, 1100, Number.MAX_SAFE_INTEGER]) {
      const ms = backoffMs(failures, bounds);
      assert.ok(ms >= 1000 && ms <= 2000, `${ms} ms after ${failures} failures`);
    }
  });
});
