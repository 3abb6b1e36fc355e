// Every setting: name, rule, default, meaning. The only reader of the environment; all faults are named at once.
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { type Static, type TObject, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { DatabaseUrlError, readDatabaseUrl } from './config/database-url.ts';
import { readEnvFile } from './config/env-file.ts';
import { RabbitUrlError, readRabbitUrl } from './config/rabbitmq-url.ts';

const Ms = (byDefault: number, description: string, maximum = 3_600_000) =>
  Type.Integer({ minimum: 1, maximum, default: byDefault, description });
/** A text with a form that a pattern checks, and that `form` tells in words: what stands behind "must ". */
const Formed = (pattern: string, form: string, options: { description?: string; default?: string } = {}) =>
  Type.String({ pattern, form, ...options });
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
/** Of this code, whatever APP_VERSION says. */
export const codeVersion = manifest.version;

/** In the order in which the documents list them. `default` absent means: may be left out. */
export const Settings = Type.Object({
  DATABASE_URL: Type.Optional(
    Type.String({
      description:
        'PostgreSQL 15 or newer, by the rules of libpq: `postgres://user:password@host:5432/database`, several hosts by comma, `sslmode`, `target_session_attrs`. Left out: a private server of its own, its data in `DATA_DIR`.',
    }),
  ),
  DATABASE_ADMIN_URL: Type.Optional(
    Type.String({
      description:
        'A role that may create roles and databases; used by `npm run db:setup`, and at start if the role or database of `DATABASE_URL` is missing.',
    }),
  ),
  DATABASE_POOL_SIZE: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 10,
    description:
      'Connections for lists and writes. Two more serve reads by id, five the relay and the consumer, and one each `/ready` and `/metrics`.',
  }),
  DATABASE_CONNECT_TIMEOUT_MS: Ms(1000, 'Longest wait for a free or new connection; then 503.'),
  DATABASE_STATEMENT_TIMEOUT_MS: Ms(1500, 'Longest run of one statement; then 503.'),
  RABBITMQ_URL: Type.Optional(
    Type.String({
      description:
        'RabbitMQ 3.10 or newer, by the AMQP URI specification: `amqp://user:password@host:5672/vhost`, or `amqps://` with TLS. Left out: events are delivered inside the process.',
    }),
  ),
  RABBITMQ_CONFIRM_TIMEOUT_MS: Ms(
    5000,
    'Longest wait for the confirm of a published event; then its channel is closed and the event is sent again.',
    // src/timings.ts holds it against the other times of the relay.
    10_000,
  ),
  EVENT_PAYLOAD: Type.Enum(['full', 'id'], {
    default: 'full',
    description: '`full` puts the user into events, `id` only its id and version.',
  }),
  EVENT_RETENTION_DAYS: Type.Integer({
    minimum: 1,
    maximum: 3650,
    default: 30,
    description: 'Days for which `GET /events/` reaches back. Events that are not published yet are kept longer.',
  }),
  HOST: Formed('^[\\w.:%-]{1,253}$', 'be an address of this machine, such as 127.0.0.1 or ::1, or its name', {
    default: '127.0.0.1',
    description: 'Address to listen on. Anything but loopback needs `AUTH=off`.',
  }),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 8000, description: 'Port to listen on; 0 takes a free one.' }),
  PUBLIC_URL: Type.Optional(
    Formed('^https?://[^/?#@\\\\\\s]+$', 'be an origin such as https://users.example.com, without user, path and query', {
      description:
        'Where browsers and callers reach the service: its one public identity. Its host is answered to, and its pages may change something. Left out: `http://localhost:PORT`.',
    }),
  ),
  ALLOWED_HOSTS: Type.Array(Type.String({ form: 'be a host such as users.internal or 10.0.0.7, perhaps with a port' }), {
    default: [],
    description:
      'Further hosts that the service answers to, by comma: `users.internal,10.0.0.7:8000`. Names of loopback and that of `PUBLIC_URL` need no entry. Where `HOST` is not loopback, any host is answered to until this or `PUBLIC_URL` is set.',
  }),
  AUTH: Type.Optional(
    Type.Enum(['off'], { description: 'There is no sign-in yet: `off` says that you know, and keep strangers away by other means.' }),
  ),
  TRUST_PROXY: Type.Array(
    Type.String({ form: 'be a network such as 10.0.0.0/8, an address, or one of loopback, linklocal, uniquelocal' }),
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
  PASSWORD_LENGTH_MIN: Type.Integer({ minimum: 8, maximum: 128, default: 8, description: 'Shortest password, in code points.' }),
  RUN: Type.Array(Type.Enum(['api', 'relay', 'consumer']), {
    minItems: 1,
    uniqueItems: true,
    default: ['api', 'relay', 'consumer'],
    description: 'What this process runs, by comma.',
  }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Lines below this level are not written. Upper case is accepted.',
  }),
  DEBUG: Type.Boolean({ default: false, description: '`true` is short for `LOG_LEVEL=debug`.' }),
  APP_NAME: Formed('^[\\w.-]{1,64}$', 'be 1 to 64 of the characters A-Z a-z 0-9 _ . -', {
    default: 'rollcall',
    description: 'Name in logs, events and metrics.',
  }),
  APP_VERSION: Formed('^[\\w.+-]{1,64}$', 'be 1 to 64 of the characters A-Z a-z 0-9 _ . + -', {
    default: manifest.version,
    description: 'Version in logs, metrics and the OpenAPI document. Left out: that of the package.',
  }),
  DATA_DIR: Formed('^[^~].{0,999}$', 'be a path of at most 1000 characters, and without ~, which only a shell replaces', {
    default: '.data',
    description: 'Folder of the private PostgreSQL server, if there is no `DATABASE_URL`.',
  }),
});

