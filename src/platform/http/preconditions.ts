// Conditional requests over versions (RFC 9110, section 13): the entity tag of what has a version is the version in quotes.
import { Problem, problems } from '../problem.ts';

export const etagOf = (version: number) => `"${version}"`;

/** RFC 9110, section 8.8.3. */
const entityTag = /(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/;
const entityTags = new RegExp(`^[ \\t,]*${entityTag.source}(?:[ \\t]*,(?:[ \\t]*${entityTag.source})?)*[ \\t]*$`);

type Tag = { readonly isWeak: boolean; readonly value: string };

/** @returns `any` for "*" @throws malformed_request */
function readTags(name: string, text: string): 'any' | readonly Tag[] {
  if (text.trim() === '*') return 'any';
  if (!entityTags.test(text)) throw new Problem(problems.malformed_request, `${name} must be "*" or entity tags in quotes, such as "3".`);
  return [...text.matchAll(new RegExp(entityTag, 'g'))].map(([, weak, value = '']) => ({ isWeak: weak !== undefined, value }));
}

/**
 * The versions that `If-Match` allows. Weak tags match none, and neither do those that are no version.
 * @returns undefined where any will do: the header is absent, or "*"
 * @throws malformed_request
 */
export function versionsOf(ifMatch: string | undefined): readonly number[] | undefined {
  if (ifMatch === undefined) return undefined;
  const tags = readTags('If-Match', ifMatch);
  if (tags === 'any') return undefined;
  return tags.flatMap(({ isWeak, value }) => (!isWeak && /^[1-9]\d{0,15}$/.test(value) ? [Number(value)] : []));
}

/** Whether `If-None-Match` names the version, and the answer to a read is 304. @throws malformed_request */
export function isUnchanged(ifNoneMatch: string | undefined, version: number): boolean {
  if (ifNoneMatch === undefined) return false;
  const tags = readTags('If-None-Match', ifNoneMatch);
  return tags === 'any' || tags.some(({ value }) => value === String(version));
}
