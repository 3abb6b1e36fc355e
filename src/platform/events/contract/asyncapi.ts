// The AsyncAPI document, made from the same schemas that the publisher and the consumer check events with.

import type { EventDefinition } from './envelope.ts';
import { exchange, queue } from './topology.ts';

export function asyncApiDocument(definitions: readonly EventDefinition[], version: string): object {
  const named = definitions.map(({ name: schemaName, ...definition }) => ({
    ...definition,
    name: definition.type.replaceAll('.', '_'),
    schemaName,
  }));
  const kinds = [...new Set(definitions.map(({ type }) => type.split('.')[0]))];
  return {
    asyncapi: '3.1.0',
    info: {
      title: 'Rollcall events',
      version,
      description:
        'Exactly the committed changes, in order for each user, at least once. Tell repeated deliveries by `event_id`, and order by `version`.',
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
      tags: kinds.map((kind) => ({ name: kind, description: `Events of the kind \`${kind}\`.` })),
    },
    defaultContentType: 'application/json',
    channels: {
      [exchange]: {
        address: exchange,
        title: 'Events',
        description: `Durable topic exchange; the routing key is the event type. Bind a queue of your own to it. The service itself reads \`${queue}\`.`,
        messages: Object.fromEntries(named.map(({ name }) => [name, { $ref: `#/components/messages/${name}` }])),
        bindings: {
          amqp: {
            is: 'routingKey',
            exchange: { name: exchange, type: 'topic', durable: true, autoDelete: false },
            bindingVersion: '0.3.0',
          },
        },
      },
    },
    operations: Object.fromEntries(
      named.map(({ name, type, summary }) => [
        `publish_${name}`,
        {
          action: 'send',
          summary,
          description: `Published with the routing key \`${type}\` after the change is committed.`,
          channel: { $ref: `#/channels/${exchange}` },
          messages: [{ $ref: `#/channels/${exchange}/messages/${name}` }],
          bindings: { amqp: { cc: [type], deliveryMode: 2, mandatory: true, bindingVersion: '0.3.0' } },
        },
      ]),
    ),
    components: {
      messages: Object.fromEntries(
        named.map(({ name, schemaName, type, summary, example }) => [
          name,
          {
            name: type,
            title: summary,
            contentType: 'application/json',
            correlationId: { description: 'The trace id of the request.', location: '$message.header#/trace_id' },
            headers: { $ref: '#/components/schemas/EventHeaders' },
            payload: { $ref: `#/components/schemas/${schemaName}` },
            examples: [{ name, payload: example }],
          },
        ]),
      ),
      schemas: {
        EventHeaders,
        ...Object.fromEntries(named.map(({ schemaName, schema, summary }) => [schemaName, { ...schema, description: summary }])),
      },
    },
  };
}

const text = { type: 'string' };
const EventHeaders = {
  type: 'object',
  description: 'The trace, and the attributes of CloudEvents 1.0 (AMQP binding, binary mode).',
  properties: {
    trace_id: text,
    traceparent: { ...text, description: 'W3C Trace Context.' },
    cloudEvents_specversion: { const: '1.0' },
    cloudEvents_id: { ...text, description: 'The event_id.' },
    cloudEvents_source: text,
    cloudEvents_type: text,
    cloudEvents_subject: { ...text, description: 'The id of the user.' },
    cloudEvents_time: { ...text, format: 'date-time' },
  },
  required: [
    'trace_id',
    'traceparent',
    'cloudEvents_specversion',
    'cloudEvents_id',
    'cloudEvents_source',
    'cloudEvents_type',
    'cloudEvents_subject',
    'cloudEvents_time',
  ],
};
