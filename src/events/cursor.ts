// A cursor as a caller sees it: text that only this service reads.
import type { Cursor } from './log.ts';

const pattern = /^(0|[1-9]\d{0,18})@(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)$/;

export function formatCursor({ position, loggedAt }: Cursor): string {
  return Buffer.from(`${position}@${loggedAt}`).toString('base64url');
}

/** @returns undefined for a text that is no cursor of ours */
export function parseCursor(text: string): Cursor | undefined {
  const [, position, loggedAt] = pattern.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? [];
  if (position === undefined || loggedAt === undefined || BigInt(position) > 2n ** 63n - 1n || Number.isNaN(Date.parse(loggedAt)))
    return undefined;
  return { position, loggedAt };
}

export function isBefore(position: string, other: string): boolean {
  return BigInt(position) < BigInt(other);
}
