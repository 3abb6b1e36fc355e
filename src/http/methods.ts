// For each path that exists: OPTIONS tells its methods, and any other method is refused with the list of them (RFC 9110,
// sections 9.3.7 and 15.5.6).
import { METHODS } from 'node:http';
import type { FastifyInstance, HTTPMethods } from 'fastify';
import { Problem } from '../problem.ts';
import { pathOf } from './trace.ts';

/** Call it before any route is added. @returns what to call once all are */
export function addMethods(app: FastifyInstance): () => void {
  // CONNECT never gets here: Node closes the connection.
  const all = METHODS.filter((method) => method !== 'CONNECT');
  for (const method of all.filter((name) => !app.supportedMethods.includes(name))) app.addHttpMethod(method, { hasBody: true });

  const byPath = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = byPath.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    byPath.set(url, methods);
  });

  return () => {
    // A copy: the routes added here are seen by the hook too.
    for (const [url, known] of [...byPath]) {
      if (url === '*') continue;
      const allow = [...known, 'OPTIONS'].sort().join(', ');
      app.options(url, { schema: { hide: true } }, (_request, reply) => reply.header('allow', allow).code(204).send());
      app.route({
        method: all.filter((method) => method !== 'OPTIONS' && !known.has(method)) as HTTPMethods[],
        url,
        schema: { hide: true },
        config: { access: 'anyone' },
        // Before the body is read: the answer does not depend on it.
        onRequest: async (request) => {
          throw new Problem('method_not_allowed', `${request.method} is not allowed for ${pathOf(request.url)}`, { headers: { allow } });
        },
        handler: () => {},
      });
    }
  };
}
