// The documents that describe the service, made from the schemas of its routes and events, and the page that shows them.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

// Everything the page needs comes from here; it runs no inline script. Swagger UI sets style attributes.
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Call it before any route is added. */
export async function addOpenApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    refResolver: { buildLocalReference: (schema, _base, _fragment, index) => String(schema.$id ?? `schema-${index}`) },
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Rollcall',
        version,
        summary: "Keeps a company's users.",
        description:
          'Create, read, update and delete users. Each committed change is announced on RabbitMQ (see `/schema/asyncapi.json`). Every answer carries its trace id in `X-Trace-Id`; paths work with and without a slash at the end.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      tags: [
        { name: 'users', description: 'The users.' },
        { name: 'health', description: 'Whether the service lives, is ready, and how it does.' },
      ],
    },
  });
}

/** Call it after the routes. */
export async function addDocumentation(app: FastifyInstance, asyncApi: object): Promise<void> {
  const asyncApiText = JSON.stringify(asyncApi);
  let openApiText: string | undefined;
  const hidden = { schema: { hide: true }, config: { access: 'anyone' } } as const;

  app.get('/schema/openapi.json', hidden, (_request, reply) => {
    openApiText ??= JSON.stringify(app.swagger());
    return reply.type('application/json; charset=utf-8').send(openApiText);
  });
  app.get('/schema/openapi.yaml', hidden, (_request, reply) =>
    reply.type('application/yaml; charset=utf-8').send(app.swagger({ yaml: true })),
  );
  app.get('/schema/asyncapi.json', hidden, (_request, reply) => reply.type('application/json; charset=utf-8').send(asyncApiText));

  await app.register(async (page) => {
    page.addHook('onRoute', (route) => {
      route.config = { ...route.config, access: 'anyone' };
    });
    await page.register(swaggerUi, {
      routePrefix: '/schema',
      staticCSP: pagePolicy,
      uiConfig: { url: '/schema/openapi.json', docExpansion: 'list', defaultModelsExpandDepth: 0, tryItOutEnabled: true },
    });
  });
}
