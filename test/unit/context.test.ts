// The trace id of a unit of work: taken from the caller only in a form that is safe to write and to send on.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as context from '../../src/platform/context.ts';

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';
const traceparent = `00-${traceId}-${parentId}-01`;
const traceIdOf = (value: string) => value.split('-')[1];

suite('the trace id', () => {
  test('is a valid X-Request-Id, also beside a traceparent', () => {
    for (const id of ['a', 'order-42', '7.3:x_Y', 'A'.repeat(128), '0af7651916cd43dd8448eb211c80319c'])
      for (const parent of [undefined, traceparent]) assert.equal(context.createContext(id, parent).traceId, id);
  });

  test('is never an invalid X-Request-Id', () => {
    for (const id of ['', ' ', 'a b', 'a\nb', 'a\n', '\na', 'A'.repeat(129), 'ü', 'a"b', '{}', 'a/b', 'a\u0000', 'a,b', '\u202Ea']) {
      assert.match(context.createContext(id, undefined).traceId, uuidPattern, JSON.stringify(id));
      assert.equal(context.createContext(id, traceparent).traceId, traceId, JSON.stringify(id));
    }
  });

  test('is a new UUID where the caller sends nothing', () => {
    const ids = Array.from({ length: 100 }, () => context.createContext(undefined, undefined).traceId);
    for (const id of ids) assert.match(id, uuidPattern);
    assert.equal(new Set(ids).size, 100);
  });
});

// W3C Trace Context, section 3.2.
const traceparents: readonly [value: string, valid: boolean, why: string][] = [
  [traceparent, true, 'version 00, sampled'],
  [`00-${traceId}-${parentId}-00`, true, 'version 00, not sampled'],
  [`01-${traceId}-${parentId}-01`, true, 'a later version with four fields'],
  [`01-${traceId}-${parentId}-01-more`, true, 'a later version with more fields'],
  [`01-${traceId}-${parentId}-01-`, true, 'a later version with an empty field more'],
  [`fe-${traceId}-${parentId}-01-a-b`, true, 'the last version that is valid'],
  [`00-${traceId}-${parentId}-01-more`, false, 'version 00 has four fields'],
  [`00-${traceId}-${parentId}-01-`, false, 'version 00 ends with its flags'],
  [`01-${traceId}-${parentId}-01more`, false, 'a further field begins with a dash'],
  [`ff-${traceId}-${parentId}-01`, false, 'version ff is forbidden'],
  [`00-${'0'.repeat(32)}-${parentId}-01`, false, 'a trace id of zeros'],
  [`00-${traceId}-${'0'.repeat(16)}-01`, false, 'a parent id of zeros'],
  [`00-${traceId.toUpperCase()}-${parentId}-01`, false, 'upper case in the trace id'],
  [`00-${traceId}-${parentId.toUpperCase()}-01`, false, 'upper case in the parent id'],
  [`0A-${traceId}-${parentId}-01`, false, 'upper case in the version'],
  [`00-${traceId}-${parentId}-0A`, false, 'upper case in the flags'],
  [`00-${traceId.slice(1)}-${parentId}-01`, false, 'a short trace id'],
  [`00-${traceId}0-${parentId}-01`, false, 'a long trace id'],
  [`00-${traceId}-${parentId.slice(1)}-01`, false, 'a short parent id'],
  [`00-${traceId}-${parentId}-1`, false, 'short flags'],
  [`00-${traceId}-${parentId}`, false, 'no flags'],
  [`0-${traceId}-${parentId}-01`, false, 'a short version'],
  [` ${traceparent}`, false, 'a space ahead'],
  [`${traceparent} `, false, 'a space behind'],
  [`00-${traceId}-${parentId}-01,00-${traceId}-${parentId}-01`, false, 'two of them'],
  ['', false, 'nothing'],
  [traceId, false, 'no fields'],
];

suite('traceparent', () => {
  for (const [value, valid, why] of traceparents) {
    test(`${valid ? 'is continued' : 'counts as absent'}: ${why}`, () => {
      const made = context.createContext(undefined, value);
      if (valid) assert.equal(made.traceId, traceId);
      else assert.match(made.traceId, uuidPattern);
      assert.equal(traceIdOf(made.traceparent) === traceId, valid);
    });
  }

  test('that is sent on is of version 00, valid, and names a parent of its own', () => {
    const made = Array.from({ length: 100 }, () => context.createContext(undefined, traceparent).traceparent);
    for (const value of made) {
      assert.match(value, new RegExp(`^00-${traceId}-(?!0{16})[0-9a-f]{16}-01$`));
      assert.ok(!value.includes(parentId));
    }
    assert.equal(new Set(made).size, 100);
  });

  test("that is sent on keeps the caller's choice not to be sampled", () => {
    assert.match(context.createContext(undefined, `00-${traceId}-${parentId}-00`).traceparent, /-00$/);
    assert.match(context.createContext('order-42', `00-${traceId}-${parentId}-00`).traceparent, /-00$/);
  });

  test('that is sent on has no flag but that one, since version 00 knows no other', () => {
    for (const [given, kept] of [
      ['ff', '01'],
      ['03', '01'],
      ['fe', '00'],
      ['02', '00'],
    ] as const) {
      assert.equal(context.createContext(undefined, `00-${traceId}-${parentId}-${given}`).traceparent.slice(-2), kept);
      assert.equal(context.createContext(undefined, `01-${traceId}-${parentId}-${given}-more`).traceparent.slice(-2), kept);
    }
  });

  test("continues the caller's trace although X-Request-Id gives the trace id", () => {
    const made = context.createContext('order-42', traceparent);
    assert.deepEqual([made.traceId, traceIdOf(made.traceparent)], ['order-42', traceId]);
  });

  test('of a trace id that is a UUID is that UUID, so that both find one trace', () => {
    const id = '0b9a3ad4-7f0e-4a1c-9d2f-6f3c1c2b7a10';
    for (const given of [id, id.toUpperCase(), id.replaceAll('-', '')])
      assert.equal(traceIdOf(context.createContext(given, undefined).traceparent), '0b9a3ad47f0e4a1c9d2f6f3c1c2b7a10');
    const fresh = context.createContext(undefined, undefined);
    assert.equal(traceIdOf(fresh.traceparent), fresh.traceId.replaceAll('-', ''));
  });

  test('of any other trace id is derived from it: the same each time, another for another id, and valid', () => {
    const derived = (id: string) => traceIdOf(context.createContext(id, undefined).traceparent);
    for (const id of ['order-42', 'a', '0'.repeat(32), '-'.repeat(32)]) {
      assert.match(derived(id) ?? '', /^(?!0{32})[0-9a-f]{32}$/);
      assert.equal(derived(id), derived(id));
    }
    assert.notEqual(derived('order-42'), derived('order-43'));
  });
});

suite('the context', () => {
  test('is that of its own unit of work, whatever runs beside it, and none outside', async () => {
    const seen = await Promise.all(
      ['one', 'two', 'three'].map((id) =>
        context.run(context.createContext(id, undefined), async () => {
          const first = context.current()?.traceId;
          await nextTurn();
          return [first, context.current()?.traceId];
        }),
      ),
    );
    assert.deepEqual(seen, [
      ['one', 'one'],
      ['two', 'two'],
      ['three', 'three'],
    ]);
    assert.equal(context.current(), undefined);
  });
});
