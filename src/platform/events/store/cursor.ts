// A cursor as a caller sees it: text that only this service reads.

/** A place in the log: everything up to it has been read. `loggedAt` finds the partition. */
export type Place = { readonly position: string; readonly loggedAt: string };

/** A place in the log of one epoch; without it, one that was given out before cursors carried their epoch. */
export type Cursor = Place & { readonly epoch?: string | undefined };

// At most 18 digits, so that a position with a reading's length added is still an int8.
const pattern = /^(0|[1-9]\d{0,17})@((?:19[7-9]\d|[2-9]\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)(?:@([0-9a-f]{12}))?$/;

export function formatCursor({ position, loggedAt, epoch }: Cursor): string {
  return Buffer.from(epoch === undefined ? `${position}@${loggedAt}` : `${position}@${loggedAt}@${epoch}`).toString('base64url');
}

/** @returns undefined for a text that `formatCursor` has not made */
export function parseCursor(text: string): Cursor | undefined {
  const [, position, loggedAt, epoch] = pattern.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? [];
  if (position === undefined || loggedAt === undefined || !isInstant(loggedAt)) return undefined;
  const cursor = { position, loggedAt, epoch };
  // Node reads base64url with other alphabets, padding and rubbish in it.
  return formatCursor(cursor) === text ? cursor : undefined;
}

// Date takes February 30 and 24:00 for the day after.
function isInstant(text: string): boolean {
  const at = new Date(text);
  return !Number.isNaN(at.getTime()) && at.toISOString().slice(0, 19) === text.slice(0, 19);
}

export function isBefore(position: string, other: string): boolean {
  return BigInt(position) < BigInt(other);
}
