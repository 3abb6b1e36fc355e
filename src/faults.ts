// What to tell the operator of a fault: a sentence where there is something to mend, the whole error where there is not.

import { RabbitUrlError } from './config/rabbitmq-url.ts';
import { ConfigError } from './config.ts';
import { EmbeddedPostgresError } from './db/embedded.ts';
import { MigrationError } from './db/migrate.ts';
import { explainDatabase } from './db/refusal.ts';
import { BrokerError } from './events/channel.ts';
import { ListenError } from './http/listen.ts';
import { Problem } from './problem.ts';

const sentences = [ConfigError, RabbitUrlError, MigrationError, EmbeddedPostgresError, BrokerError, ListenError, Problem];

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (sentences.some((known) => error instanceof known)) return error.message;
  // Where the database is away, the pool's problem has the driver's error as its cause.
  return explainDatabase(error.cause instanceof Error ? error.cause : error) ?? error.stack ?? error.message;
}
