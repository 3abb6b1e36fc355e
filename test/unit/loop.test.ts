// The loop that the relay and the pruning run in: it never overlaps itself, wakes at once, and ends when it is told to.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { startLoop } from '../../src/platform/runtime/loop.ts';

/** A step that the test ends by hand. */
function createStep() {
  const rounds: PromiseWithResolvers<number>[] = [];
  const waiting: (() => void)[] = [];
  let running = 0;
  let runningMax = 0;
  return {
    get count() {
      return rounds.length;
    },
    get runningMax() {
      return runningMax;
    },
    async run(): Promise<number> {
      const round = Promise.withResolvers<number>();
      rounds.push(round);
      runningMax = Math.max(runningMax, ++running);
      for (const resolve of waiting.splice(0)) resolve();
      try {
        return await round.promise;
      } finally {
        running -= 1;
      }
    },
    /** Ends the round under way, which asks for a pause. */
    end(pauseMs: number): Promise<void> {
      rounds.at(-1)?.resolve(pauseMs);
      return nextTurn();
    },
    /** Resolves when the next round has begun. */
    begun(): Promise<void> {
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}

const hour = 3_600_000;

suite('a loop', () => {
  test('runs its step at once, and again after each pause that the step asks for', async ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const step = createStep();
    await using _loop = startLoop(step.run);
    assert.equal(step.count, 1);
    await step.end(1000);
    mock.timers.tick(999);
    await nextTurn();
    assert.equal(step.count, 1);
    mock.timers.tick(1);
    await nextTurn();
    assert.equal(step.count, 2);
    await step.end(20);
    mock.timers.tick(20);
    await nextTurn();
    assert.equal(step.count, 3);
    await step.end(hour);
  });

  test('wakes from a pause at once, and once for many calls', async () => {
    const step = createStep();
    await using loop = startLoop(step.run);
    await step.end(hour);
    const begun = step.begun();
    loop.wake();
    loop.wake();
    loop.wake();
    await begun;
    await step.end(hour);
    assert.equal(step.count, 2);
  });

  test('skips the next pause when it is woken during a step, so that no wake is lost', async () => {
    const step = createStep();
    await using loop = startLoop(step.run);
    loop.wake();
    assert.equal(step.count, 1);
    await step.end(hour);
    assert.equal(step.count, 2);
    await step.end(hour);
    assert.equal(step.count, 2);
  });

  test('never runs two steps at a time, however often it is woken', async () => {
    const step = createStep();
    await using loop = startLoop(step.run);
    for (let round = 0; round < 10; round += 1) {
      for (let call = 0; call < 10; call += 1) loop.wake();
      await step.end(hour);
    }
    assert.deepEqual([step.count, step.runningMax], [11, 1]);
    await step.end(hour);
  });

  test('ends at once when it is stopped in a pause, and leaves no timer behind', async () => {
    const step = createStep();
    const loop = startLoop(step.run);
    await step.end(hour);
    await loop[Symbol.asyncDispose]();
    loop.wake();
    await nextTurn();
    assert.equal(step.count, 1);
    assert.ok(!process.getActiveResourcesInfo().includes('Timeout'));
  });

  test('lets a step under way finish before it is stopped, and begins no other', async () => {
    const step = createStep();
    const loop = startLoop(step.run);
    let stopped = false;
    const stopping = loop[Symbol.asyncDispose]().then(() => {
      stopped = true;
    });
    await nextTurn();
    assert.equal(stopped, false);
    await step.end(hour);
    await stopping;
    assert.equal(step.count, 1);
  });
});
