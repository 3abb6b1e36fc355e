// Settings of RabbitMQ.
import { Type } from '../../runtime/schema.ts';
import { Ms } from '../../runtime/settings.ts';
import { RabbitUrlError, readRabbitUrl } from './url.ts';

function issuesOf(text: string): readonly string[] {
  try {
    readRabbitUrl(text);
    return [];
  } catch (error) {
    if (error instanceof RabbitUrlError) return error.issues;
    throw error;
  }
}

export const settings = {
  RABBITMQ_URL: Type.Optional(
    Type.String({
      issuesOf,
      description:
        'RabbitMQ 3.10 or newer, by the AMQP URI specification: `amqp://user:password@host:5672/vhost`, or `amqps://` with TLS. Left out: events are delivered inside the process.',
    }),
  ),
  RABBITMQ_CONFIRM_TIMEOUT_MS: Ms(
    5000,
    'Longest wait for the confirm of a published event; then its channel is closed and the event is sent again.',
    // src/app/timings.ts holds it against the other times of the relay.
    10_000,
  ),
};
