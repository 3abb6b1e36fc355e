// The shape of src: which file may import which, where each outside package enters, and what names may say.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

// Lowest first. What stands on one floor does not know its neighbours; a folder that is named by its path stands for itself.
const floors = [
  ['platform/context', 'platform/problem', 'platform/runtime'],
  ['platform/telemetry', 'platform/security'],
  ['platform/db'],
  ['private-postgres', 'platform/events', 'platform/http'],
  ['platform/feature'],
  ['features'],
  ['features/list'],
  ['config'],
  ['app'],
  ['main', 'cli'],
];

// Inside platform/events, lowest first: what the rooms offer, what runs between them, and what an operator does.
const rooms = ['contract', 'store', '.', 'rabbitmq', 'operations'];

// Where a package enters; replacing it is then one change. Builders of schemas are values, and may be made anywhere.
const doors: Readonly<Record<string, readonly string[]>> = {
  commander: ['cli'],
  dataloader: ['features', 'platform/events'],
  pg: ['platform/db', 'private-postgres'],
  'rabbitmq-client': ['platform/events'],
  fastify: ['platform/http', 'features'],
  '@fastify/proxy-addr': ['platform/http'],
  '@fastify/rate-limit': ['platform/http'],
  '@fastify/swagger': ['platform/http'],
  '@fastify/type-provider-typebox': ['platform/http'],
  '@msgpack/msgpack': ['platform/http'],
  ajv: ['config', 'platform/http', 'platform/events'],
  'ajv-formats': ['platform/http', 'platform/events'],
  pino: ['platform/telemetry'],
  'pino-pretty': ['platform/telemetry'],
  '@prometheus-io/client': ['platform/telemetry'],
  '@fastify/fast-json-stringify-compiler': ['platform/http'],
  '@node-rs/argon2': ['platform/security'],
  unhomoglyph: ['platform/runtime'],
  typebox: [
    'config',
    'platform/feature',
    'platform/runtime',
    'platform/telemetry',
    'platform/db',
    'platform/events',
    'platform/http',
    'private-postgres',
    'features',
  ],
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

/** What of the floors a file belongs to. `src/features.ts` is the list, above the features. */
function placeOf(path: string): string {
  if (path === 'src/features.ts') return 'features/list';
  const [, first = '', second = ''] = path.replace(/\.ts$/, '').split('/');
  return first === 'platform' ? `platform/${second}` : first;
}

/** Of `src/features/<name>/...`. */
const featureOf = (path: string) => /^src\/features\/([^/]+)\//.exec(path)?.[1];

function roomOf(path: string): string | undefined {
  const [, room] = /^src\/platform\/events\/(?:([^/]+)\/)?[^/]+$/.exec(path) ?? [];
  return path.startsWith('src/platform/events/') ? (room ?? '.') : undefined;
}

function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}

function floorOf(path: string): number {
  return floors.findIndex((floor) => floor.includes(placeOf(path)));
}

/** The rule that is broken, where, and what to do about it. */
function assertNone(broken: readonly string[], rule: string, cure: string): void {
  assert.ok(broken.length === 0, `${rule}\n  ${broken.join('\n  ')}\n${cure}`);
}

