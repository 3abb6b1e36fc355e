// What PostgreSQL, or the way to it, answers to a mistake of the operator's: a sentence with its cure. What may pass by itself is
// no mistake.
import { PasswordMissingError } from './route.ts';
import { codeOf, isFromServer, sqlstate } from './sqlstate.ts';

/** The setting whose URL led there. */
export type Setting = 'DATABASE_URL' | 'DATABASE_ADMIN_URL';

// Of OpenSSL and node:tls: https://nodejs.org/docs/latest-v24.x/api/tls.html#x509-certificate-error-codes
const untrusted = /^(ERR_TLS_CERT|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH)/;
// PgBouncer says all with protocol_violation (08P01), and most of it passes.
const pgbouncerRefusal = /no such (user|database)|authentication failed|not allowed/i;

// Connections, standbys, conflicts, resources, operators, the system, locks.
const passing = /^(08|25|40|53|57|58|55P03)/;

/** Whether the same may succeed later with nothing corrected. */
export function mayPass(error: unknown): boolean {
  return !isFromServer(error) || passing.test(codeOf(error) ?? '');
}

/** @returns undefined for what may pass: a server that is away, starts, or is full */
export function findRefusal(error: unknown, setting: Setting): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { message } = error;
  if (error instanceof PasswordMissingError)
    return `PostgreSQL asks for a password, and ${setting} has none: write it as in postgres://user:password@host:5432/database.`;
  const code = codeOf(error);
  if (message.includes('does not support SSL'))
    return `${setting} asks for SSL, and the server has none: turn it on there, or write sslmode=prefer.`;
  if (code !== undefined && untrusted.test(code))
    return `The certificate of the server that ${setting} names is not trusted (${code}: ${message}): name its CA in sslrootcert, and the host as the certificate has it.`;
  if (/^unsupported startup parameter/.test(message))
    return `PgBouncer refuses what the service says at its start (${message}): set ignore_startup_parameters = statement_timeout there.`;
  if (code === undefined || !isFromServer(error)) return undefined;
  const said = `(${message}; SQLSTATE ${code})`;
  if (code === sqlstate.invalidPassword || (code.startsWith('08') && pgbouncerRefusal.test(message)))
    return `PostgreSQL refuses the user or the password of ${setting} ${said}: correct them.`;
  if (code === sqlstate.invalidAuthorization)
    return `PostgreSQL does not let in the user of ${setting} ${said}: correct it, or let it in by pg_hba.conf.`;
  if (code === sqlstate.invalidCatalogName) return `The database of ${setting} does not exist ${said}: create it, or correct its name.`;
  return mayPass(error) ? undefined : `PostgreSQL refuses what ${setting} leads to ${said}: correct it.`;
}

/** A sentence for a failure of a command, where the database is its cause. */
export function explainDatabase(error: Error): string | undefined {
  const refusal = findRefusal(error, 'DATABASE_URL');
  if (refusal !== undefined) return refusal;
  const code = codeOf(error);
  const isDriver = /^(timeout e|Connection terminated|Query read timeout|no server of DATABASE_URL)/.test(error.message);
  if (isFromServer(error) || isDriver || /^E(CONN|NOTFOUND|AI_AGAIN|HOST|NET|TIMEDOUT|NOENT|PIPE)/.test(code ?? ''))
    return `PostgreSQL cannot be reached (${code ?? error.message}): is it running, and is DATABASE_URL right?`;
  return undefined;
}
