// The HTTP server with everything that holds for every route: limits, time limits, headers, errors, media types, trace.

import type { IncomingMessage, ServerResponse } from 'node:http';
import cors from '@fastify/cors';
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { type FastifyBaseLogger, type FastifyInstance, type RawServerDefault } from 'fastify';
import { Problem } from '../problem.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { addAccess } from './access.ts';
import { addErrors, frameworkErrors, handleClientError } from './errors.ts';
import { addMethods } from './methods.ts';
import { addNegotiation } from './negotiation.ts';
import { addTrace } from './trace.ts';
import { addValidation } from './validation.ts';

export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

export type ServerSettings = {
  readonly HTTP_HEADERS_TIMEOUT_MS: number;
  readonly HTTP_REQUEST_TIMEOUT_MS: number;
  readonly HTTP_KEEP_ALIVE_TIMEOUT_MS: number;
  readonly HTTP_CONNECTIONS_MAX: number;
  readonly TRUST_PROXY: readonly string[];
  readonly CORS_ORIGINS: readonly string[];
  readonly RATE_LIMIT_PER_MINUTE: number;
};

export type ServerParts = { readonly settings: ServerSettings; readonly log: Logger; readonly metrics: Metrics };

const bodyBytesMax = 1024 * 1024;

/**
 * @param addFeatures adds the routes; they come under everything set up here
 * @returns the application, not yet listening
 */
export async function createServer({ settings, log, metrics }: ServerParts, addFeatures: (app: App) => Promise<void>): Promise<App> {
  const app = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: settings.HTTP_REQUEST_TIMEOUT_MS,
    keepAliveTimeout: settings.HTTP_KEEP_ALIVE_TIMEOUT_MS,
    http: {
      headersTimeout: settings.HTTP_HEADERS_TIMEOUT_MS,
      // Node looks for requests that are late only so often.
      connectionsCheckingInterval: 500,
      // Refused below, with a body that says why.
      requireHostHeader: false,
    },
    // Whoever has a connection open when the service stops is still served.
    return503OnClosing: false,
    trustProxy: settings.TRUST_PROXY.length > 0 ? [...settings.TRUST_PROXY] : false,
    // Longer than any path can be, so that a long path is unknown like any other.
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 32_768 },
    frameworkErrors,
    clientErrorHandler: handleClientError,
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.server.maxConnections = settings.HTTP_CONNECTIONS_MAX;
  // An Expect that is not 100-continue would otherwise get an empty 417.
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => app.routing(request, response));

  addTrace(app, log, metrics);
  addErrors(app, log);
  addValidation(app);
  addAccess(app);
  const refuseOtherMethods = addMethods(app);
  addNegotiation(app);
  app.addHook('onRequest', async ({ headers, raw }) => {
    // RFC 9112, section 3.2; RFC 9110, section 10.1.1.
    if (headers.host === undefined && raw.httpVersion === '1.1') throw new Problem('malformed_request', 'The Host header is missing.');
    if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
      throw new Problem('expectation_failed', 'Only the expectation 100-continue is known here.');
    }
  });
  await app.register(helmet, {
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] }, useDefaults: false },
    xFrameOptions: { action: 'deny' },
    // These speak to browsers that are gone, or of pages, which an API has none of.
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
    originAgentCluster: false,
  });
  if (settings.CORS_ORIGINS.length > 0) {
    await app.register(cors, {
      origin: [...settings.CORS_ORIGINS],
      methods: ['GET', 'POST', 'PUT', 'DELETE'],
      exposedHeaders: ['X-Trace-Id', 'Location', 'Retry-After'],
      strictPreflight: false,
      hideOptionsRoute: true,
    });
  }
  if (settings.RATE_LIMIT_PER_MINUTE > 0) await addRateLimit(app, settings.RATE_LIMIT_PER_MINUTE);

  await addFeatures(app);
  refuseOtherMethods();
  return app;
}

async function addRateLimit(app: App, perMinute: number): Promise<void> {
  await app.register(rateLimit, {
    max: perMinute,
    timeWindow: 60_000,
    cache: 10_000,
    enableDraftSpec: true,
    errorResponseBuilder: (_request, { ttl }) =>
      new Problem('rate_limited', `More than ${perMinute} requests a minute from one address.`, {
        headers: { 'retry-after': String(Math.ceil(ttl / 1000)) },
      }),
  });
}
