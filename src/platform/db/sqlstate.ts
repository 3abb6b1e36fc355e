// PostgreSQL's error codes by name (PostgreSQL manual, appendix A), and what the service makes of them.

export const sqlstate = {
  uniqueViolation: '23505',
  foreignKeyViolation: '23503',
  restrictViolation: '23001',
  invalidParameterValue: '22023',
  wrongObjectType: '42809',
  invalidAuthorization: '28000',
  invalidPassword: '28P01',
  invalidCatalogName: '3D000',
  duplicateDatabase: '42P04',
  duplicateObject: '42710',
  tooManyConnections: '53300',
  readOnlyTransaction: '25006',
} as const;

/**
 * - `again`: nothing was done, and the same statement may well succeed at once.
 * - `later`: the database is away, full or locked.
 * - `unfit`: a table, a column or a right is missing. A request may be sent again once the operator has mended it; for who handles an
 *   event it is a defect like any other.
 * - `refused`: the data break a rule that belongs to the table: a constraint, a type, a trigger, a rule.
 */
export type Meaning = 'again' | 'later' | 'unfit' | 'refused';

// By the whole code, or else by its class, the first two characters.
const meanings: Readonly<Record<string, Meaning>> = {
  '08': 'later', // connection exception
  '09': 'refused', // triggered action exception
  '20': 'refused', // case not found
  '21': 'refused', // cardinality violation
  '22': 'refused', // data exception
  '23': 'refused', // integrity constraint violation
  // Invalid transaction state: a primary that became a standby, until the address leads to the new one (25006), and the limits on
  // idle and on long transactions (25P03, 25P04).
  '25': 'later',
  '26': 'later', // invalid SQL statement name: a pooler that hands a session on
  '27': 'refused', // triggered data change violation
  '28': 'later', // invalid authorization
  '38': 'refused', // external routine exception
  '39': 'refused', // external routine invocation exception
  '3D': 'later', // invalid catalog name
  '3F': 'later', // invalid schema name
  '40': 'later', // transaction rollback
  '40001': 'again', // serialization failure
  '40P01': 'again', // deadlock detected
  // Before the migrations have run, or where rights or columns were taken away since.
  '42501': 'unfit', // insufficient privilege
  '42703': 'unfit', // undefined column
  '42P01': 'unfit', // undefined table
  '44': 'refused', // with check option violation
  '53': 'later', // insufficient resources
  '54': 'refused', // program limit exceeded: a value too long for an index
  '55': 'later', // object not in prerequisite state, locks
  '57': 'later', // operator intervention
  '58': 'later', // system error
  F0: 'later', // configuration file error
  HV: 'later', // foreign data wrapper error
  P0: 'refused', // PL/pgSQL error: what a trigger raises
};

// Classes of which the rest is a defect of ours, or of the server: 500, and a line at level error. A trigger may raise these too, and
// any code that is nobody's.
const defects: ReadonlySet<string> = new Set('00 01 02 03 0A 0B 0F 0L 0P 0Z 10 24 2B 2D 2F 34 36 3B 42 72 XX'.split(' '));

export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Undefined for a defect, and where the error does not come from PostgreSQL. */
export function meaningOf(error: unknown): Meaning | undefined {
  const code = codeOf(error);
  if (code === undefined || !isFromServer(error)) return undefined;
  const group = code.slice(0, 2);
  return meanings[code] ?? meanings[group] ?? (defects.has(group) && !isFromTrigger(error) ? undefined : 'refused');
}

// By its context, which statements of ours have none of: they call no function that is written in SQL or PL/pgSQL.
function isFromTrigger(error: unknown): boolean {
  return typeof (error as { where?: unknown }).where === 'string' && !codeOf(error)?.startsWith('XX');
}

// By its severity: EPIPE looks like a code of PostgreSQL's too.
export function isFromServer(error: unknown): boolean {
  return typeof (error as { severity?: unknown } | null)?.severity === 'string';
}

/** What an error says of the rule that was broken. Not the values, which PostgreSQL quotes as well. */
export function brokenRuleOf(error: unknown): { readonly table?: string; readonly constraint?: string; readonly column?: string } {
  return error as object;
}

/** Whether the server refuses this role or database: the cure is `npm run db:setup`. */
export function isMissingRoleOrDatabase(error: unknown): boolean {
  const code = codeOf(error);
  return code === sqlstate.invalidAuthorization || code === sqlstate.invalidPassword || code === sqlstate.invalidCatalogName;
}
