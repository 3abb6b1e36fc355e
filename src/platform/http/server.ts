// The HTTP server with everything that holds for every route: limits, time limits, headers, errors, media types, trace.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';
import proxyAddr from '@fastify/proxy-addr';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { type FastifyBaseLogger, type FastifyInstance, type RawServerDefault } from 'fastify';
import { lazily } from '../runtime/lazily.ts';
import type { Logger } from '../telemetry/logger.ts';
import { addAccess } from './access.ts';
import { addConnections } from './connections.ts';
import { addErrors } from './errors.ts';
import { addCors, addFixedHeaders } from './headers.ts';
import { addHosts, addOrigins } from './identity.ts';
import { addLeftover } from './leftover.ts';
import { addMethods } from './methods.ts';
import type { HttpMetrics } from './metrics.ts';
import { addNegotiation } from './negotiation.ts';
import { addPipeline } from './pipeline.ts';
import { addProtocol } from './protocol.ts';
import { addRateLimit } from './rate-limit.ts';
import { addReplies, createClientErrorHandler } from './socket.ts';
import { normalizeTarget } from './target.ts';
import { addTrace } from './trace.ts';
import { addValidation } from './validation.ts';

export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

type ServerSettings = {
  readonly HTTP_HEADERS_TIMEOUT_MS: number;
  readonly HTTP_REQUEST_TIMEOUT_MS: number;
  readonly HTTP_KEEP_ALIVE_TIMEOUT_MS: number;
  readonly HTTP_CONNECTIONS_MAX: number;
  readonly HTTP_CONNECTIONS_PER_ADDRESS_MAX?: number;
  readonly HOST: string;
  readonly PUBLIC_URL?: string;
  readonly ALLOWED_HOSTS: readonly string[];
  readonly TRUST_PROXY: readonly string[];
  readonly CORS_ORIGINS: readonly string[];
  readonly RATE_LIMIT_PER_MINUTE: number;
};

export type ServerParts = { readonly settings: ServerSettings; readonly log: Logger; readonly metrics: HttpMetrics };

/** Each answer's serializer is compiled when the first such answer is sent: for all of them it takes a quarter of a second. */
const buildSerializer: ReturnType<typeof SerializerSelector> = (schemas, options) => {
  const compile = SerializerSelector()(schemas, options);
  return (route) => {
    const serialize = lazily(() => compile(route));
    return (value) => serialize()(value);
  };
};

/** Where a route does not name a limit of its own (`bodyLimit`). The longest user, each character escaped, is below it. */
const bodyBytesMax = 32 * 1024;
/** After it a caller who does not read is taken for gone. Longer than any wait for an event, or between two signs of life. */
const silenceMsMax = 120_000;

/**
 * @param addFeatures adds the routes; they come under everything set up here
 * @returns the application, not yet listening
 */
export async function createServer({ settings, log, metrics }: ServerParts, addFeatures: (app: App) => Promise<void>): Promise<App> {
  const isProxy = settings.TRUST_PROXY.length > 0 ? proxyAddr.compile([...settings.TRUST_PROXY]) : () => false;
  const app = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: settings.HTTP_REQUEST_TIMEOUT_MS,
    keepAliveTimeout: settings.HTTP_KEEP_ALIVE_TIMEOUT_MS,
    connectionTimeout: silenceMsMax,
    http: {
      headersTimeout: settings.HTTP_HEADERS_TIMEOUT_MS,
      // Node looks for requests that are late only so often.
      connectionsCheckingInterval: 500,
      // Refused in protocol.ts, with a body that says why.
      requireHostHeader: false,
    },
    // Whoever has a connection open when the service stops is still served.
    return503OnClosing: false,
    trustProxy: settings.TRUST_PROXY.length > 0 ? isProxy : false,
    // Longer than any path can be, so that a long path is unknown like any other.
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 32_768 },
    schemaController: { compilersFactory: { buildSerializer } },
    rewriteUrl: ({ url = '' }) => normalizeTarget(url),
    clientErrorHandler: createClientErrorHandler(log),
  }).withTypeProvider<TypeBoxTypeProvider>();

  const { HTTP_CONNECTIONS_MAX: max, HTTP_CONNECTIONS_PER_ADDRESS_MAX: perAddressMax = Math.ceil(max * 0.75) } = settings;
  addConnections(app, { max, perAddressMax, isProxy: (address) => isProxy(address, 0) }, log, metrics);

  // What is done to every request, in this order: a refusal carries the headers of the steps before it.
  addPipeline(app);
  addTrace(app, log, metrics);
  addReplies(app);
  addFixedHeaders(app);
  addCors(app, settings.CORS_ORIGINS);
  addErrors(app, log);
  addLeftover(app);
  await addRateLimit(app, settings.RATE_LIMIT_PER_MINUTE);
  addProtocol(app);
  addHosts(app, settings);
  addOrigins(app, settings);
  addAccess(app);
  const refuseOtherMethods = addMethods(app);
  addNegotiation(app);
  addValidation(app);

  await addFeatures(app);
  refuseOtherMethods();
  return app;
}
