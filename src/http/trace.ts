// Gives each request its trace id, which every line, row and message made for it carries, and writes the two lines that
// frame it.
import type { FastifyInstance } from 'fastify';
import * as context from '../context.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';

declare module 'fastify' {
  interface FastifyRequest {
    trace: context.Context;
  }
}

export const traceHeader = 'x-trace-id';

export function addTrace(app: FastifyInstance, log: Logger, metrics: Metrics): void {
  // Set in the first hook; declared so that every request has one shape.
  app.decorateRequest('trace', null as unknown as context.Context);

  app.addHook('onRequest', (request, reply, done) => {
    const { method, headers } = request;
    request.trace = context.createContext(single(headers['x-request-id']), single(headers.traceparent));
    reply.header(traceHeader, request.trace.traceId);
    context.run(request.trace, () => {
      log.info({ method, path: pathOf(request.url) }, 'Request started');
      done();
    });
  });

  // The body's data events belong to the socket, not to the request: what follows them is brought back into its context.
  app.addHook('preValidation', (request, _reply, done) => context.run(request.trace, done));

  app.addHook('onResponse', (request, reply, done) => {
    const { method, routeOptions } = request;
    const seconds = reply.elapsedTime / 1000;
    metrics.requests.observe({ method, route: routeOptions.url ?? 'none', status: `${Math.floor(reply.statusCode / 100)}xx` }, seconds);
    context.run(request.trace, () => {
      log.info(
        { method, path: pathOf(request.url), status: reply.statusCode, execution_time: `${seconds.toFixed(4)}s` },
        'Request completed',
      );
    });
    done();
  });

  app.addHook('onRequestAbort', (request, done) => {
    const { method } = request;
    context.run(request.trace, () => log.info({ method, path: pathOf(request.url) }, 'Request aborted by the caller'));
    done();
  });
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? undefined : value;
}

/** Without the query, which may hold what a person typed. */
export function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end === -1 ? url : url.slice(0, end);
}
