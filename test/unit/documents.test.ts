// What the documents name is there: commands, files, links.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

const foreign = /^(node_modules|\.data|\.git|coverage)(\/|$)/;
const documents = globSync('**/*.md', { cwd: root, exclude: (path) => foreign.test(path) }).map((path) => ({
  path,
  text: readFileSync(join(root, path), 'utf8'),
}));

/** Every find in every document, with the document that it stands in. */
function found(pattern: RegExp): { path: string; name: string }[] {
  return documents.flatMap(({ path, text }) => [...text.matchAll(pattern)].map((match) => ({ path, name: match[1] ?? '' })));
}

/** The anchors that GitHub makes for the headings of a document. */
function anchorsOf(path: string): string[] {
  const headings = [...readFileSync(path, 'utf8').matchAll(/^#{1,6} (.+)$/gm)].map(([, text = '']) => text);
  return headings.map((text) =>
    text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

const told = (finds: { path: string; name: string }[]) => finds.map(({ path, name }) => `${path}: ${name}`);

suite('the documents', () => {
  test('are found', () => {
    assert.ok(documents.length > 15);
    assert.ok(documents.every(({ path }) => !path.includes('node_modules')));
  });

  test('name only commands that package.json has', () => {
    const named = found(/\bnpm (?:run )?((?<=run )[\w:-]+|test\b|start\b)/g);
    assert.ok(named.length > 10);
    assert.deepEqual(told(named.filter(({ name }) => !Object.hasOwn(scripts, name))), []);
  });

  test('name every command that package.json has, in one place or another', () => {
    const named = new Set([...found(/\bnpm (?:run )?([\w:-]+)/g), ...found(/`((?:test|check):\w+)`/g)].map(({ name }) => name));
    const parts = Object.keys(scripts).filter((name) => readFileSync(join(root, 'scripts/check.ts'), 'utf8').includes(`'${name}':`));
    assert.ok(parts.length > 5);
    assert.deepEqual(
      Object.keys(scripts).filter((name) => !named.has(name) && !parts.includes(name)),
      [],
    );
  });

  test('link only to files and headings that exist', () => {
    const links = found(/\]\(([^)\s]+)\)/g).filter(({ name }) => !/^[a-z]+:/.test(name));
    assert.ok(links.length > 10);
    const broken = links.filter(({ path, name }) => {
      const [file = '', anchor] = name.split('#');
      const target = file === '' ? join(root, path) : join(root, dirname(path), file);
      return !existsSync(target) || (anchor !== undefined && !anchorsOf(target).includes(anchor));
    });
    assert.deepEqual(told(broken), []);
  });

  test('name only files of the project that exist, from its root or from src/', () => {
    const extensions = /\w\.(ts|js|json|jsonc|md|sql|sh|ya?ml)$/;
    const folders = [...globSync('*/', { cwd: root }), ...globSync('*/', { cwd: join(root, 'src') })].map((name) =>
      name.replace(/\/$/, ''),
    );
    const paths = found(/`((?:\.\/)?[\w@.-]+(?:\/[\w@.-]+)*\/?)`/g).filter(
      ({ name }) => extensions.test(name) || (name.includes('/') && folders.includes(name.replace(/^\.\//, '').split('/')[0] ?? '')),
    );
    assert.ok(paths.length > 50);
    // CONTRIBUTING.md lists the files of test/support by their bare names, and shows the form of a name with capital N for digits.
    const places = ['', 'src', 'test/support'].map((folder) => join(root, folder));
    const missing = paths.filter(({ name }) => !name.includes('/NNNN_') && !places.some((place) => existsSync(join(place, name))));
    assert.deepEqual(told(missing), []);
  });

  test('name only settings that exist', () => {
    const known = readFileSync(join(root, '.env.example'), 'utf8');
    const families = /^(DATABASE|RABBITMQ|HTTP|EVENT|CORS|SHUTDOWN|PASSWORD|RATE|TRUST|LOG|APP|DATA)_[A-Z_]+$/;
    const named = found(/`([A-Z_]+)(?:=[^`]*)?`/g).filter(({ name }) => families.test(name));
    assert.ok(named.length > 20);
    assert.deepEqual(told(named.filter(({ name }) => !new RegExp(`^#?${name}=`, 'm').test(known))), []);
  });

  test('name only tests that exist, behind each promise of docs/events.md', () => {
    const page = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8');
    const named = [...page.matchAll(/`((?:api|integration|models)\/[\w-]+)`((?:,? "[^"]+")+)/g)].flatMap(([, file = '', titles = '']) =>
      [...titles.matchAll(/"([^"]+)"/g)].map(([, title = '']) => ({ file, title })),
    );
    assert.ok(named.length > 10);
    const missing = named.filter(({ file, title }) => {
      const source = readFileSync(new URL(`../${file}.test.ts`, import.meta.url), 'utf8');
      return !source.includes(title);
    });
    assert.deepEqual(missing, []);
  });
});
