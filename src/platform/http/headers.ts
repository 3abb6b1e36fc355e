// Headers that answers carry whatever they say: what browsers may do with them, and which origins' pages may read them.
import type { FastifyInstance } from 'fastify';

/** For an API: nothing is to be run, framed, sniffed, shared or kept. The page of the documents has a policy of its own. */
export const fixedHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  vary: 'accept',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

export function addFixedHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(fixedHeaders);
    // RFC 6797, section 7.2: never over plain HTTP. A trusted proxy says that the caller came by HTTPS.
    if (request.protocol === 'https') reply.header('strict-transport-security', 'max-age=31536000');
    done();
  });
}

/** The CORS protocol (Fetch standard, section 3.3). Any other origin gets no header of it, as if there were none. */
export function addCors(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  const allowed = new Set(origins);
  app.addHook('onRequest', ({ headers, method }, reply, done) => {
    reply.header('vary', 'accept, origin');
    if (headers.origin !== undefined && allowed.has(headers.origin)) {
      reply.header('access-control-allow-origin', headers.origin);
      if (method === 'OPTIONS' && headers['access-control-request-method'] !== undefined) {
        reply
          .header('access-control-allow-methods', 'GET, HEAD, POST, PUT, PATCH, DELETE')
          .header(
            'access-control-allow-headers',
            'content-type, if-match, if-none-match, last-event-id, traceparent, x-request-id, x-trace-id',
          )
          .header('access-control-max-age', '600');
      } else {
        reply.header(
          'access-control-expose-headers',
          'allow, etag, link, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, x-trace-id',
        );
      }
    }
    done();
  });
}
