// Which media type an answer has: by what Accept says (RFC 9110, section 12.5.1), the same way for all that there are.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { preferredType } from '../../src/platform/http/negotiation.ts';

const json = 'application/json';
const msgpack = 'application/msgpack';
const sse = 'text/event-stream';

suite('preferredType', () => {
  test('picks the highest q of Accept, whatever its case, order and spaces', () => {
    const cases: [accept: string, type: string][] = [
      ['text/event-stream', sse],
      ['Text/Event-Stream', sse],
      ['TEXT/EVENT-STREAM ; Q=0.5', sse],
      ['  text/event-stream  ', sse],
      ['text/event-stream;charset=utf-8', sse],
      ['application/json;q=0.5, text/event-stream', sse],
      ['text/event-stream, application/json;q=0.9', sse],
      ['text/event-stream, */*', sse],
      ['text/event-stream, */*;q=0.1', sse],
      ['text/*', sse],
      ['text/*;q=0.2, application/*;q=0.1', sse],
      ['*/*;q=0.1, text/*;q=0.2', sse],
      ['application/msgpack, text/event-stream;q=0.9', msgpack],
      ['application/*;q=0.1, application/msgpack', msgpack],
      ['application/json;q=0, */*', msgpack],
      ['application/json, text/event-stream;q=0.1', json],
      ['application/json, text/event-stream', json],
      ['text/event-stream, application/json', json],
      ['*/*', json],
      ['application/*', json],
    ];
    for (const [accept, type] of cases) assert.equal(preferredType(accept, [json, msgpack, sse]), type, accept);
  });

  test('never picks q=0, a similar type, or an invalid q', () => {
    const cases = [
      'text/event-stream;q=0',
      'text/event-stream;q=0.0',
      'text/event-stream;q=0.000',
      'text/event-stream; q=0',
      'text/event-stream;charset=utf-8;q=0',
      'text/event-stream;q=0, */*',
      'text/event-stream;q=0, text/*;q=0.5, application/json;q=0.1',
      'text/event-streaming',
      'text/event-stream-2',
      'xtext/event-stream',
      'text/event',
      'text/',
      'event-stream',
      'text /event-stream',
      'text/event-stream;q=2',
      'text/event-stream;q=1.001',
      'text/event-stream;q=0.1234',
      'text/event-stream;q=-1',
      'text/event-stream;q=',
      'text/event-stream;q=high',
      'application/json;note="a, text/event-stream, b"',
      'application/json;note="text/event-stream;q=1"',
      'text/event-stream;note=";q=1";q=0',
      '*',
      '',
      ',,;',
    ];
    for (const accept of cases) assert.equal(preferredType(accept, [json, sse]), json, accept);
  });

  test('takes time linear in the length of the header', () => {
    for (const accept of ['"'.repeat(16_000), '\\'.repeat(16_000), '",'.repeat(8000), ';q='.repeat(5000), `${'"\\'.repeat(8000)}`]) {
      assert.equal(preferredType(accept, [json, sse]), json);
    }
  });
});
