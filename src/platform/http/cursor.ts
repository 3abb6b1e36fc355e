// What all cursors have in common, and the cursor of a list in order of a key: text that only this service reads. A checksum tells a
// cursor that somebody changed; it keeps nothing secret, since a key is no more than what a caller may ask for anyway.
import { crc32 } from 'node:zlib';
import { Problem, problems, type Violation } from '../problem.ts';

const foreign = 'is no cursor of this service';

/** What a cursor of any kind looks like in a query. */
export const cursorRules = { minLength: 1, maxLength: 100, pattern: '^[A-Za-z0-9_-]+$', 'x-pattern-message': foreign } as const;

/** @param key of the parameter or header that holds it */
export function notACursor(path: string, key: string, source: Violation['source']): Problem {
  return new Problem(problems.validation_failed, `Validation failed for GET ${path}`, { violations: [{ key, message: foreign, source }] });
}

/** @param list names what the key orders, so that no cursor of another list is taken */
export function formatKeyCursor(list: string, key: string): string {
  const text = Buffer.from(`${list}:${key}`);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(text));
  return Buffer.concat([sum, text]).toString('base64url');
}

/** @returns undefined for a text that `formatKeyCursor` has not made for this list */
export function parseKeyCursor(list: string, text: string): string | undefined {
  const read = Buffer.from(text, 'base64url').subarray(4).toString();
  const key = read.startsWith(`${list}:`) ? read.slice(list.length + 1) : undefined;
  return key !== undefined && formatKeyCursor(list, key) === text ? key : undefined;
}
