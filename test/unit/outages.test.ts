// What the log says of a connection that is lost and comes back: one line each, never more than one a second.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createLogger } from '../../src/platform/telemetry/logger.ts';
import { createOutages } from '../../src/platform/telemetry/outages.ts';

function createScene() {
  const lines: { event: string; level: string; reason?: string; away_seconds?: number; losses?: number }[] = [];
  const log = createLogger({ level: 'info', appName: 'test' }, { write: (text: string) => lines.push(JSON.parse(text)) });
  return { lines, outages: createOutages(log, 'publisher', { lost: 'Lost', back: 'Back' }) };
}

suite('a connection that is lost and comes back', () => {
  test('is logged in one line each, with the time between', ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    let nowMs = 10_000;
    mock.method(performance, 'now', () => nowMs);
    const { lines, outages } = createScene();
    outages.back();
    nowMs += 60_000;
    outages.lost('ECONNRESET');
    outages.lost('ECONNREFUSED');
    nowMs += 5250;
    outages.back();
    outages.back();
    assert.deepEqual(
      lines.map(({ event, level, reason, away_seconds, losses }) => [event, level, reason, away_seconds, losses]),
      [
        ['Back', 'info', undefined, 0, undefined],
        ['Lost', 'warn', 'ECONNRESET', undefined, undefined],
        ['Back', 'info', undefined, 5.25, undefined],
      ],
    );
  });

  test('every 50 ms is logged once a second, and at last how it ended and how often it was lost', ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    let nowMs = 10_000;
    mock.method(performance, 'now', () => nowMs);
    const pass = (ms: number) => {
      nowMs += ms;
      mock.timers.tick(ms);
    };
    const { lines, outages } = createScene();
    const toldAt: number[] = [];
    for (let n = 0; n < 100; n += 1) {
      const before = lines.length;
      outages.lost('reset');
      pass(25);
      outages.back();
      pass(25);
      if (lines.length > before) toldAt.push(nowMs);
      assert.ok(lines.length - before <= 1);
    }
    pass(1000);
    assert.ok(lines.length >= 2 && lines.length <= 7, `${lines.length} lines in six seconds`);
    assert.equal(lines.at(-1)?.event, 'Back');
    assert.equal(
      lines.reduce((sum, { event, losses = 1 }) => sum + (event === 'Back' ? losses : 0), 0),
      100,
    );
    for (const [n, at] of toldAt.slice(1).entries()) assert.ok(at - (toldAt[n] ?? 0) >= 950);
  });
});
