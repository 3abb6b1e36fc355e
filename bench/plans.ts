// The plan of each statement that a request runs.
import { endOfLog, explainSettings, plansSince } from '../harness/noted-plans.ts';
import type { Database } from './database.ts';
import type { Stage } from './stage.ts';

const settings = { ...explainSettings, 'auto_explain.log_buffers': 'on' };

/** @returns for each path the plans of its statements, once everything that it reads has been read before */
export async function explain(stage: Stage, database: Database, paths: readonly string[]): Promise<string> {
  const { query } = stage.admin;
  for (const [name, value] of Object.entries(settings))
    await query(`alter database ${new URL(database.url).pathname.slice(1)} set ${name} = '${value}'`);
  await using service = await stage.startService({ DATABASE_URL: database.url, RUN: 'api' });
  const parts: string[] = [];
  for (const path of paths) {
    await ask(service.url, path);
    const end = await endOfLog(query);
    await ask(service.url, path);
    parts.push(`GET ${path}`, ...(await plansSince(query, end)), '');
  }
  return parts.join('\n');
}

async function ask(url: string, path: string): Promise<void> {
  const response = await fetch(`${url}${path}`);
  await response.arrayBuffer();
}