suite('architecture', () => {
  test('everything that the rules name exists', () => {
    const places = new Set(files.map(({ path }) => placeOf(path)));
    const named = [...floors.flat(), ...Object.values(doors).flat()];
    assertNone(
      named.filter((place) => !places.has(place)),
      'The rules name folders or files that src/ does not have:',
      'Take them out of test/architecture.test.ts.',
    );
    const imported = new Set(files.flatMap(({ imports }) => imports.map(packageOf)));
    assertNone(
      Object.keys(doors).filter((name) => !imported.has(name)),
      'The rules give doors to packages that nothing imports:',
      'Take them out of test/architecture.test.ts.',
    );
  });

  test('there are files to check, and each belongs to a layer', () => {
    assert.ok(files.length > 30);
    assertNone(
      files.map(({ path }) => path).filter((path) => floorOf(path) === -1),
      'These files stand on no floor:',
      'Give their folder a floor in test/architecture.test.ts: above all that it imports, below all that import it.',
    );
  });

  test('a file imports from its own folder or a lower floor, never sideways or up', () => {
    const wrong = files.flatMap((file) =>
      local(file)
        .filter((target) => target.startsWith('src/') && placeOf(target) !== placeOf(file.path) && floorOf(target) >= floorOf(file.path))
        .map((target) => `${file.path} -> ${target}`),
    );
    assertNone(
      wrong,
      'A file imports from its own folder or a lower floor:',
      'Hand the value in from src/app/system.ts, or move what both need to a lower floor.',
    );
  });

  test('a feature imports no other feature', () => {
    const list = files.find(({ path }) => path === 'src/features.ts');
    const listed = new Set((list === undefined ? [] : local(list)).map(featureOf).filter((name) => name !== undefined));
    const folders = new Set(files.map(({ path }) => featureOf(path)).filter((name) => name !== undefined));
    assertNone([...folders.difference(listed)], 'A feature stands in src/features.ts:', 'Add it to the list.');
    assertNone(
      files.flatMap((file) => {
        const own = featureOf(file.path);
        if (own === undefined) return [];
        return local(file)
          .filter((target) => featureOf(target) !== undefined && featureOf(target) !== own)
          .map((target) => `${file.path} -> ${target}`);
      }),
      'A feature imports no other feature:',
      'Take what it needs from the platform. Where it builds on a feature below it in the list, allow that through its feature.ts here.',
    );
  });

  test('the rooms of platform/events import only from lower ones', () => {
    const wrong = files.flatMap((file) => {
      const own = roomOf(file.path);
      if (own === undefined) return [];
      return local(file)
        .filter((target) => {
          const room = roomOf(target);
          return room !== undefined && rooms.indexOf(room) > rooms.indexOf(own);
        })
        .map((target) => `${file.path} -> ${target}`);
    });
    assertNone(wrong, `The rooms of platform/events are, lowest first, ${rooms.join(', ')}:`, 'Move what both need to the lower room.');
  });

  test('every import names a file that exists, and nothing in src imports from outside src', () => {
    const paths = new Set(files.map(({ path }) => path));
    assertNone(
      files.flatMap((file) =>
        local(file)
          .filter((target) => !paths.has(target))
          .map((target) => `${file.path} -> ${target}`),
      ),
      'An import names a file of src/ that exists:',
      'Write its path with its extension; what src/ needs from outside belongs into src/.',
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
    assertNone(
      [...new Set(files.map(({ path }) => walk(path, [])?.join(' -> ')))].filter((circle) => circle !== undefined),
      'Imports go in a circle:',
      'Move what both ends need into a file of its own.',
    );
  });

  test('an outside package enters through its own door', () => {
    const wrong = files.flatMap(({ path, imports }) =>
      imports
        .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
        .map(packageOf)
        .filter((name) => !(doors[name] ?? []).includes(placeOf(path)))
        .map((name) => `${path} imports ${name}`),
    );
    assertNone(
      wrong,
      'A package enters through its own door:',
      'Use what the folder of its door offers, or add a door to test/architecture.test.ts.',
    );
  });

  test('only config.ts reads the environment', () => {
    const wrong = files.filter(({ path, text }) => path !== 'src/config.ts' && /process\.env\b/.test(text)).map(({ path }) => path);
    assertNone(wrong, 'Only src/config.ts reads the environment:', 'Declare a setting there, and hand its value in.');
  });

  test('no file has a name that explains nothing, and a file never repeats the name of its folder', () => {
    const empty = /^(utils?|helpers?|common|shared|lib|misc|types|interfaces|base|manager|index)$/;
    const wrong = files
      .map(({ path }) => path)
      .filter(
        (path) =>
          path.split('/').some((part) => empty.test(part.replace(/\.ts$/, ''))) ||
          /\/(\w+)\/\1[.-]/.test(path.replace('src/features/feature', '')),
      );
    assertNone(wrong, 'A name says what is in a file, and does not repeat its folder:', 'Name it after what it owns.');
  });

  test('every file opens with what it owns', () => {
    assertNone(
      files.filter(({ text }) => !text.startsWith('// ')).map(({ path }) => path),
      'A file opens with a comment of one to three lines:',
      'Say what the file owns, and the promise that it keeps.',
    );
  });
});
