// Callers who take turns at what there is too little of.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Caller, createTurns, TurnRefused } from '../../src/platform/runtime/turns.ts';

const hourMs = 3_600_000;

/** Turns of which a test ends each by hand; `begun` and `refused` say what happened to whom, in order. */
function watchTurns(limits: Partial<Parameters<typeof createTurns>[0]> = {}) {
  const turns = createTurns({ atOnce: 1, waitingMax: 1000, waitMsMax: hourMs, few: 0, waitMsMaxOfFew: hourMs, ...limits });
  const begun: string[] = [];
  const refused: string[] = [];
  const ends: (() => void)[] = [];
  const take = (name: string, caller: Partial<Caller> = {}) =>
    turns.take({ name, since: performance.now(), gone: () => false, ...caller }).then(
      (end) => {
        begun.push(name);
        ends.push(end);
      },
      (error: unknown) => {
        assert.ok(error instanceof TurnRefused);
        refused.push(`${name} ${error.why}`);
      },
    );
  return {
    turns,
    begun,
    refused,
    take,
    async end() {
      await nextTurn();
      ends.shift()?.();
      await nextTurn();
    },
    [Symbol.dispose]: () => turns.close(),
  };
}

suite('turns', () => {
  test('go round: who asks once waits for what is under way, not for all that another has asked for before', async () => {
    using watched = watchTurns();
    const { begun, take, end } = watched;
    for (let n = 0; n < 500; n += 1) void take('flood');
    for (const name of ['one', 'two', 'one']) void take(name);
    for (let n = 0; n < 6; n += 1) await end();
    assert.deepEqual(begun, ['flood', 'flood', 'one', 'two', 'flood', 'one', 'flood']);
  });

  test('are as many at once as may be, and none is lost or given twice', async () => {
    using watched = watchTurns({ atOnce: 2 });
    const { turns, begun, take, end } = watched;
    for (let n = 0; n < 9; n += 1) void take(`caller ${n % 3}`);
    await nextTurn();
    assert.deepEqual([begun.length, turns.waiting], [2, 7]);
    for (let n = 1; n <= 7; n += 1) {
      await end();
      assert.deepEqual([begun.length, turns.waiting], [2 + n, 7 - n]);
    }
    await end();
    await end();
    await take('later');
    assert.equal(begun.at(-1), 'later');
  });

  test('have an end to how many wait: a caller with few gets the place of one with many, and one with many is refused', async () => {
    using watched = watchTurns({ waitingMax: 3 });
    const { turns, refused, take } = watched;
    for (let n = 0; n < 5; n += 1) void take('flood');
    await nextTurn();
    assert.deepEqual(refused, ['flood full']);
    void take('one');
    void take('two');
    await nextTurn();
    assert.deepEqual(refused, ['flood full', 'flood full', 'flood full']);
    // Each has one place now.
    void take('flood');
    void take('three');
    await nextTurn();
    assert.deepEqual(refused.slice(3), ['flood full', 'three full']);
    assert.equal(turns.waiting, 3);
  });

  test('are waited for until the limit, of which what the caller waited before is a part', async () => {
    using watched = watchTurns();
    const { turns, refused, take, begun, end } = watched;
    void take('at work');
    await take('late', { since: performance.now() - hourMs });
    assert.deepEqual([refused, turns.waiting], [['late late'], 0]);
    await end();
    assert.deepEqual(begun, ['at work']);
  });

  test('are waited for longer by a caller of whom few wait', async () => {
    using watched = watchTurns({ few: 2, waitMsMax: 1, waitMsMaxOfFew: hourMs });
    const { turns, refused, take, end } = watched;
    void take('at work');
    const flood = Array.from({ length: 5 }, () => take('flood'));
    const one = take('one');
    while (turns.waiting > 3) await Promise.race(flood.splice(0, 1));
    assert.deepEqual(refused, ['flood late', 'flood late', 'flood late']);
    for (let n = 0; n < 3; n += 1) await end();
    await Promise.all([one, ...flood]);
    assert.equal(turns.waiting, 0);
    void take('slow');
    await take('slow', { since: performance.now() - hourMs });
    assert.equal(refused.at(-1), 'slow late');
  });

  test('are given to nobody who has gone, and those who have gone take no place', async () => {
    using watched = watchTurns({ waitingMax: 4 });
    const { turns, begun, refused, take, end } = watched;
    let gone = false;
    for (let n = 0; n < 5; n += 1) void take('flood', { gone: () => gone });
    gone = true;
    void take('flood', { gone: () => false });
    await nextTurn();
    assert.deepEqual([refused, turns.waiting], [Array(4).fill('flood gone'), 1]);
    void take('left', { gone: () => true });
    void take('stays');
    for (let n = 0; n < 3; n += 1) await end();
    assert.deepEqual(begun, ['flood', 'flood', 'stays']);
    assert.equal(refused.at(-1), 'left gone');
  });

  test('without a caller have no limit of time, and end with the queue', async () => {
    using watched = watchTurns({ waitMsMax: 0 });
    const { turns } = watched;
    const end = await turns.take();
    const waits = turns.take();
    end();
    await waits;
    const closed = assert.rejects(turns.take(), { why: 'closed' });
    turns.close();
    await closed;
    await assert.rejects(turns.take(), { why: 'closed' });
    assert.equal(turns.waiting, 0);
  });
});
