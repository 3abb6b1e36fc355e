// A private certificate authority for tests of TLS, made with openssl: a server and a client that it vouches for.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../harness/packages.ts';

const run = promisify(execFile);

/** Paths of files in PEM. Disposing removes them. */
export type Certificates = AsyncDisposable & {
  readonly ca: string;
  /** For localhost, 127.0.0.1 and ::1. */
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string; readonly keyEncrypted: string; readonly keyPassword: string };
  /** An authority that nobody here trusts. */
  readonly otherCa: string;
};

export async function createCertificates(): Promise<Certificates> {
  const openssl = await findProgram({
    package: 'openssl',
    places: ['/usr/bin/openssl', '/opt/homebrew/bin/openssl', '/usr/local/bin/openssl'],
  });
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-certificates-'));
  const path = (name: string) => join(folder, name);
  const call = (...args: string[]) => run(openssl.path, args, { cwd: folder, env: { ...process.env, ...openssl.env } });
  // The machine's own configuration would add extensions.
  await writeFile(path('openssl.cnf'), '[req]\ndistinguished_name = dn\n[dn]\n');
  async function make(name: string, extensions: string[], issuer?: string): Promise<{ cert: string; key: string }> {
    const [cert, key] = [`${name}.pem`, `${name}.key`];
    await call(
      ...['req', '-x509', '-config', 'openssl.cnf', '-days', '2', '-subj', `/CN=Rollcall test ${name}`],
      ...['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-keyout', key, '-out', cert],
      ...extensions.flatMap((extension) => ['-addext', extension]),
      ...(issuer === undefined ? [] : ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`]),
    );
    return { cert: path(cert), key: path(key) };
  }
  const authority = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
  const leaf = (usage: string) => ['basicConstraints=critical,CA:FALSE', `extendedKeyUsage=${usage}`];
  try {
    const [ca, otherCa] = [await make('ca', authority), await make('other-ca', authority)];
    const server = await make('server', [...leaf('serverAuth'), 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'], 'ca');
    const client = await make('client', leaf('clientAuth'), 'ca');
    const keyPassword = 'k& y';
    await call('pkey', '-in', client.key, '-aes256', '-passout', `pass:${keyPassword}`, '-out', 'client-encrypted.key');
    return {
      ca: ca.cert,
      otherCa: otherCa.cert,
      server,
      client: { ...client, keyEncrypted: path('client-encrypted.key'), keyPassword },
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
