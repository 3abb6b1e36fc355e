// src/config.ts, .env.example and docs/operations.md name the same settings with the same defaults; the metrics likewise.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { parseEnv } from 'node:util';
import type { TObject, TSchema } from 'typebox';
import { environmentExample, fill, metricsTable, settingsTable } from '../../scripts/tables.ts';
import { formatDefault, readConfig, Settings } from '../../src/config.ts';

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const environment = read('.env.example');
const operations = read('docs/operations.md');
const manifest = JSON.parse(read('package.json')) as { version: string };

const settings = Object.entries((Settings as TObject).properties as Record<string, TSchema>).map(([name, schema]) => ({
  name,
  // That of the version is the package's, and is told in words.
  byDefault: name === 'APP_VERSION' ? '' : formatDefault(schema),
}));

suite('.env.example', () => {
  test('names every setting of the service once, with its default, and no other but those of compose.yaml', () => {
    const named = [...environment.matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name, byDefault]) => ({ name, byDefault }));
    assert.deepEqual(named, settings);
    const active = [...environment.matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name);
    assert.deepEqual(active, ['POSTGRES_PASSWORD', 'RABBITMQ_PASSWORD']);
  });

  test('changes nothing when every line of it is made active', () => {
    const env = parseEnv(environment.replaceAll(/^#(?=[A-Z_]+=)/gm, '')) as Record<string, string>;
    assert.deepEqual(readConfig(env), readConfig({}));
  });

  test('holds no password', () => {
    for (const [name, value] of Object.entries(parseEnv(environment))) assert.equal(value, '', name);
  });

  test('is what "npm run generate" makes', () => {
    assert.equal(environment, environmentExample());
  });
});

suite('docs/operations.md', () => {
  test('names every setting once, with its default', () => {
    const [, part = ''] = /<!-- settings:begin -->([\s\S]*?)<!-- settings:end -->/.exec(operations) ?? [];
    const named = [...part.matchAll(/^\| `([A-Z_]+)` \| (?:`([^`]*)`)? \| .+ \|$/gm)].map(([, name, byDefault = '']) => ({
      name,
      byDefault,
    }));
    assert.deepEqual(named, settings);
  });

  test('has the tables of settings and metrics that "npm run generate" makes', async () => {
    assert.equal(operations, fill(fill(operations, 'settings', settingsTable()), 'metrics', await metricsTable()));
  });
});

suite('the version', () => {
  test('is that of the package where none is set', () => {
    assert.equal(readConfig({}).APP_VERSION, manifest.version);
  });
});

suite('fill', () => {
  test('puts a table between its own markers, and leaves everything else as it is', () => {
    const document = 'a\n<!-- one:begin -->\nold $1\n<!-- one:end -->\nb\n<!-- two:begin -->\n<!-- two:end -->\n';
    assert.equal(
      fill(document, 'one', '$& new'),
      document.replace('old $1', () => '$& new'),
    );
    assert.equal(fill(document, 'two', 'x'), document.replace('two:begin -->\n', 'two:begin -->\nx\n'));
  });

  test('refuses a document that has no place for the table', () => {
    assert.throws(() => fill('nothing', 'settings', 'x'), /no place for the table of settings/);
  });
});
