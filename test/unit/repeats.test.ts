// Lines that would come thousands of times are told once a minute, with their number.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { atMostOnceAMinute } from '../../src/platform/telemetry/repeats.ts';

suite('lines that repeat', () => {
  test('the first is written at once, the next after a minute with a count; for each key and log separately', ({ mock }) => {
    let now = 1000;
    mock.method(performance, 'now', () => now);
    const written: string[] = [];
    const [log, otherLog] = [{}, {}];
    const tell = (key: string, to = log) => atMostOnceAMinute(to, key, (count) => written.push(`${key} ${count}`));

    for (let n = 0; n < 5; n += 1) tell('a');
    tell('b');
    tell('a', otherLog);
    assert.deepEqual(written.splice(0), ['a 1', 'b 1', 'a 1']);
    now += 59_999;
    tell('a');
    assert.deepEqual(written.splice(0), []);
    now += 1;
    tell('a');
    assert.deepEqual(written.splice(0), ['a 6']);
  });
});
