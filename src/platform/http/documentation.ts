// The documents that describe the service, made from the schemas of its routes and events, and the page that shows them.
import { readFile } from 'node:fs/promises';
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
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

/** Call it before any route is added. */
export async function addOpenApi(app: FastifyInstance, version: string): Promise<void> {
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
}

/** Call it after the routes. */
export async function addDocumentation(app: FastifyInstance, asyncApi: object): Promise<void> {
  // Made when they are first asked for, since the routes are complete only then, and once, since it takes long.
  let yaml: Buffer | undefined;
  serveDocument(app, '/schema/openapi.json', () => JSON.stringify(app.swagger()));
  serveDocument(app, '/schema/asyncapi.json', () => JSON.stringify(portable(structuredClone(asyncApi))));
  serve(app, '/schema/openapi.yaml', 'application/yaml', () => {
    yaml ??= Buffer.from(app.swagger({ yaml: true }));
    return yaml;
  });

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
    const content = await readFile(new URL(import.meta.resolve(`@fastify/swagger-ui/static/${name}`)));
    serve(app, `/schema/${name}`, type, () => content, { 'cache-control': 'public, max-age=3600' });
  }
}

const hidden = { schema: { hide: true }, config: { access: 'anyone' } } as const;

function serveDocument(app: FastifyInstance, path: string, read: () => string): void {
  const document = createDocument(read);
  app.get(path, hidden, async ({ headers }: FastifyRequest, reply: FastifyReply) => {
    const { type, content } = document(headers.accept);
    return reply.type(type).send(content);
  });
}

function serve(app: FastifyInstance, path: string, type: string, read: () => string | Buffer, headers: Record<string, string> = {}): void {
  app.get(path, hidden, async (_request, reply) => reply.headers({ ...headers, 'content-type': type }).send(read()));
}
