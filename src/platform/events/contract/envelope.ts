// The shape of every event: what is the same for all, around the `data` of the feature that it tells of.
import type { Static, TSchema } from 'typebox';
import { Type } from '../../runtime/schema.ts';

export const Timestamp = Type.String({
  format: 'date-time',
  pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$',
  description: 'ISO 8601 in UTC, to the microsecond.',
  examples: ['2025-01-01T10:00:00.000000Z'],
});

/** `<kind>.<change>`, such as `user.created`. */
export const EventTypeName = Type.String({ pattern: '^[a-z][a-z_-]*\\.[a-z][a-z_-]*$', maxLength: 100 });

/** @param eventType one type, or the schema of any */
export function Envelope<Data extends TSchema>(eventType: string | TSchema, data: Data) {
  return Type.Object(
    {
      event_id: Type.String({ format: 'uuid', description: 'UUID version 7. The same for every delivery of one event.' }),
      event_type: typeof eventType === 'string' ? Type.Literal(eventType) : eventType,
      occurred_at: Timestamp,
      trace_id: Type.String({ minLength: 1, maxLength: 128, description: 'The trace id of the request that made the change.' }),
      data,
    },
    { additionalProperties: false },
  );
}

/** An event of any type, as those see it who need not know the types of later versions. */
export function AnyEvent(types: readonly string[]) {
  const { event_id, occurred_at, trace_id } = Envelope('', Type.Unknown()).properties;
  return Type.Object(
    {
      event_id,
      event_type: Type.String({
        description: `${types.map((type) => `\`${type}\``).join(', ')}. Later versions may add types: leave those alone that you do not know.`,
        examples: [types[0]],
      }),
      occurred_at,
      trace_id,
      data: Type.Unsafe<Readonly<Record<string, unknown>>>({
        type: 'object',
        additionalProperties: true,
        description: 'What happened, by type: the schemas stand in `/schema/asyncapi.json`.',
      }),
    },
    { $id: 'Event', additionalProperties: false, description: 'A committed change.' },
  );
}

/** An event of any type, once its own schema has been checked. */
export type Event = Omit<Static<ReturnType<typeof Envelope<TSchema>>>, 'event_type' | 'data'> & {
  readonly event_type: string;
  readonly data: Readonly<Record<string, unknown>>;
};

/** What a feature says of one type of event. */
export type EventDefinition = {
  /** Of the form `<kind>.<change>`. */
  readonly type: string;
  /** Who gets it: everybody, over RabbitMQ and `GET /events/`, or only subscriptions of this service. */
  readonly audience: 'public' | 'internal';
  /** Of its schema in the documents. */
  readonly name: string;
  readonly schema: TSchema;
  readonly summary: string;
  readonly example: object;
};

/** AMQP properties and headers of an event, as every consumer of RabbitMQ sees them. */
export function messageOf(
  { event, subject, traceparent }: { readonly event: Event; readonly subject: string; readonly traceparent: string },
  appName: string,
) {
  return {
    properties: {
      messageId: event.event_id,
      type: event.event_type,
      timestamp: Math.floor(Date.parse(event.occurred_at) / 1000),
      correlationId: event.trace_id,
      appId: appName,
      contentType: 'application/json',
    },
    headers: {
      trace_id: event.trace_id,
      traceparent,
      // CloudEvents 1.0, AMQP protocol binding, binary mode; the underscore is the prefix for AMQP 0-9-1.
      cloudEvents_specversion: '1.0',
      cloudEvents_id: event.event_id,
      cloudEvents_source: `/${appName}`,
      cloudEvents_type: event.event_type,
      // Without its kind, which the type says.
      cloudEvents_subject: subject.slice(subject.indexOf(':') + 1),
      cloudEvents_time: event.occurred_at,
    },
  };
}
