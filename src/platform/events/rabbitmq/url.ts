// RABBITMQ_URL by the AMQP URI specification (rabbitmq.com/docs/uri-spec) and its query parameters (docs/uri-query-parameters).
// What is not understood is refused by name: passed over, it would connect elsewhere, or without the safety that was asked for.
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import { createSecureContext } from 'node:tls';
import { decode } from '../../runtime/percent-encoding.ts';

type Tls = {
  readonly rejectUnauthorized: boolean;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly passphrase?: string;
  readonly servername?: string;
};

/** Where and how to connect, by the names of rabbitmq-client. */
export type RabbitAddress = {
  readonly hostname: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
  /** Seconds. */
  readonly heartbeat: number;
  /** Milliseconds. */
  readonly connectionTimeout: number;
  /** Milliseconds to wait for a channel, the connection included. */
  readonly acquireTimeout: number;
  readonly maxChannels: number;
  readonly tls?: Tls;
};

/** `issues` has a sentence for each, in which nothing is repeated that may be secret. */
export class RabbitUrlError extends Error {
  override readonly name = 'RabbitUrlError';
  readonly issues: readonly string[];

  constructor(issues: readonly string[]) {
    super(issues.join(' '));
    this.issues = issues;
  }
}

const numbers = {
  heartbeat: { minimum: 0, maximum: 65_535, byDefault: 10 },
  connection_timeout: { minimum: 1, maximum: 600_000, byDefault: 5000 },
  // One for the work, one that takes its place, one for what is declared beside it, and one to spare.
  channel_max: { minimum: 4, maximum: 65_535, byDefault: 2047 },
};
const tlsParameters = ['cacertfile', 'certfile', 'keyfile', 'password', 'verify', 'server_name_indication'];
const known = [...Object.keys(numbers), 'auth_mechanism', ...tlsParameters];
const fileBytesMax = 1_048_576;

