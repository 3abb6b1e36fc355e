// The log: lines that a machine can read, the trace id of their unit of work on each, and no secret on any.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as context from '../../src/platform/context.ts';
import { captureLog } from '../support/log.ts';

const contextOf = (id: string) => context.createContext(id, undefined);

suite('a log line', () => {
  test('is one JSON object with event, level, timestamp and app', () => {
    const { log, lines, text } = captureLog();
    log.info({ port: 8000 }, 'Service started');
    const [line] = lines;
    assert.ok(text().endsWith('}\n') && text().indexOf('\n') === text().length - 1);
    assert.match(line?.timestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/);
    assert.deepEqual({ ...line, timestamp: '' }, { level: 'info', timestamp: '', app: 'rollcall', port: 8000, event: 'Service started' });
  });

  test('is always one line', () => {
    const { log, lines, text } = captureLog();
    log.info({ path: '/a\nb"}' }, 'first\nsecond');
    assert.equal(text().split('\n').length, 2);
    assert.deepEqual([lines[0]?.event, lines[0]?.['path']], ['first\nsecond', '/a\nb"}']);
  });

  test('below the level is not written', () => {
    const { log, lines } = captureLog('warn');
    log.debug('no');
    log.info('no');
    log.warn('yes');
    log.error('yes');
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn', 'error'],
    );
  });

  test('has message and stack of an error', () => {
    const { log, lines } = captureLog();
    log.error({ error: new TypeError('broken') }, 'Request failed');
    const error = lines[0]?.['error'] as Record<string, string> | undefined;
    assert.deepEqual([error?.['type'], error?.['message']], ['TypeError', 'broken']);
    assert.match(error?.['stack'] ?? '', /logger\.test\.ts/);
  });
});

suite('the trace id of a log line', () => {
  test('is that of its unit of work, in each module and after each await', async () => {
    const { log, lines } = captureLog();
    await Promise.all(
      ['one', 'two'].map((id) =>
        context.run(contextOf(id), async () => {
          log.info({ of: id }, 'before');
          await nextTurn();
          log.info({ of: id }, 'after');
        }),
      ),
    );
    assert.equal(lines.length, 4);
    for (const line of lines) assert.equal(line.trace_id, line['of']);
  });

  test('is absent outside a unit of work', () => {
    const { log, lines } = captureLog();
    context.run(contextOf('one'), () => log.info('inside'));
    log.info('outside');
    assert.deepEqual(
      lines.map(({ trace_id }) => trace_id),
      ['one', undefined],
    );
  });

  test('comes alone: the fields of a line are not on the lines after it, in its unit of work or another', () => {
    const { log, lines } = captureLog();
    context.run(contextOf('one'), () => {
      log.info({ user_id: 1, event_id: 'a' }, 'first');
      log.info('second');
    });
    context.run(contextOf('two'), () => log.info('third'));
    assert.deepEqual(Object.keys(lines[0] ?? {}).sort(), ['app', 'event', 'event_id', 'level', 'timestamp', 'trace_id', 'user_id']);
    for (const line of lines.slice(1)) assert.deepEqual(Object.keys(line).sort(), ['app', 'event', 'level', 'timestamp', 'trace_id']);
  });
});

suite('a secret', () => {
  for (const key of ['password', 'hash', 'authorization', 'cookie', 'token', 'secret', 'database_url', 'rabbitmq_url']) {
    test(`under the key ${key} is not written, on its own, in an object, in an object of it, or in a list`, () => {
      const { log, lines, text } = captureLog();
      log.info({ [key]: 's3cret' }, 'flat');
      log.info({ user: { [key]: 's3cret', id: 1 } }, 'nested');
      log.info({ request: { headers: { [key]: 's3cret' } } }, 'nested twice');
      log.info({ users: [{ [key]: 's3cret' }] }, 'in a list');
      assert.ok(!text().includes('s3cret'));
      assert.equal(lines[0]?.[key], '[redacted]');
      assert.deepEqual(lines[1]?.['user'], { [key]: '[redacted]', id: 1 });
    });
  }

  test('is none under public_url', () => {
    const { log, lines } = captureLog();
    log.info({ public_url: 'http://localhost:8000' }, 'hello');
    assert.equal(lines[0]?.['public_url'], 'http://localhost:8000');
  });

  test('is found in any case, as part of a key, and deep inside', () => {
    const { log, text } = captureLog();
    log.info({ Authorization: 's3cret', NEW_PASSWORD: 's3cret', refreshToken: 's3cret', DATABASE_ADMIN_URL: 's3cret' }, 'flat');
    log.info({ a: { b: { c: { d: { password: 's3cret' } } } } }, 'deep');
    assert.ok(!text().includes('s3cret'));
  });

  test('that an error carries in a field of its own is not written', () => {
    const { log, text } = captureLog();
    log.error({ error: Object.assign(new Error('no'), { password: 's3cret', config: { password: 's3cret' } }) }, 'Request failed');
    assert.ok(!text().includes('s3cret'));
  });

  test('is removed from the line, not from the logged object', () => {
    const { log } = captureLog();
    const user = { name: 'John', password: 's3cret' };
    log.info({ user }, 'kept');
    assert.equal(user.password, 's3cret');
  });
});
