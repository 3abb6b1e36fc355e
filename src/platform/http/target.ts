// The target of a request (RFC 9112, section 3.2) as the router, the log and the answers see it: a path, perhaps with a query.
import { Problem, problems } from '../problem.ts';

/** Without the query, which may hold what a person typed. */
export function pathOf(target: string): string {
  const end = target.search(/[?#]/);
  return end === -1 ? target : target.slice(0, end);
}

/** @param path as logs and answers show it */
export function nothingAt(path: string): Problem {
  return new Problem(problems.not_found, `Nothing is at ${path}`);
}

/** Whether the percent-encoding can be undone. */
export function isReadable(text: string): boolean {
  if (!text.includes('%')) return true;
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const absoluteForm = /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i;

/** What the absolute form names, without a user; undefined for the other forms. */
export function authorityOf(target: string): string | undefined {
  const [, authority] = absoluteForm.exec(target) ?? [];
  return authority?.slice(authority.lastIndexOf('@') + 1);
}

/**
 * Takes scheme and authority from the absolute form, which a server has to accept and which may hold a password. A path that
 * cannot be decoded becomes one that can, so that its refusal passes through the same hooks as any other.
 */
export function normalizeTarget(target: string): string {
  let local = target;
  if (/^[a-z]/i.test(target)) {
    local = target.replace(absoluteForm, '');
    if (!local.startsWith('/')) local = `/${local}`;
  }
  return isReadable(pathOf(local)) ? local : local.replaceAll('%', '%25');
}