/** RFC 3986 with the parts that an AMQP URI has. */
const form = /^(amqps?):\/\/(?:([^/?#]*)@)?(\[[^\]/?#@]*\]|[^:/?#@[\]]*)(?::([^:/?#@]*))?(\/[^?#]*)?(?:\?([^#]*))?(#.*)?$/is;

type Issue = (what: string) => void;

/**
 * The files that the URL names are read here.
 * @throws RabbitUrlError
 */
export function readRabbitUrl(url: string): RabbitAddress {
  const issues: string[] = [];
  const issue: Issue = (what) => issues.push(`RABBITMQ_URL ${what}`);
  const address = read(url, issue);
  if (address === undefined || issues.length > 0) throw new RabbitUrlError(issues);
  return address;
}

function read(url: string, issue: Issue): RabbitAddress | undefined {
  const [match, scheme = '', userinfo, host = '', port = '', path, query = '', fragment] = form.exec(url) ?? [];
  if (match === undefined) {
    issue(
      'must look like amqp://user:password@host:5672/vhost, or amqps:// with TLS: an IPv6 address stands in brackets, there is one host, and / ? # @ in user and password are written %2F %3F %23 %40.',
    );
    return undefined;
  }
  if (/[\s\p{Cc}]/u.test(url)) issue('has a blank or a control character in it: remove it, or write it as % and its two digits.');
  if (fragment !== undefined) issue('has a # in it: write %23.');
  // With a / or ? in the password that is not escaped, the host would be read from before it, and the rest as something else.
  if (path?.includes('@') || query.includes('@')) {
    issue('has an @ after the host: write %40, or, where a / or ? is part of the password, %2F or %3F for that.');
    return undefined;
  }
  const isTls = scheme.toLowerCase() === 'amqps';
  const [username, password] = readUser(userinfo, issue);
  return {
    hostname: readHost(host, issue),
    port: readPort(port, isTls, issue),
    username,
    password,
    vhost: readVhost(path, issue),
    ...readParameters(query, isTls, issue),
  };
}

function readUser(userinfo: string | undefined, issue: Issue): [username: string, password: string] {
  const [, user, password] = /^([^:]*)(?::(.*))?$/s.exec(userinfo ?? 'guest') ?? [];
  // As RabbitMQ's own client: what is left out is "guest", and what is empty is empty.
  return [decode('user', user ?? 'guest', issue), decode('password', password ?? 'guest', issue)];
}

function readHost(host: string, issue: Issue): string {
  if (host.startsWith('[')) {
    const address = decode('host', host.slice(1, -1), issue);
    if (!isIPv6(address)) issue('has something else than an IPv6 address in the brackets of its host: write it as in amqp://[::1]:5672.');
    return address;
  }
  if (host === '') issue('names no host: write it as in amqp://localhost:5672.');
  const name = decode('host', host, issue);
  if (name.includes(',')) issue('names several hosts: write one, such as the name of a load balancer in front of the cluster.');
  else if (/[^\p{L}\p{M}\p{N}._-]/u.test(name)) issue('has a character in its host that no host name has.');
  return name;
}

function readPort(port: string, isTls: boolean, issue: Issue): number {
  if (port === '') return isTls ? 5671 : 5672;
  const number = /^\d{1,6}$/.test(port) ? Number(port) : 0;
  if (number < 1 || number > 65_535)
    issue('must have a port from 1 to 65535 behind its host, or none; user and password stand before an @.');
  return number;
}

/** An absent path is the default virtual host. */
function readVhost(path: string | undefined, issue: Issue): string {
  // By the specification "amqp://host/" is the virtual host with the empty name, which RabbitMQ refuses to make. Most clients
  // take it for the default.
  if (path === undefined || path === '/') return '/';
  const name = path.slice(1);
  if (name.includes('/')) {
    issue('has a second / after the host, and the virtual host is one segment: write %2F for a / in its name, as in /team%2Fprod or /%2F.');
    return '/';
  }
  const vhost = decode('virtual host', name, issue);
  // A short string of AMQP.
  if (Buffer.byteLength(vhost) > 255) issue('has a virtual host with a name of more than 255 bytes.');
  return vhost;
}

type Parameters = Pick<RabbitAddress, 'heartbeat' | 'connectionTimeout' | 'acquireTimeout' | 'maxChannels' | 'tls'>;

function readParameters(query: string, isTls: boolean, issue: Issue): Parameters {
  const given = new Map<string, string>();
  for (const pair of query.split('&').filter((part) => part !== '')) {
    const [, name = '', text = ''] = /^([^=]*)=?(.*)$/s.exec(pair) ?? [];
    if (!known.includes(name)) {
      // What is not even a word may be a part of a password.
      const which = /^[a-z_]{1,40}$/i.test(name) ? name : 'a parameter';
      issue(`has ${which} after the ?, which is not allowed: there are ${known.join(', ')}.`);
    } else if (given.has(name) && name !== 'auth_mechanism') issue(`has ${name} twice: keep one.`);
    else if (text === '') issue(`has ${name} without a value: write one, or leave it out.`);
    else if (name === 'auth_mechanism' && text.toLowerCase() !== 'plain')
      issue('must have no auth_mechanism but plain, the only one that the client has.');
    else given.set(name, decode(name, text, issue));
  }
  const numberOf = (name: keyof typeof numbers) => {
    const { minimum, maximum, byDefault } = numbers[name];
    const text = given.get(name) ?? String(byDefault);
    const number = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    if (number < minimum || number > maximum) issue(`must have ${name} from ${minimum} to ${maximum}, not "${text}".`);
    return number;
  };
  // 0 is no limit, by AMQP.
  const maxChannels = given.get('channel_max') === '0' ? numbers.channel_max.byDefault : numberOf('channel_max');
  const connectionTimeout = numberOf('connection_timeout');
  const common = { heartbeat: numberOf('heartbeat'), connectionTimeout, acquireTimeout: connectionTimeout, maxChannels };
  if (isTls) return { ...common, tls: readTls(given, issue) };
  for (const name of tlsParameters.filter((each) => given.has(each))) issue(`has ${name} without TLS: write amqps:// for it.`);
  return common;
}

function readTls(given: ReadonlyMap<string, string>, issue: Issue): Tls {
  const verify = given.get('verify') ?? 'verify_peer';
  if (!['verify_peer', 'verify_none'].includes(verify)) issue(`must have verify=verify_peer or verify=verify_none, not "${verify}".`);
  const servername = given.get('server_name_indication');
  if (servername !== undefined && (isIP(servername) !== 0 || !/^[\w.-]+$/.test(servername)))
    issue('must have the name of a host as server_name_indication, and no address.');
  const passphrase = given.get('password');
  const [ca, cert] = [readPem('cacertfile', given, issue), readPem('certfile', given, issue)];
  // As for RabbitMQ's own client: the key may stand in the same file.
  const key = given.has('keyfile') ? readPem('keyfile', given, issue) : cert;
  if (given.has('keyfile') && !given.has('certfile')) issue('has keyfile without certfile: name the certificate that belongs to the key.');
  if (cert !== undefined && key === cert && !pemBlocks(cert, 'private key').length)
    issue('has certfile without keyfile, and no private key in that file: name the key that belongs to the certificate.');
  else if (cert !== undefined && key !== undefined) {
    try {
      createSecureContext({ cert, key, ...(passphrase !== undefined && { passphrase }) });
    } catch (error) {
      const hint = passphrase === undefined ? 'where the key is encrypted, name its password as password=...' : 'is the password right?';
      issue(`has a certfile and a private key that do not work together (${reasonOf(error)}): are they a pair? ${hint}`);
    }
  }
  return {
    rejectUnauthorized: verify !== 'verify_none',
    ...(ca && { ca }),
    ...(cert && key && { cert, key }),
    ...(passphrase !== undefined && { passphrase }),
    ...(servername !== undefined && { servername }),
  };
}

function readPem(parameter: string, given: ReadonlyMap<string, string>, issue: Issue): Buffer | undefined {
  const path = given.get(parameter);
  if (path === undefined) return undefined;
  const wrong = (what: string) => issue(`has ${parameter}=${path}, and that ${what}`);
  let bytes: Buffer;
  try {
    const stats = statSync(path);
    // A FIFO would hold up the start.
    if (!stats.isFile() || stats.size > fileBytesMax) return void wrong('is not a file of certificates or a key in PEM.');
    bytes = readFileSync(path);
  } catch (error) {
    return void wrong(`cannot be read (${(error as NodeJS.ErrnoException).code}): put the file there, readable for the service's account.`);
  }
  const what = parameter === 'keyfile' ? 'private key' : 'certificate';
  const blocks = pemBlocks(bytes, what);
  if (blocks.length === 0) return void wrong(`holds no ${what} in PEM: convert it, as with "openssl x509" or "openssl pkey".`);
  try {
    if (what === 'certificate') for (const block of blocks) new X509Certificate(block);
  } catch (error) {
    return void wrong(`holds a certificate that cannot be read (${reasonOf(error)}): replace it.`);
  }
  return bytes;
}

function pemBlocks(bytes: Buffer, what: 'certificate' | 'private key'): string[] {
  return (
    bytes.toString('latin1').match(new RegExp(`-----BEGIN [A-Z0-9 ]*${what.toUpperCase()}-----[^]*?-----END [A-Z0-9 ]*-----`, 'g')) ?? []
  );
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  return code ?? message;
}
