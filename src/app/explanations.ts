// What to tell the operator of an error: a sentence where there is something to mend, the whole error where there is not.

import { ConfigError } from '../config.ts';
import { MigrationError } from '../platform/db/migrate.ts';
import { explainDatabase } from '../platform/db/refusal.ts';
import { BrokerError } from '../platform/events/rabbitmq/channel.ts';
import { RabbitUrlError } from '../platform/events/rabbitmq/url.ts';
import { ListenError } from '../platform/http/listen.ts';
import { Problem } from '../platform/problem.ts';
import { EmbeddedPostgresError } from '../private-postgres/server.ts';

const sentences = [ConfigError, RabbitUrlError, MigrationError, EmbeddedPostgresError, BrokerError, ListenError, Problem];

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (sentences.some((known) => error instanceof known)) return error.message;
  // Where the database is away, the pool's problem has the driver's error as its cause.
  return explainDatabase(error.cause instanceof Error ? error.cause : error) ?? error.stack ?? error.message;
}
