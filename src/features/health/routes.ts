// Whether the service lives, is ready for requests, and how it does.
import type { Platform } from '../../platform/feature.ts';
import { answer, probeRefusals, reference } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { coalesce } from '../../platform/runtime/coalesce.ts';
import { Type } from '../../platform/runtime/schema.ts';

type HealthParts = Pick<Platform, 'readiness' | 'registry'>;

const Health = Type.Object({ status: Type.Literal('ok') }, { $id: 'Health', additionalProperties: false });
const Ready = Type.Object(
  {
    status: Type.Enum(['ready', 'not ready', 'stopping'], { description: 'Whether requests may be sent here.' }),
    database: Type.Enum(['ok', 'unreachable', 'migrations missing'], { description: 'PostgreSQL.' }),
    broker: Type.Enum(['ok', 'away', 'refused', 'in process', 'not used here'], { description: 'RabbitMQ.' }),
    broker_reason: Type.Optional(Type.String({ description: 'What has to be set right before RabbitMQ can be used.' })),
  },
  { $id: 'Readiness', additionalProperties: false },
);
const MetricsText = Type.String({ $id: 'MetricsText', description: 'The text format of Prometheus, version 0.0.4.' });
const tags = ['health'];
const config = { access: 'anyone', probe: true } as const;

export function addHealth(app: App, { readiness, registry }: HealthParts): void {
  for (const schema of [Health, Ready, MetricsText]) app.addSchema(schema);
  app.get(
    '/health',
    {
      config,
      schema: {
        tags,
        operationId: 'getHealth',
        summary: 'Liveness',
        description: 'Answers as long as the process runs. It looks at neither PostgreSQL nor RabbitMQ.',
        response: { 200: answer('The process is alive.', reference('Health'), { status: 'ok' }), ...probeRefusals() },
      },
    },
    async (_request, reply) => reply.send({ status: 'ok' }),
  );

  app.get(
    '/ready',
    {
      config,
      schema: {
        tags,
        operationId: 'getReady',
        summary: 'Readiness',
        description:
          'Ready while PostgreSQL answers and has every migration, until the service is asked to stop. A broker that is away, or refuses the service, is reported, and does not make the service unready: events wait in the outbox.',
        response: {
          ...probeRefusals(),
          200: answer('Ready for requests.', reference('Readiness'), { status: 'ready', database: 'ok', broker: 'ok' }),
          503: answer('Not ready: a balancer sends requests elsewhere.', reference('Readiness'), {
            status: 'not ready',
            database: 'unreachable',
            broker: 'ok',
          }),
        },
      },
    },
    async (_request, reply) => {
      const broker = readiness.broker();
      const broker_reason = readiness.brokerReason();
      const database = await readiness.database();
      const status = !readiness.accepting() ? 'stopping' : database === 'ok' ? 'ready' : 'not ready';
      return reply
        .code(status === 'ready' ? 200 : 503)
        .send({ status, database, broker, ...(broker_reason !== undefined && { broker_reason }) });
    },
  );

  // It takes milliseconds of the event loop: who asks while it is made gets the same.
  const render = coalesce(() => registry.metrics(), 0);
  app.get(
    '/metrics',
    {
      config,
      schema: {
        tags,
        operationId: 'getMetrics',
        summary: 'Metrics',
        description: 'For Prometheus. docs/operations.md lists every metric.',
        response: {
          ...probeRefusals(),
          200: { description: 'The metrics.', content: { 'text/plain': { schema: reference('MetricsText') } } },
        },
      },
    },
    async (_request, reply) => {
      const text = await render();
      return reply.type(registry.contentType).send(text);
    },
  );
}
