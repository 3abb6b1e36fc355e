// PostgreSQL's error codes by name (PostgreSQL manual, appendix A), and what they mean to a caller.

export const sqlstate = {
  uniqueViolation: '23505',
  invalidAuthorization: '28000',
  invalidPassword: '28P01',
  invalidCatalogName: '3D000',
  duplicateDatabase: '42P04',
  duplicateObject: '42710',
  // Before the migrations have run.
  undefinedTable: '42P01',
  tooManyConnections: '53300',
  diskFull: '53100',
  outOfMemory: '53200',
  lockNotAvailable: '55P03',
  queryCanceled: '57014',
  adminShutdown: '57P01',
  crashShutdown: '57P02',
  cannotConnectNow: '57P03',
  idleSessionTimeout: '57P05',
  readOnlyTransaction: '25006',
  idleInTransactionTimeout: '25P03',
} as const;

const passing: ReadonlySet<string> = new Set([
  sqlstate.undefinedTable,
  sqlstate.tooManyConnections,
  sqlstate.diskFull,
  sqlstate.outOfMemory,
  sqlstate.lockNotAvailable,
  sqlstate.queryCanceled,
  sqlstate.adminShutdown,
  sqlstate.crashShutdown,
  sqlstate.cannotConnectNow,
  sqlstate.idleSessionTimeout,
  sqlstate.idleInTransactionTimeout,
  // A primary that became a standby, until the address leads to the new primary.
  sqlstate.readOnlyTransaction,
]);

export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Whether the server refuses this role or database: the cure is `npm run db:setup`. */
export function isMissingRoleOrDatabase(error: unknown): boolean {
  const code = codeOf(error);
  return code === sqlstate.invalidAuthorization || code === sqlstate.invalidPassword || code === sqlstate.invalidCatalogName;
}

/** Whether the database is away or full, so that the same request may succeed later. */
export function isUnavailable(error: unknown): boolean {
  const code = codeOf(error);
  // Without a five-character code the error is the driver's or the system's own: refused, reset, timed out, closed.
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return error instanceof Error;
  return passing.has(code) || code.startsWith('08') || isMissingRoleOrDatabase(error);
}
