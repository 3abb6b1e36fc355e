// The target of a request (RFC 9112, section 3.2) as the router, the log and the answers see it: a path, perhaps with a query.

/** Without the query, which may hold what a person typed. */
export function pathOf(url: string): string {
  return url.split(/[?#]/, 1)[0] as string;
}

/** Whether the percent-encoding of the path can be undone. */
export function isReadable(target: string): boolean {
  if (!target.includes('%')) return true;
  try {
    decodeURIComponent(pathOf(target));
    return true;
  } catch {
    return false;
  }
}

/**
 * Takes scheme and authority from the absolute form, which a server has to accept, and which may hold a password. A path that
 * cannot be decoded is made one that can, so that its refusal passes through the same hooks as any other.
 */
export function normalizeTarget(target: string): string {
  const local = target.startsWith('/') ? target : target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*(?=([/?#])?)/i, (_match, next) => (next === '/' ? '' : '/'));
  return isReadable(local) ? local : local.replaceAll('%', '%25');
}
