// The files that are made from the code: their names, and what stands in each. `npm run generate` writes them, and
// `npm run check` and the tests compare them.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { startSystem } from '../src/app/system.ts';
import { readConfig } from '../src/config.ts';
import { createLogger } from '../src/platform/telemetry/logger.ts';
import { startEmbedded } from '../src/private-postgres/server.ts';
import { describeSchema } from './schema.ts';
import { environmentExample, fill, metricsTable, settingsTable } from './tables.ts';

/** Starts the service on an empty database and asks it. @returns the text of each file, by its name */
export async function generate(): Promise<Map<string, string>> {
  await using stack = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'rollcall-generate-'));
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  const server = stack.use(await startEmbedded({ dataDir, holder: 'npm run generate', log: () => {}, settings: { fsync: 'off' } }));
  const config = readConfig({ DATABASE_URL: server.url, PORT: '0', SHUTDOWN_DRAIN_MS: '0' });
  const log = createLogger({ level: 'silent', appName: config.APP_NAME }, new Writable({ write: (_chunk, _encoding, done) => done() }));
  const system = stack.use(await startSystem(config, log));

  async function served(path: string): Promise<string> {
    const response = await fetch(`${system.url}${path}`);
    return `${JSON.stringify(await response.json(), null, 2)}\n`;
  }
  const operations = await readFile(new URL('../docs/operations.md', import.meta.url), 'utf8');
  return new Map([
    ['openapi.json', await served('/schema/openapi.json')],
    ['asyncapi.json', await served('/schema/asyncapi.json')],
    ['schema.sql', await describeSchema(server.url)],
    ['.env.example', environmentExample()],
    ['docs/operations.md', fill(fill(operations, 'settings', settingsTable()), 'metrics', await metricsTable())],
  ]);
}
