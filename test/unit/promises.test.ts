// docs/events.md names the tests behind each promise; they are there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('each test that docs/events.md names is in the file that it names', () => {
  const page = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8');
  const named = [...page.matchAll(/`((?:api|integration|models)\/[\w-]+)`((?:,? "[^"]+")+)/g)].flatMap(([, file = '', titles = '']) =>
    [...titles.matchAll(/"([^"]+)"/g)].map(([, title = '']) => ({ file, title })),
  );
  assert.ok(named.length > 15);
  const missing = named.filter(({ file, title }) => {
    const source = readFileSync(new URL(`../${file}.test.ts`, import.meta.url), 'utf8');
    return !source.includes(title);
  });
  assert.deepEqual(missing, []);
});
