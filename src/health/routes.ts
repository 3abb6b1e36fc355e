// Whether the service lives, is ready for requests, and how it does.
import { Type } from 'typebox';
import { answer, probeRefusals } from '../http/responses.ts';
import type { App } from '../http/server.ts';
import { coalesce } from '../runtime/coalesce.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { DatabaseState } from './database.ts';

export type Readiness = {
  /** False once the service is asked to stop. */
  accepting(): boolean;
  /** Whether PostgreSQL answers and has every migration of this code. Never rejects. */
  database(): Promise<DatabaseState>;
  /** Reported, but no reason to be unready: events wait in the outbox. */
  broker(): 'ok' | 'away' | 'refused' | 'in process' | 'not used here';
  /** What somebody has to set right before RabbitMQ can be used. */
  brokerReason(): string | undefined;
};

export type HealthParts = { readonly readiness: Readiness; readonly metrics: Metrics };

const Health = Type.Object({ status: Type.Literal('ok') }, { additionalProperties: false });
const Ready = Type.Object(
  {
    status: Type.Enum(['ready', 'not ready', 'stopping']),
    database: Type.Enum(['ok', 'unreachable', 'migrations missing']),
    broker: Type.Enum(['ok', 'away', 'refused', 'in process', 'not used here']),
    broker_reason: Type.Optional(Type.String({ description: 'What has to be set right before RabbitMQ can be used.' })),
  },
  { additionalProperties: false },
);
const tags = ['health'];
const config = { access: 'anyone', probe: true } as const;

export function addHealth(app: App, { readiness, metrics }: HealthParts): void {
  app.get(
    '/health',
    {
      config,
      schema: {
        tags,
        operationId: 'getHealth',
        summary: 'Is the process alive?',
        response: { 200: answer('It is.', Health, { status: 'ok' }), ...probeRefusals() },
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
        summary: 'May requests be sent here?',
        description:
          'A broker that is away, or refuses the service, is reported, and does not make the service unready: events wait in the outbox.',
        response: {
          ...probeRefusals(),
          200: answer('They may.', Ready, { status: 'ready', database: 'ok', broker: 'ok' }),
          503: answer('They may not.', Ready, { status: 'not ready', database: 'unreachable', broker: 'ok' }),
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
  const render = coalesce(() => metrics.registry.metrics(), 0);
  app.get(
    '/metrics',
    {
      config,
      schema: {
        tags,
        operationId: 'getMetrics',
        summary: 'How does the service do?',
        description: 'In the text format of Prometheus. docs/operations.md lists every metric.',
        response: {
          ...probeRefusals(),
          200: { description: 'The metrics.', content: { 'text/plain': { schema: Type.String() } } },
        },
      },
    },
    async (_request, reply) => {
      const text = await render();
      return reply.type(metrics.registry.contentType).send(text);
    },
  );
}
