// For each path: OPTIONS tells its methods, and any other method is refused with the list of them (RFC 9110, sections 9.3.7
// and 15.5.6). A path that does not exist is refused for that alone.
import { METHODS } from 'node:http';
import type { FastifyInstance, HTTPMethods, RouteOptions } from 'fastify';
import { Problem, problems } from '../problem.ts';
import { acceptPatch } from './negotiation.ts';
import { nothingAt } from './target.ts';

/** Call it before any route is added. @returns what to call once all are */
export function addMethods(app: FastifyInstance): () => void {
  // CONNECT never gets here: Node closes the connection.
  const all = METHODS.filter((method) => method !== 'CONNECT');
  for (const method of all.filter((name) => !app.supportedMethods.includes(name))) app.addHttpMethod(method, { hasBody: true });
  // A body has no meaning to them, and so no type that could be wrong.
  for (const method of ['DELETE', 'OPTIONS']) app.addHttpMethod(method, { hasBody: false, overrideExisting: true });

  const byPath = new Map<string, { readonly methods: Set<string>; readonly config: RouteOptions['config'] }>();
  app.addHook('onRoute', ({ url, method, config }) => {
    const known = byPath.get(url) ?? { methods: new Set(), config };
    for (const name of [method].flat()) known.methods.add(name);
    byPath.set(url, known);
  });

  const listed = (methods: Iterable<string>) => [...new Set([...methods, 'OPTIONS'])].sort().join(', ');
  let anywhere = '';

  // Before the body is read: the answers do not depend on it.
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.is404) return done();
    if (request.method !== 'OPTIONS' || request.url !== '*') throw nothingAt(request.shownPath);
    reply.header('allow', anywhere).code(204).send();
  });

  return () => {
    anywhere = listed([...byPath.values()].flatMap(({ methods }) => [...methods]));
    // A copy: the routes added here are seen by the hook too.
    for (const [url, { methods: known, config }] of [...byPath]) {
      const allow = listed(known);
      const hidden = { url, schema: { hide: true }, config: { access: 'anyone', probe: config?.probe === true } } as const;
      app.route({
        ...hidden,
        method: 'OPTIONS',
        handler: (_request, reply) =>
          reply
            .headers({ allow, ...(known.has('PATCH') && { 'accept-patch': acceptPatch }) })
            .code(204)
            .send(),
      });
      app.route({
        ...hidden,
        method: all.filter((method) => method !== 'OPTIONS' && !known.has(method)) as HTTPMethods[],
        onRequest: async (request) => {
          throw new Problem(problems.method_not_allowed, `${request.method} is not allowed for ${request.shownPath}`, {
            headers: { allow },
          });
        },
        handler: () => {},
      });
    }
  };
}
