// What to tell the operator of a fault: a sentence where there is something to mend, the whole error where there is not.

import { RabbitUrlError } from './config/rabbitmq-url.ts';
import { ConfigError } from './config.ts';
import { EmbeddedPostgresError } from './db/embedded.ts';
import { MigrationError } from './db/migrate.ts';
import { BrokerError } from './events/channel.ts';

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ([ConfigError, RabbitUrlError, MigrationError, EmbeddedPostgresError, BrokerError].some((known) => error instanceof known))
    return error.message;
  const { code, port, address } = error as { code?: string; port?: number; address?: string };
  if (code === 'EADDRINUSE') return `Port ${port} is taken: stop what listens there, or set PORT.`;
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES') return `HOST and PORT cannot be listened on (${code} ${address}:${port}): set others.`;
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND')
    return `PostgreSQL cannot be reached (${code}): is it running, and is DATABASE_URL right?`;
  return error.stack ?? error.message;
}
