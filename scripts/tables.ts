// The parts of documents that are lists of what the code has: settings and metrics.
import type { TObject, TSchema } from 'typebox';
import { createMetrics } from '../src/app/metrics.ts';
import { formatDefault, Settings } from '../src/config.ts';

type Described = TSchema & { description: string };
const settings = Object.entries((Settings as TObject).properties) as [name: string, schema: Described][];

// Its default changes with each release; the description says where it comes from.
function defaultOf(name: string, schema: TSchema): string {
  return name === 'APP_VERSION' ? '' : formatDefault(schema);
}

export function settingsTable(): string {
  const rows = settings.map(([name, schema]) => {
    const byDefault = defaultOf(name, schema);
    return `| \`${name}\` | ${byDefault === '' ? '' : `\`${byDefault}\``} | ${schema.description} |`;
  });
  return ['| setting | default | meaning |', '|---|---|---|', ...rows].join('\n');
}

export function environmentExample(): string {
  const lines = settings.map(([name, schema]) => `# ${schema.description.replaceAll('`', '')}\n#${name}=${defaultOf(name, schema)}\n`);
  return [
    '# Settings of Rollcall, each with its default; docs/operations.md says the same. Copy this file to .env and take away the',
    '# "#" of what you want to change. Made by "npm run generate" from src/config.ts.',
    '',
    ...lines,
    '# For compose.yaml alone: the passwords of the two servers that it starts. ./setup.sh fills them in with random ones.',
    'POSTGRES_PASSWORD=',
    'RABBITMQ_PASSWORD=',
    '',
  ].join('\n');
}

export async function metricsTable(): Promise<string> {
  const metrics = createMetrics({ name: 'rollcall', version: '0' });
  metrics.watch({
    pool: { size: 0, idle: 0, waiting: 0 },
    passwords: { waiting: 0 },
    streams: { open: 0 },
    backlog: async () => ({ depth: 0, oldestSeconds: 0, deadRows: 0 }),
    isBrokerConnected: () => true,
  });
  const all = await metrics.registry.getMetricsAsJSON();
  // Those that the library collects of any Node process are not listed.
  const rows = all
    .filter(({ name }) => name.startsWith('rollcall_'))
    .map(({ name, type, help }) => ({ name, type: String(type), help }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
  return ['| metric | type | meaning |', '|---|---|---|', ...rows].join('\n');
}

/** Puts `table` between the markers of that name. @throws where the document has no such markers */
export function fill(document: string, name: string, table: string): string {
  const markers = new RegExp(`(<!-- ${name}:begin -->\\n)[^]*?(<!-- ${name}:end -->)`);
  if (!markers.test(document)) throw new Error(`the document has no place for the table of ${name}`);
  return document.replace(markers, (_all, begin, end) => `${begin}${table}\n${end}`);
}
