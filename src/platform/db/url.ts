// DATABASE_URL by libpq's rules for connection URIs (PostgreSQL manual, 34.1.1.2 and 34.1.2), several hosts included, and with
// asyncpg's `ssl`. What is not understood is refused by name: passed over, it would connect elsewhere, or with less safety.
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { createSecureContext, getCACertificates } from 'node:tls';
import { decode } from '../runtime/percent-encoding.ts';

export type SslMode = (typeof sslModes)[number];

/** As node:tls names them. */
export type Certificates = {
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly passphrase?: string;
};

export type DatabaseAddress = {
  /** At least one, in the order in which they are tried. What is left out is for the driver to fill in. */
  readonly hosts: readonly { readonly host: string | undefined; readonly port: number | undefined }[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly sslMode: SslMode;
  readonly certificates: Certificates;
  /** What a server must be, among several. */
  readonly target: (typeof targets)[number];
  readonly applicationName: string | undefined;
  readonly options: string | undefined;
};

/** `issues` has a sentence for each, in which nothing is repeated that may be secret. */
export class DatabaseUrlError extends Error {
  override readonly name = 'DatabaseUrlError';
  readonly issues: readonly string[];

  constructor(issues: readonly string[]) {
    super(issues.join(' '));
    this.issues = issues;
  }
}

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
// libpq's, and what node-postgres calls its `require`.
const modeWords: Readonly<Record<string, SslMode>> = {
  ...(Object.fromEntries(sslModes.map((mode) => [mode, mode])) as Record<SslMode, SslMode>),
  'no-verify': 'require',
};
// asyncpg has libpq's words, and True.
const sslWords: Readonly<Record<string, SslMode>> = {
  ...modeWords,
  true: 'verify-full',
  '1': 'verify-full',
  false: 'disable',
  '0': 'disable',
};
const targets = ['any', 'read-write', 'primary'] as const;
const readers = ['read-only', 'standby', 'prefer-standby'];
const known = [
  ...['host', 'port', 'dbname', 'user', 'password', 'sslmode', 'ssl', 'sslrootcert', 'sslcert', 'sslkey', 'sslpassword'],
  // The last asks node-postgres for libpq's meaning of sslmode, which is the only one here.
  ...['target_session_attrs', 'application_name', 'options', 'uselibpqcompat'],
];
// PostgreSQL cuts longer names (NAMEDATALEN), so that another role or database would be meant.
const nameBytesMax = 63;

const form = /^postgres(?:ql)?(?:\+asyncpg)?:\/\/(?:([^/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?(#.*)?$/is;

type Issue = (what: string) => void;

/**
 * @param name of the setting, for the issues
 * @throws DatabaseUrlError
 */
export function readDatabaseUrl(url: string, name = 'DATABASE_URL'): DatabaseAddress {
  const issues: string[] = [];
  const address = read(url, (what) => issues.push(`${name} ${what}`));
  if (address === undefined || issues.length > 0) throw new DatabaseUrlError(issues);
  return address;
}

function read(url: string, issue: Issue): DatabaseAddress | undefined {
  const [match, userinfo, hosts = '', path, query = '', fragment] = form.exec(url) ?? [];
  if (match === undefined) {
    issue('must look like postgres://user:password@host:5432/database, with @ : / ? # and % in user and password percent-encoded.');
    return undefined;
  }
  // With a / or ? in the password that is not escaped, the host would be read from before it.
  if (fragment !== undefined || path?.includes('@') || query.includes('@')) {
    issue(
      'must look like postgres://user:password@host:5432/database, with @ : / ? # and % in user, password and database percent-encoded.',
    );
    return undefined;
  }
  const given = readParameters(query, issue);
  const [, user, password] = /^([^:]*)(?::(.*))?$/s.exec(userinfo ?? '') ?? [];
  const part = (what: string, text: string | undefined, parameter: string) =>
    given.get(parameter) ?? (text === undefined || text === '' ? undefined : decode(what, text, issue));
  const address = {
    hosts: readHosts(hosts, given, issue),
    user: part('user', user, 'user'),
    password: part('password', password, 'password'),
    database: part('database', path, 'dbname'),
    ...readSsl(given, issue),
    target: readTarget(given.get('target_session_attrs') ?? 'any', issue),
    applicationName: given.get('application_name'),
    options: given.get('options'),
  };
  for (const what of ['user', 'database'] as const)
    if (Buffer.byteLength(address[what] ?? '') > nameBytesMax) issue(`has a ${what} with a name of more than ${nameBytesMax} bytes.`);
  return address;
}

function readParameters(query: string, issue: Issue): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const [, name = '', text = ''] = /^([^=]*)=?(.*)$/s.exec(pair) ?? [];
    if (!known.includes(name)) {
      // What is not even a word may be a part of a password.
      const which = /^[a-z_]{1,40}$/i.test(name) ? name : 'a parameter';
      const cure = name === 'connect_timeout' ? 'set DATABASE_CONNECT_TIMEOUT_MS' : `remove it; there are ${known.join(', ')}`;
      issue(`has ${which} after the ?, which is not allowed: ${cure}.`);
    } else if (given.has(name)) issue(`has ${name} twice: keep one.`);
    else if (text !== '') given.set(name, decode(name, text, issue));
  }
  return given;
}

function readHosts(authority: string, given: ReadonlyMap<string, string>, issue: Issue): DatabaseAddress['hosts'] {
  const stated = authority.split(',').map((text) => readHost(text, issue));
  const names = given.get('host')?.split(',') ?? stated.map(({ host }) => host);
  const ports = given.get('port')?.split(',') ?? (given.has('host') && stated.length === 1 ? [] : stated.map(({ port }) => port));
  // One port is for all hosts.
  if (ports.length > 1 && ports.length !== names.length)
    issue('has another number of ports than of hosts: give each host its port, or all one.');
  return names.map((name, at) => ({
    host: name || undefined,
    port: readPort(ports.length > 1 ? ports[at] : (ports[0] ?? stated[0]?.port), issue),
  }));
}

function readHost(text: string, issue: Issue): { host: string | undefined; port: string | undefined } {
  const [match, bracketed, plain = '', port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([^:]*))?$/s.exec(text) ?? [];
  if (match === undefined || (bracketed !== undefined && !isIPv6(bracketed.split('%')[0] ?? ''))) {
    issue('must have a host, or several by comma, each as in host:5432 or [::1]:5432.');
    return { host: undefined, port: undefined };
  }
  const host = bracketed ?? decode('host', plain, issue);
  if (/[^\p{L}\p{M}\p{N}._:%/@ -]/u.test(host)) issue('must have a host, or several by comma, without characters that no host name has.');
  return { host, port };
}

function readPort(text: string | undefined, issue: Issue): number | undefined {
  if (text === undefined || text === '') return undefined;
  const port = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) issue('must have a port from 1 to 65535 behind its host, or none; user and password stand before an @.');
  return port;
}

function readTarget(text: string, issue: Issue): DatabaseAddress['target'] {
  const target = targets.find((each) => each === text);
  if (target !== undefined) return target;
  if (readers.includes(text)) issue(`has target_session_attrs=${text}, which leads to a server that takes no changes: write read-write.`);
  else issue(`must have target_session_attrs as one of ${targets.join(', ')}.`);
  return 'any';
}

function readSsl(given: ReadonlyMap<string, string>, issue: Issue): Pick<DatabaseAddress, 'sslMode' | 'certificates'> {
  const [libpq, asyncpg] = [given.get('sslmode'), given.get('ssl')];
  if (libpq !== undefined && asyncpg !== undefined) issue('has both sslmode and ssl: keep one.');
  const root = given.get('sslrootcert');
  // The roots of the system vouch for anybody, so that only the name of the host says who it is (libpq).
  const byDefault = root === 'system' ? 'verify-full' : 'prefer';
  const sslMode = libpq === undefined ? sslWords[asyncpg ?? byDefault] : modeWords[libpq];
  if (sslMode === undefined) {
    issue(`must have ${libpq === undefined ? 'ssl' : 'sslmode'} as one of ${sslModes.join(', ')}.`);
    return { sslMode: 'disable', certificates: {} };
  }
  if (root === 'system' && sslMode !== 'verify-full') issue('has sslrootcert=system, which needs sslmode=verify-full.');
  if (root === undefined && sslMode === 'verify-ca')
    issue('has verify-ca without sslrootcert: name the file of the CA, or write verify-full.');
  const [cert, key] = [readPem('sslcert', given, issue), readPem('sslkey', given, issue)];
  if ((cert === undefined) !== (key === undefined)) issue('must have sslcert and sslkey together.');
  const passphrase = given.get('sslpassword');
  const certificates = {
    ...(root !== undefined && { ca: root === 'system' ? systemRoots() : [readPem('sslrootcert', given, issue) ?? ''] }),
    ...(root === undefined && sslMode === 'verify-full' && { ca: systemRoots() }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(passphrase !== undefined && { passphrase }),
  };
  try {
    createSecureContext({ ...certificates, ca: certificates.ca === undefined ? undefined : [...certificates.ca] });
  } catch (error) {
    issue(
      `has certificates that cannot be used (${(error as NodeJS.ErrnoException).code}): do sslcert and sslkey belong together, is sslpassword right?`,
    );
  }
  return { sslMode, certificates };
}

function systemRoots(): string[] {
  return [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
}

function readPem(parameter: string, given: ReadonlyMap<string, string>, issue: Issue): string | undefined {
  const path = given.get(parameter);
  if (path === undefined) return undefined;
  try {
    const text = readFileSync(path, 'latin1');
    if (text.includes('-----BEGIN ')) return text;
    issue(`has ${parameter}=${path}, which holds nothing in PEM: convert it, as with "openssl x509" or "openssl pkey".`);
  } catch (error) {
    issue(
      `has ${parameter}=${path}, which cannot be read (${(error as NodeJS.ErrnoException).code}): put the file there, readable for the service's account.`,
    );
  }
  return undefined;
}