/** Characters of a wrong value that a message repeats. */
const shownMax = 100;

export type Config = Readonly<Static<typeof Settings>>;

/** All the faults of the environment, a line each. */
export class ConfigError extends Error {
  constructor(faults: readonly string[]) {
    super(`The settings are not right:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/**
 * Reads `.env` in the working folder, where there is one, without overruling what the environment already says.
 * @throws ConfigError naming the lines that cannot be meant so
 */
export function loadEnvFile(): void {
  const { values, faults } = readEnvFile('.env', Object.keys((Settings as TObject).properties), (name) => name in process.env);
  if (faults.length > 0) throw new ConfigError(faults);
  for (const [name, value] of values) process.env[name] ??= value;
}

/** @throws ConfigError naming every fault; values of URLs are never repeated, since they hold passwords */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries((Settings as TObject).properties)) {
    const text = env[name]?.trim();
    const value = text === undefined || text === '' ? structuredClone((schema as { default?: unknown }).default) : read(name, text, schema);
    if (value === undefined) continue;
    const found = faultsOf(name, value, schema, text);
    if (found.length === 0) values[name] = value;
    faults.push(...found);
  }
  const config = values as Config;
  faults.push(...contradictions(values as Partial<Config>, (env['RABBITMQ_URL'] ?? '').trim() === ''));
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    ...config,
    LOG_LEVEL: config.DEBUG && config.LOG_LEVEL === 'info' ? 'debug' : config.LOG_LEVEL,
    DATA_DIR: resolve(config.DATA_DIR),
  };
}

function faultsOf(name: string, value: unknown, schema: TSchema, text = ''): readonly string[] {
  if (/\p{Cc}/u.test(text)) return [`${name} has a line break or another control character in it: remove it.`];
  if (name === 'RABBITMQ_URL') return faultsOfUrl(() => readRabbitUrl(text));
  if (name === 'DATABASE_URL' || name === 'DATABASE_ADMIN_URL') return faultsOfUrl(() => readDatabaseUrl(text, name));
  const shown = name.endsWith('_URL') ? '' : `, not ${JSON.stringify(text.length > shownMax ? `${text.slice(0, shownMax)}...` : text)}`;
  const isForm = Value.Check(schema, value) && (name !== 'PUBLIC_URL' || URL.canParse(text));
  if (!isForm || (Array.isArray(value) && !value.every((item) => isItem(name, item)))) return [`${name} must ${rule(schema)}${shown}.`];
  return [];
}

function faultsOfUrl(readUrl: () => unknown): readonly string[] {
  try {
    readUrl();
    return [];
  } catch (error) {
    if (error instanceof RabbitUrlError || error instanceof DatabaseUrlError) return error.faults;
    throw error;
  }
}

function read(name: string, text: string, schema: TSchema): unknown {
  const { type } = schema as { type?: string };
  if (type === 'integer') return /^-?\d+$/.test(text) ? Number(text) : text;
  if (type === 'boolean')
    return ({ true: true, '1': true, false: false, '0': false } as Record<string, boolean>)[text.toLowerCase()] ?? text;
  if (type === 'array') return text.split(',').map((item) => item.trim());
  if (name === 'LOG_LEVEL') return text.toLowerCase();
  if (name === 'PUBLIC_URL') return asOrigin(text);
  // The LiteStar service's URLs name SQLAlchemy's driver.
  if (name.startsWith('DATABASE_')) return text.replace(/^postgres(ql)?\+asyncpg:/, 'postgresql:');
  return text;
}

// As a browser writes it; what is more than an origin stays, and is refused.
function asOrigin(text: string): string {
  const url = URL.parse(text);
  return url !== null && url.href === `${url.origin}/` ? url.origin : text;
}

function rule(schema: TSchema): string {
  const { type, minimum, maximum, enum: choices, items, form, uniqueItems } = schema as Record<string, unknown> & { items?: TSchema };
  if (Array.isArray(choices)) return `be one of ${choices.join(', ')}`;
  if (type === 'integer') return `be a whole number from ${minimum} to ${maximum}`;
  if (type === 'boolean') return 'be true or false';
  if (type === 'array' && items !== undefined)
    return `be a list by comma${uniqueItems ? ', each once' : ''}, of which each must ${rule(items)}`;
  return String(form);
}

// What a pattern cannot say of a list's entry.
function isItem(name: string, text: string): boolean {
  if (name === 'TRUST_PROXY') return isNetwork(text);
  if (name === 'CORS_ORIGINS') return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
  if (name === 'ALLOWED_HOSTS') return /^(\[[\da-f:.]+\]|[\w-]+(\.[\w-]+)*\.?)(:\d{1,5})?$/i.test(text) && URL.canParse(`http://${text}`);
  return true;
}

function isNetwork(text: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(text)) return true;
  const [, address = '', bits] = /^([\da-f:.]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && (bits === undefined || (Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128)));
}

// Settings that are right by themselves and wrong together; one that is missing here has its own fault already.
function contradictions({ AUTH, HOST, RUN }: Partial<Config>, isInProcess: boolean): string[] {
  const faults: string[] = [];
  if (HOST !== undefined && AUTH !== 'off' && !isLoopback(HOST)) {
    faults.push(
      `HOST ${HOST} can be reached from other machines, and there is no sign-in yet: set AUTH=off to say that you know, or HOST=127.0.0.1.`,
    );
  }
  if (RUN !== undefined && isInProcess && RUN.includes('relay') !== RUN.includes('consumer')) {
    faults.push('RUN has only one of relay and consumer, which meet inside one process unless RABBITMQ_URL is set.');
  }
  return faults;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

// A default as it would be written in the environment.
export function formatDefault(schema: TSchema): string {
  const { default: value } = schema as { default?: unknown };
  return Array.isArray(value) ? value.join(',') : String(value ?? '');
}
