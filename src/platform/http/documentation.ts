// The documents that describe the service, made from the schemas of its routes and events, and the page that shows them.
import { readFile } from 'node:fs/promises';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type RouteOptions } from 'fastify';
import { once } from '../runtime/coalesce.ts';
import { createDocument } from './negotiation.ts';
import { portable } from './portable.ts';
import { shareRefusals } from './shared-responses.ts';

// Everything the page needs comes from here, and nothing stands inline; Swagger UI draws its icons from data: URLs.
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Rollcall</title>
<link rel="stylesheet" href="/schema/swagger-ui.css">
<link rel="stylesheet" href="/schema/index.css">
<link rel="icon" href="/schema/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="/schema/swagger-ui-bundle.js"></script>
<script src="/schema/page.js"></script>
</body>
</html>
`;
const pageScript = `SwaggerUIBundle({
  dom_id: '#page',
  url: '/schema/openapi.json',
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;

declare module 'fastify' {
  interface FastifySchema {
    /** Of a body that the handler checks by its media type: what the document says of it, as `{ content: { <type>: { schema } } }`. */
    documentedBody?: object;
  }
}

type Routes = readonly Pick<RouteOptions, 'method' | 'url' | 'schema'>[];

/**
 * Call it before any route is added.
 * @returns what to call after the routes
 */
export function addDocumentation(app: FastifyInstance, version: string, asyncApi: object): () => void {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    if (route.method !== 'HEAD' && route.schema?.hide !== true) routes.push(route);
  });
  const openApi = once(() => describe(routes, Object.values(app.getSchemas()), version));
  return () => addDocuments(app, openApi, asyncApi);
}

/** The document of the routes, by an application of its own that nobody calls: what makes it is loaded when somebody asks for it. */
async function describe(routes: Routes, schemas: readonly unknown[], version: string): Promise<FastifyInstance> {
  const { default: swagger } = await import('@fastify/swagger');
  const app = fastify();
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => JSON.stringify);
  await app.register(swagger, {
    transformObject: (document) => ('openapiObject' in document ? shareRefusals(portable(structuredClone(document.openapiObject))) : {}),
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
      // Nobody can sign in yet.
      security: [],
      tags: [
        { name: 'users', description: 'The users.' },
        { name: 'events', description: 'The changes of the users, to catch up with.' },
        { name: 'subscriptions', description: 'What reacts to events inside the service: backlog, dead letters, failed attempts.' },
        { name: 'health', description: 'Whether the service lives, is ready, and how it does.' },
      ],
    },
  });
  for (const schema of schemas) app.addSchema(structuredClone(schema));
  for (const { method, url, schema } of routes) {
    const { documentedBody, ...described } = structuredClone(schema ?? {});
    const body = documentedBody === undefined ? {} : { body: documentedBody };
    app.route({ method, url, schema: { ...described, ...body }, handler: () => {} });
  }
  await app.ready();
  return app;
}

function addDocuments(app: FastifyInstance, openApi: () => Promise<FastifyInstance>, asyncApi: object): void {
  // Made when they are first asked for, and once.
  const yaml = once(async () => Buffer.from((await openApi()).swagger({ yaml: true })));
  serveDocument(app, '/schema/openapi.json', async () => JSON.stringify((await openApi()).swagger()));
  serveDocument(app, '/schema/asyncapi.json', async () => JSON.stringify(portable(structuredClone(asyncApi))));
  serve(app, '/schema/openapi.yaml', 'application/yaml', yaml);

  const ofPage = { 'content-security-policy': pagePolicy };
  serve(app, '/schema', 'text/html; charset=utf-8', () => page, ofPage);
  serve(app, '/schema/page.js', 'text/javascript; charset=utf-8', () => pageScript);
  // Only the files are taken from the package: its plugin adds other paths, and answers 500 to a Range that is none.
  const files = {
    'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
    'swagger-ui.css': 'text/css; charset=utf-8',
    'index.css': 'text/css; charset=utf-8',
    'favicon-32x32.png': 'image/png',
  };
  for (const [name, type] of Object.entries(files)) {
    const content = once(() => readFile(new URL(import.meta.resolve(`@fastify/swagger-ui/static/${name}`))));
    serve(app, `/schema/${name}`, type, content, { 'cache-control': 'public, max-age=3600' });
  }
}

const hidden = { schema: { hide: true }, config: { access: 'anyone' } } as const;

function serveDocument(app: FastifyInstance, path: string, read: () => Promise<string>): void {
  const document = createDocument(read);
  app.get(path, hidden, async ({ headers }: FastifyRequest, reply: FastifyReply) => {
    const { type, content } = await document(headers.accept);
    return reply.type(type).send(content);
  });
}

type Content = string | Buffer;

function serve(
  app: FastifyInstance,
  path: string,
  type: string,
  read: () => Content | Promise<Content>,
  headers: Record<string, string> = {},
): void {
  app.get(path, hidden, async (_request, reply) => {
    const content = await read();
    return reply.headers({ ...headers, 'content-type': type }).send(content);
  });
}
