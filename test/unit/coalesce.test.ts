// One run of a piece of work for all who ask for it at about the same time.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { coalesce } from '../../src/platform/runtime/coalesce.ts';

suite('coalesce', () => {
  test('lets a thousand who ask at once share one run, and its failure', async () => {
    let runs = 0;
    const outcome = Promise.withResolvers<number>();
    const ask = coalesce(() => {
      runs += 1;
      return outcome.promise;
    }, 3_600_000);
    const asked = Array.from({ length: 1000 }, ask);
    outcome.reject(new Error('no'));
    assert.ok((await Promise.allSettled(asked)).every(({ status }) => status === 'rejected'));
    assert.equal(runs, 1);
  });

  test('gives who comes later the result that is kept, and runs anew once it is not, or after a failure', async () => {
    let runs = 0;
    const keeping = coalesce(async () => {
      runs += 1;
      if (runs === 1) throw new Error('no');
      return runs;
    }, 3_600_000);
    await assert.rejects(keeping());
    assert.deepEqual([await keeping(), await keeping()], [2, 2]);
    const forgetting = coalesce(async () => ++runs, 0);
    assert.deepEqual([await forgetting(), await forgetting()], [3, 4]);
  });
});
