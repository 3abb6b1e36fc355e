import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { createPrecedence } from '../../src/platform/http/precedence.ts';

function setUp() {
  const server = new EventEmitter();
  const precedence = createPrecedence();
  precedence.addTo({ server: server as Server });
  const arrive = () => {
    const response = new EventEmitter();
    server.emit('request', {}, response);
    return { response: response as ServerResponse, answer: () => response.emit('close') };
  };
  /** What a stream does: it may go on at the moment at which this gives true. */
  const startRest = () => {
    const rest = { over: false };
    void precedence.giveWay().then(() => {
      rest.over = true;
    });
    return rest;
  };
  return { precedence, arrive, startRest };
}

const microtasks = () => new Promise((resolve) => process.nextTick(resolve));

test('streams go on at once where nobody waits for an answer', async () => {
  const { startRest } = setUp();
  const rest = startRest();
  await microtasks();
  assert.equal(rest.over, true);
});

test('streams wait until the last request is answered, and all of them together', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { arrive, startRest } = setUp();
  const [first, second] = [arrive(), arrive()];
  const rests = [startRest(), startRest()];
  first.answer();
  await microtasks();
  assert.deepEqual(rests, [{ over: false }, { over: false }]);
  second.answer();
  await microtasks();
  assert.deepEqual(rests, [{ over: true }, { over: true }]);
});

test('streams go on after 10 ms, whatever waits', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { arrive, startRest } = setUp();
  arrive();
  const rest = startRest();
  t.mock.timers.tick(9);
  await microtasks();
  assert.equal(rest.over, false);
  t.mock.timers.tick(1);
  await microtasks();
  assert.equal(rest.over, true);
});

test('an answer that is a stream itself holds up no stream', async () => {
  const { precedence, arrive, startRest } = setUp();
  precedence.exempt(arrive().response);
  const rest = startRest();
  await microtasks();
  assert.equal(rest.over, true);
});
