// The plan of each statement that a request runs, as PostgreSQL notes it (auto_explain) while the service answers.
import type { Database } from './database.ts';
import type { Stage } from './stage.ts';

/** Of the server, where plans are asked for. */
export const settingsOfPlans = { logging_collector: 'on', log_destination: 'jsonlog', log_rotation_size: '0' };
const ofDatabase = {
  session_preload_libraries: 'auto_explain',
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_analyze': 'on',
  'auto_explain.log_buffers': 'on',
};
const logFile = `pg_current_logfile('jsonlog')`;

/** @returns for each path the plans of its statements, once everything that it reads has been read before */
export async function explain(stage: Stage, database: Database, paths: readonly string[]): Promise<string> {
  const { admin } = stage;
  for (const [name, value] of Object.entries(ofDatabase))
    await admin.query(`alter database ${new URL(database.url).pathname.slice(1)} set ${name} = '${value}'`);
  await using service = await stage.startService({ DATABASE_URL: database.url, RUN: 'api' });
  const parts: string[] = [];
  for (const path of paths) {
    await ask(service.url, path);
    const [{ size = '0' } = {}] = await admin.query<{ size: string }>(`select size from pg_stat_file(${logFile})`);
    await ask(service.url, path);
    const [{ log = '' } = {}] = await admin.query<{ log: string }>(`select pg_read_file(${logFile}, $1, 100000000) as log`, [size]);
    parts.push(`GET ${path}`, ...plansOf(log), '');
  }
  return parts.join('\n');
}

async function ask(url: string, path: string): Promise<void> {
  const response = await fetch(`${url}${path}`);
  await response.arrayBuffer();
}

function plansOf(log: string): string[] {
  return log.split('\n').flatMap((line) => {
    const { message = '' } = JSON.parse(line || '{}') as { message?: string };
    return /^duration: .* plan:\n/.test(message) ? [message] : [];
  });
}
