// Gives each request its trace id, which every line, row and message made for it carries, and writes the two lines that
// frame it.
import type { FastifyInstance } from 'fastify';
import * as context from '../context.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { HttpMetrics } from './metrics.ts';
import { pathOf } from './target.ts';

declare module 'fastify' {
  interface FastifyRequest {
    trace: context.Context;
    /** The path for logs and answers: that of the route where a person stands in it. */
    shownPath: string;
  }
  interface FastifyContextConfig {
    /** Whether the path names a person. */
    isPersonal?: boolean;
  }
}

export const traceHeader = 'x-trace-id';

export function addTrace(app: FastifyInstance, log: Logger, metrics: HttpMetrics): void {
  // Set in the first hook; declared so that every request has one shape.
  app.decorateRequest('trace', null as unknown as context.Context);
  app.decorateRequest('shownPath', '');
  const shownPathOf = createPathDisplay(app);

  app.addHook('onRequest', (request, reply, done) => {
    const startedAt = performance.now();
    const { method, headers, routeOptions } = request;
    const path = shownPathOf(request.url);
    request.shownPath = path;
    const level = routeOptions.config.probe === true ? 'debug' : 'info';
    // Node joins repeated headers of these names with a comma, which neither pattern has.
    const given = [headers['x-request-id'], headers[traceHeader]].find(context.isTraceId);
    const trace = context.createContext(given, headers.traceparent as string | undefined);
    request.trace = trace;
    reply.header(traceHeader, trace.traceId);

    // Comes once for every answer, also for one that was cut short, in the context of the connection.
    reply.raw.once('close', () => {
      const seconds = (performance.now() - startedAt) / 1000;
      const execution_time = `${seconds.toFixed(4)}s`;
      context.run(trace, () => {
        if (!reply.raw.writableFinished) return log[level]({ method, path, execution_time }, 'Request aborted');
        const status = reply.statusCode;
        metrics.requests.observe({ method, route: routeOptions.url ?? 'none', status: `${Math.floor(status / 100)}xx` }, seconds);
        log[level]({ method, path, status, execution_time }, 'Request completed');
      });
    });
    context.run(trace, () => {
      log[level]({ method, path }, 'Request started');
      done();
    });
  });
}

/** By what stands ahead of the name, so that also a path which leads nowhere shows none. Call it before any route is added. */
function createPathDisplay(app: FastifyInstance): (url: string) => string {
  const personal = new Map<string, string>();
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.isPersonal === true) personal.set(url.slice(0, url.indexOf(':')), url.replaceAll(/:(\w+)/g, '{$1}'));
  });
  return (url) => {
    const path = pathOf(url);
    const plain = decodeURIComponent(path).replaceAll(/\/+/g, '/').toLowerCase();
    for (const [start, shown] of personal) if (plain.startsWith(start)) return shown;
    return path;
  };
}
