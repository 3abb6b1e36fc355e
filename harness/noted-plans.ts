// The plans that PostgreSQL notes of statements as they run (auto_explain), read from its log by a superuser.

type Query = <Row extends object>(text: string, values?: unknown[]) => Promise<Row[]>;

/** Of the server: its log as JSON, in one file. */
export const logSettings = { logging_collector: 'on', log_destination: 'jsonlog', log_rotation_size: '0' };
/** Of the server, or of one database: every statement, as it ran. */
export const explainSettings = {
  session_preload_libraries: 'auto_explain',
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_analyze': 'on',
};
const logFile = `pg_current_logfile('jsonlog')`;

/** @returns how far the log is, for `plansSince` */
export async function endOfLog(query: Query): Promise<string> {
  const [{ size = '0' } = {}] = await query<{ size: string }>(`select size from pg_stat_file(${logFile})`);
  return size;
}

/** @returns each plan in the format that the server has for them */
export async function plansSince(query: Query, end: string): Promise<string[]> {
  const [{ log = '' } = {}] = await query<{ log: string }>(`select pg_read_file(${logFile}, $1, 1000000000) as log`, [end]);
  return log.split('\n').flatMap((line) => {
    const { message = '' } = JSON.parse(line || '{}') as { message?: string };
    const [head = ''] = /^duration: .*? plan:\n/.exec(message) ?? [];
    return head === '' ? [] : [message.slice(head.length)];
  });
}
