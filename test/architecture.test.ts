// The shape of src: which file may import which, where each outside package enters, and what names may say.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

// Lowest first. What stands on one floor does not know its neighbours.
const floors = [
  ['config', 'context', 'problem', 'runtime'],
  ['telemetry', 'security'],
  ['db'],
  ['events', 'http'],
  ['users'],
  ['auth', 'feed', 'health'],
  ['app'],
  ['schema'],
  ['system', 'faults'],
  ['main', 'cli'],
];

// Where a package enters; replacing it is then one change. Builders of schemas are values, and may be made anywhere.
const doors: Readonly<Record<string, readonly string[]>> = {
  commander: ['cli'],
  dataloader: ['users', 'events'],
  pg: ['db'],
  'rabbitmq-client': ['events'],
  fastify: ['http', 'feed'],
  '@fastify/proxy-addr': ['http'],
  '@fastify/rate-limit': ['http'],
  '@fastify/swagger': ['http'],
  '@fastify/type-provider-typebox': ['http'],
  '@msgpack/msgpack': ['http'],
  ajv: ['http', 'events'],
  'ajv-formats': ['http', 'events'],
  pino: ['telemetry'],
  'pino-pretty': ['telemetry'],
  '@prometheus-io/client': ['telemetry'],
  '@node-rs/argon2': ['security'],
  piscina: ['security'],
  typebox: ['config', 'db', 'events', 'http', 'users', 'feed', 'health'],
};

type File = { readonly path: string; readonly text: string; readonly imports: readonly string[] };

const files: File[] = globSync('src/**/*.ts', { cwd: root }).map((path) => {
  const text = readFileSync(join(root, path), 'utf8');
  const imports = [
    ...text.matchAll(/(?:^|\n)(?:import|export)\s(?:[^;'"()=`]*?\sfrom\s)?['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/g),
  ].map((match) => match[1] ?? match[2] ?? '');
  return { path, text, imports };
});
const local = ({ path, imports }: File) =>
  imports.filter((name) => name.startsWith('.')).map((name) => relative(root, join(root, dirname(path), name)));

/** The folder below src that a file belongs to, or its own name where it stands in src itself. */
function placeOf(path: string): string {
  return (path.split('/')[1] ?? '').replace(/\.ts$/, '');
}

function floorOf(path: string): number {
  return floors.findIndex((floor) => floor.includes(placeOf(path)));
}

suite('architecture', () => {
  test('there are files to look at, and every one stands on a floor', () => {
    assert.ok(files.length > 30);
    assert.deepEqual(
      files.map(({ path }) => path).filter((path) => floorOf(path) === -1),
      [],
    );
  });

  test('a file imports from its own folder or a lower floor, never sideways or up', () => {
    const wrong = files.flatMap((file) =>
      local(file)
        .filter((target) => target.startsWith('src/') && placeOf(target) !== placeOf(file.path) && floorOf(target) >= floorOf(file.path))
        .map((target) => `${file.path} -> ${target}`),
    );
    assert.deepEqual(wrong, []);
  });

  test('every import names a file that exists, and nothing in src imports from outside src', () => {
    const paths = new Set(files.map(({ path }) => path));
    assert.deepEqual(
      files.flatMap((file) =>
        local(file)
          .filter((target) => !paths.has(target))
          .map((target) => `${file.path} -> ${target}`),
      ),
      [],
    );
  });

  test('no imports go in a circle, inside a folder neither', () => {
    const targets = new Map(files.map((file) => [file.path, local(file)]));
    const finished = new Set<string>();
    const walk = (path: string, trail: readonly string[]): string[] | undefined => {
      if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
      if (finished.has(path)) return undefined;
      for (const target of targets.get(path) ?? []) {
        const circle = walk(target, [...trail, path]);
        if (circle !== undefined) return circle;
      }
      finished.add(path);
      return undefined;
    };
    for (const { path } of files) assert.equal(walk(path, [])?.join(' -> '), undefined);
  });

  test('an outside package enters through its own door', () => {
    const wrong = files.flatMap(({ path, imports }) =>
      imports
        .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
        .map((name) => (name.startsWith('@') ? name.split('/').slice(0, 2) : name.split('/').slice(0, 1)).join('/'))
        .filter((name) => !(doors[name] ?? []).includes(placeOf(path)))
        .map((name) => `${path} imports ${name}`),
    );
    assert.deepEqual(wrong, []);
  });

  test('only config.ts reads the environment', () => {
    const wrong = files.filter(({ path, text }) => path !== 'src/config.ts' && /process\.env\b/.test(text)).map(({ path }) => path);
    assert.deepEqual(wrong, []);
  });

  test('no file has a name that explains nothing, and a file never repeats the name of its folder', () => {
    const empty = /^(utils?|helpers?|common|shared|lib|misc|types|interfaces|base|manager|index)$/;
    const wrong = files
      .map(({ path }) => path)
      .filter((path) => path.split('/').some((part) => empty.test(part.replace(/\.ts$/, ''))) || /\/(\w+)\/\1[.-]/.test(path));
    assert.deepEqual(wrong, []);
  });

  test('every file opens with what it owns', () => {
    assert.deepEqual(
      files.filter(({ text }) => !text.startsWith('// ')).map(({ path }) => path),
      [],
    );
  });
});
