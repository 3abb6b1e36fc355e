// Settings of the HTTP server.
import { isIP } from 'node:net';
import { Type } from '../runtime/schema.ts';
import { Formed, Ms } from '../runtime/settings.ts';

export const settings = {
  HOST: Formed('^[\\w.:%-]{1,253}$', 'be an address of this machine, such as 127.0.0.1 or ::1, or its name', {
    default: '127.0.0.1',
    description: 'Address to listen on. Anything but loopback needs `AUTH=off`.',
  }),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 8000, description: 'Port to listen on; 0 takes a free one.' }),
  PUBLIC_URL: Type.Optional(
    Formed('^https?://[^/?#@\\\\\\s]+$', 'be an origin such as https://users.example.com, without user, path and query', {
      normalise: asOrigin,
      accepts: URL.canParse,
      description:
        'Where browsers and callers reach the service: its one public identity. Its host is answered to, and its pages may change something. Left out: `http://localhost:PORT`.',
    }),
  ),
  ALLOWED_HOSTS: Type.Array(Type.String({ form: 'be a host such as users.internal or 10.0.0.7, perhaps with a port', accepts: isHost }), {
    default: [],
    description:
      'Further hosts that the service answers to, by comma: `users.internal,10.0.0.7:8000`. Names of loopback and that of `PUBLIC_URL` need no entry. Where `HOST` is not loopback, any host is answered to until this or `PUBLIC_URL` is set.',
  }),
  AUTH: Type.Optional(
    Type.Enum(['off'], { description: 'There is no sign-in yet: `off` says that you know, and keep strangers away by other means.' }),
  ),
  TRUST_PROXY: Type.Array(
    Type.String({ form: 'be a network such as 10.0.0.0/8, an address, or one of loopback, linklocal, uniquelocal', accepts: isNetwork }),
    {
      default: [],
      description: 'Networks of the proxies whose `X-Forwarded-For` is believed, by comma: `10.0.0.0/8,loopback`.',
    },
  ),
  RATE_LIMIT_PER_MINUTE: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 1_000_000,
    description: 'Requests a minute for one address; then 429. The default stops a runaway client, not a busy one. 0 turns it off.',
  }),
  CORS_ORIGINS: Type.Array(
    Type.String({
      form: 'be an origin as a browser sends it, such as https://admin.example.com: in lower case, without path and default port',
      accepts: isOrigin,
    }),
    {
      default: [],
      description: 'Origins whose pages may call the API, by comma: `https://admin.example.com`. Left out: none.',
    },
  ),
  HTTP_HEADERS_TIMEOUT_MS: Ms(5000, 'Longest time for the headers of a request to arrive; then 408.'),
  HTTP_REQUEST_TIMEOUT_MS: Ms(10_000, 'Longest time for a whole request to arrive; then 408.'),
  HTTP_KEEP_ALIVE_TIMEOUT_MS: Ms(72_000, 'How long an idle connection is kept.'),
  HTTP_CONNECTIONS_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 10_000,
    description: 'Open connections; more are closed as they come.',
  }),
  HTTP_CONNECTIONS_PER_ADDRESS_MAX: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      description:
        'Open connections of one address, or of one /64 of IPv6; more are closed as they come. Networks of `TRUST_PROXY` have no such limit. Left out: three quarters of `HTTP_CONNECTIONS_MAX`.',
    }),
  ),
  STREAMS_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 8000,
    description:
      'Open streams, of events and of users; one more is a 503. Keep it below `HTTP_CONNECTIONS_MAX`, so that others find a connection.',
  }),
  SHUTDOWN_DRAIN_MS: Type.Integer({
    minimum: 0,
    maximum: 5000,
    default: 500,
    description: 'After SIGTERM, how long `/ready` says 503 while requests are still taken, so that balancers notice.',
  }),
};

// As a browser writes it; what is more than an origin stays, and is refused.
function asOrigin(text: string): string {
  const url = URL.parse(text);
  return url !== null && url.href === `${url.origin}/` ? url.origin : text;
}

function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}

function isHost(text: string): boolean {
  return /^(\[[\da-f:.]+\]|[\w-]+(\.[\w-]+)*\.?)(:\d{1,5})?$/i.test(text) && URL.canParse(`http://${text}`);
}

function isNetwork(text: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(text)) return true;
  const [, address = '', bits] = /^([\da-f:.]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && (bits === undefined || (Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128)));
}

/** What is wrong with settings that are right by themselves; one that is missing here has its own issue already. */
export function contradictions({ AUTH, HOST }: { readonly AUTH?: 'off'; readonly HOST?: string }): string[] {
  if (HOST === undefined || AUTH === 'off' || isLoopback(HOST)) return [];
  return [
    `HOST ${HOST} can be reached from other machines, and there is no sign-in yet: set AUTH=off to say that you know, or HOST=127.0.0.1.`,
  ];
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
