// JSON Patch and JSON Merge Patch as values.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import specTests from 'json-patch-test-suite/spec_tests.json' with { type: 'json' };
import tests from 'json-patch-test-suite/tests.json' with { type: 'json' };
import { applyPatch, mergePatch, readPatch } from '../../src/platform/http/patch.ts';
import { Problem } from '../../src/platform/problem.ts';

type Case = {
  readonly doc: unknown;
  readonly patch: unknown;
  readonly expected?: unknown;
  readonly error?: string;
  readonly comment?: string;
};
const cases: readonly Case[] = [...tests, ...specTests];

const apply = (document: unknown, patch: unknown) => applyPatch(document, readPatch(patch));

const codeOf = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
  return undefined;
};

suite('JSON Patch', () => {
  test('keeps json-patch-test-suite, all of it', () => {
    assert.ok(cases.length > 90, `${cases.length} cases`);
    for (const { doc, patch, expected, error, comment } of cases) {
      // No value has two members of one name: a parser keeps one, or refuses the text.
      if (error?.includes("two 'op' members")) continue;
      const before = structuredClone(doc);
      const about = comment ?? JSON.stringify(patch);
      if (error === undefined) assert.deepEqual(apply(doc, patch), expected === undefined ? doc : expected, about);
      else assert.ok(['malformed_body', 'patch_conflict'].includes(String(codeOf(() => apply(doc, patch)))), about);
      assert.deepEqual(doc, before, 'the document itself is left as it is');
    }
  });

  test('refuses paths to a prototype, loops and bombs', () => {
    assert.equal(
      codeOf(() => apply({ a: {} }, [{ op: 'add', path: '/a/__proto__/polluted', value: 1 }])),
      'malformed_body',
    );
    assert.equal(
      codeOf(() => apply({}, [{ op: 'add', path: '/constructor/prototype/polluted', value: 1 }])),
      'patch_conflict',
    );
    assert.equal(
      codeOf(() => apply({ a: 1 }, [{ op: 'move', from: '', path: '/a' }])),
      'malformed_body',
    );
    const bomb = Array.from({ length: 60 }, (_, n) => ({ op: 'copy', from: '', path: `/${n}` }));
    assert.equal(
      codeOf(() => apply({ a: 'x' }, bomb)),
      'malformed_body',
    );
    assert.equal(
      codeOf(() =>
        apply(
          {},
          Array.from({ length: 1001 }, () => ({ op: 'add', path: '/a', value: 1 })),
        ),
      ),
      'malformed_body',
    );
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });

  test('puts a copy where two places would share an object', () => {
    const patch = [
      { op: 'add', path: '/a', value: { n: 1 } },
      { op: 'copy', from: '/a', path: '/b' },
      { op: 'replace', path: '/a/n', value: 2 },
    ];
    assert.deepEqual(apply({}, patch), { a: { n: 2 }, b: { n: 1 } });
  });
});

// RFC 7396, appendix A.
const merges: readonly (readonly [target: unknown, patch: unknown, result: unknown])[] = [
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'd'],
  ],
  [{ a: 'b' }, ['c'], ['c']],
  [{ a: 'foo' }, null, null],
  [{ a: 'foo' }, 'bar', 'bar'],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: 'b', c: null }, { a: 'b' }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];

test('JSON Merge Patch does what RFC 7396 shows', () => {
  for (const [target, patch, result] of merges) assert.deepEqual(mergePatch(target, patch), result, JSON.stringify(patch));
});
