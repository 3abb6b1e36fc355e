// What waits for a reader of stdout: kept up to a bound, counted beyond it, written in order, and never waited for without a limit.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Output } from '../../src/platform/telemetry/output.ts';

/** An output whose reader takes a text when the test says so. */
function createReader() {
  const texts: string[] = [];
  let done: ((error?: Error) => void) | undefined;
  const output = new Output((text, whenDone) => {
    texts.push(text);
    done = whenDone;
  });
  return {
    output,
    texts,
    async take(error?: Error) {
      await nextTurn();
      const taken = done;
      done = undefined;
      taken?.(error);
    },
  };
}

const line = `${'x'.repeat(1023)}\n`;

suite('an output', () => {
  test('writes what came in one turn at once, and keeps the order', async () => {
    const { output, texts, take } = createReader();
    for (const text of ['a', 'b', 'c']) output.write(text);
    await take();
    output.write('d');
    await take();
    await output.flush(60_000);
    assert.deepEqual(texts, ['abc', 'd']);
  });

  test('keeps 4 MiB while nobody takes them, counts the lines beyond that, and tells once there is room', async () => {
    const { output, texts, take } = createReader();
    const told: number[] = [];
    output.onRoom = (dropped) => told.push(dropped);
    output.write('first\n');
    await nextTurn();
    for (let n = 0; n < 5000; n += 1) output.write(line);
    assert.equal(output.dropped, 5000 - 4096);
    while (texts.join('').length < 6 + 4096 * line.length) await take();
    await take();
    assert.deepEqual(told, [904]);
    output.write('last\n');
    await take();
    assert.equal(texts.join(''), `first\n${line.repeat(4096)}last\n`);
    assert.equal(output.dropped, 904);
  });

  test('that failed takes nothing more, counts what it does not take, and is waited for no longer', async () => {
    const { output, texts, take } = createReader();
    output.write('a\n');
    await nextTurn();
    output.write('b\n');
    const flushed = output.flush(3_600_000);
    await take(new Error('EPIPE'));
    await flushed;
    output.write('c\n');
    await nextTurn();
    assert.deepEqual([texts, output.dropped], [['a\n'], 3]);
    await output.flush(3_600_000);
  });

  test('that nobody reads is waited for as long as is said', async () => {
    const { output } = createReader();
    output.write('a\n');
    await output.flush(1);
  });
});

suite('stdout', () => {
  const src = (path: string) => JSON.stringify(new URL(`../../src/platform/telemetry/${path}`, import.meta.url).href);
  const preamble = `
    const { createLogger } = await import(${src('logger.ts')});
    const { outputTo } = await import(${src('output.ts')});
    const log = createLogger({ level: 'info', appName: 'test' });`;
  const run = (script: string, stdout: 'pipe' | number = 'pipe') =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', preamble + script], {
      encoding: 'utf8',
      stdio: ['ignore', stdout, 'pipe'],
      timeout: 60_000,
    });

  test('has every line of a process that ends by itself, and the last one of a process that exits at once', () => {
    const many = run(`for (let n = 0; n < 5000; n += 1) log.info({ n }, 'hello');`);
    assert.equal(many.stdout.trimEnd().split('\n').length, 5000);
    const { status, stdout } = run(`log.fatal('the end'); process.exit(3);`);
    assert.deepEqual([status, JSON.parse(stdout).event], [3, 'the end']);
  });

  test('on a disk that is full neither ends the process nor keeps it from its end', { skip: process.platform !== 'linux' }, () => {
    const full = openSync('/dev/full', 'w');
    try {
      const { status, stderr } = run(
        `log.info('hello');
         await outputTo('stdout').flush(300);
         process.stderr.write('still here');
         process.exit(0);`,
        full,
      );
      assert.deepEqual([status, stderr], [0, 'still here']);
    } finally {
      closeSync(full);
    }
  });
});
