// Who the service is, to a browser: the hosts that it answers to, so that no name of a stranger leads here (DNS rebinding), and
// the origins whose pages may change something. Who is no browser sends none of the headers of the second, and passes.
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { Problem, problems } from '../problem.ts';
import { type Host, isLoopbackName, parseHost } from './host.ts';
import { isLoopback } from './settings.ts';
import { authorityOf } from './target.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Asked by machines, often, and under whatever host they know: not held to a host, and logged at debug. */
    probe?: boolean;
  }
}

type Names = {
  readonly HOST: string;
  /** An origin. */
  readonly PUBLIC_URL?: string;
  readonly ALLOWED_HOSTS: readonly string[];
  readonly CORS_ORIGINS: readonly string[];
};

/** The port that the service listens on; undefined before it does. */
function portOf(app: FastifyInstance): string | undefined {
  return (app.server.address() as AddressInfo | null)?.port.toString();
}

export function publicUrlOf(app: FastifyInstance, { PUBLIC_URL }: Pick<Names, 'PUBLIC_URL'>): string {
  // As a URL, for which 80 is the port that is not written.
  return PUBLIC_URL ?? new URL(`http://localhost:${portOf(app)}`).origin;
}

/** Refuses a request for a host of somebody else: on loopback, and wherever a name of the service is set. */
export function addHosts(app: FastifyInstance, { HOST, PUBLIC_URL, ALLOWED_HOSTS }: Names): void {
  if (!isLoopback(HOST) && PUBLIC_URL === undefined && ALLOWED_HOSTS.length === 0) return;
  const publicName = PUBLIC_URL === undefined ? undefined : parseHost(new URL(PUBLIC_URL).host)?.name;
  const allowed = ALLOWED_HOSTS.map(parseHost).filter((host) => host !== undefined);

  function isOurs({ name, port }: Host): boolean {
    if (isLoopbackName(name) || name === publicName) return true;
    return allowed.some((host) => host.name === name && (host.port === '' || isSamePort(host.port, port)));
  }

  app.addHook('onRequest', ({ headers, originalUrl, routeOptions }, _reply, done) => {
    if (routeOptions.config.probe === true) return done();
    // RFC 9112, section 3.2.2: the authority of the target stands for the Host header.
    const host = parseHost(authorityOf(originalUrl) ?? headers.host ?? '');
    if (host === undefined || !isOurs(host)) {
      throw new Problem(problems.misdirected_request, 'The host of the request is unknown: it is not in PUBLIC_URL or ALLOWED_HOSTS.');
    }
    done();
  });
}

// Whether the port that is not written is 80 or 443 depends on a scheme that only a proxy in front knows.
function isSamePort(wanted: string, port: string): boolean {
  return wanted === port || (port === '' && (wanted === '80' || wanted === '443'));
}

const safeMethods = ['GET', 'HEAD', 'OPTIONS'];

/** Refuses what the page of another site sends to change something (Fetch Metadata; RFC 6454), on every path and method. */
export function addOrigins(app: FastifyInstance, { PUBLIC_URL, CORS_ORIGINS }: Names): void {
  const listed = new Set(CORS_ORIGINS);
  const publicUrl = PUBLIC_URL === undefined ? undefined : new URL(PUBLIC_URL);
  // Where the public port of this machine is another than ours, as with a container's.
  const publicPort = publicUrl !== undefined && isLoopbackName(publicUrl.hostname) ? publicUrl.port || '80' : undefined;

  function isOurs(origin: string): boolean {
    if (origin === PUBLIC_URL) return true;
    const url = URL.parse(origin);
    // `null`, a list of origins, and whatever else is written otherwise than browsers write an origin.
    if (url?.origin !== origin || url.protocol !== 'http:' || !isLoopbackName(url.hostname)) return false;
    const port = url.port || '80';
    return port === portOf(app) || port === publicPort;
  }

  app.addHook('onRequest', ({ headers: { origin, 'sec-fetch-site': site }, method }, _reply, done) => {
    if (safeMethods.includes(method) || (origin !== undefined && listed.has(origin))) return done();
    const isCrossSite = site !== undefined && site !== 'same-origin' && site !== 'none';
    if (isCrossSite || (origin !== undefined && !isOurs(origin))) {
      throw new Problem(problems.cross_site_request, 'Cross-site request refused: its origin is not in PUBLIC_URL or CORS_ORIGINS.');
    }
    done();
  });
}
