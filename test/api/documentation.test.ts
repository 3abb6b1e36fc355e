// The documents that the service serves of itself, and the page that shows them.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import specifications from '@asyncapi/specs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';
import { problems } from '../../src/features.ts';
import { type Answer, startService, type TestService } from '../support/service.ts';

type Content = Record<string, { example?: unknown; examples?: Record<string, { value: unknown }> }>;
type Operation = {
  operationId: string;
  summary: string;
  description: string;
  tags: string[];
  parameters?: { name: string; explode?: boolean; schema: { type: string; format?: string; items?: { $ref: string } } }[];
  requestBody?: { content: Content };
  responses: Record<string, Response>;
};
type Response = { description: string; headers?: Record<string, object>; content: Content };
type Member = { type?: string; $ref?: string; format?: string; enum?: string[]; examples: unknown[]; description?: string };
type Schemas = Record<string, Member & { properties: Record<string, Member>; required?: string[]; additionalProperties?: boolean }>;
type OpenApi = {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Schemas; responses: Record<string, Response> };
};

suite('documentation', () => {
  let service: TestService;
  let openApi: OpenApi;
  before(async () => {
    service = await startService();
    openApi = (await service.call('GET', '/schema/openapi.json')).json;
  });
  after(() => service[Symbol.asyncDispose]());

  const committed = async (name: string) => JSON.parse(await readFile(new URL(`../../${name}`, import.meta.url), 'utf8'));
  /** Its responses, those that several operations share among them, and where each stands in the document. */
  const shown = ({ responses }: Operation) => {
    const shared = (response: Response) => ('$ref' in response ? String(response.$ref).split('/').slice(1) : undefined);
    const found = Object.entries(responses).map(([status, response]) => {
      const steps = shared(response);
      return [status, steps === undefined ? response : (openApi.components.responses[steps.at(-1) ?? ''] as Response)] as const;
    });
    const places = Object.entries(responses).map(([status, response]) => [status, shared(response)] as const);
    return { responses: Object.fromEntries(found), places: Object.fromEntries(places) };
  };
  const operations = () =>
    Object.entries(openApi.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        name: `${method} ${path}`,
        path,
        method,
        ...operation,
        ...shown(operation),
      })),
    );

  test('/schema/openapi.json is OpenAPI 3.1, and is the committed openapi.json', async () => {
    const { headers } = await service.call('GET', '/schema/openapi.json');
    assert.match(headers.get('content-type') ?? '', /^application\/json/);
    assert.match(openApi.openapi, /^3\.1\./);
    const validator = new Validator();
    assert.deepEqual(await validator.validate(structuredClone(openApi)), { valid: true });
    assert.equal(validator.version, '3.1');
    assert.deepEqual(openApi, await committed('openapi.json'));
  });

  test('/schema/openapi.yaml is the same document', async () => {
    const { headers, text } = await service.call('GET', '/schema/openapi.yaml');
    assert.equal(headers.get('content-type'), 'application/yaml');
    assert.deepEqual(parse(text), openApi);
  });

  test('/schema/asyncapi.json is AsyncAPI 3.1, and is the committed asyncapi.json', async () => {
    const { json } = await service.call('GET', '/schema/asyncapi.json');
    // The schema brings the meta-schema of JSON Schema with it.
    const ajv = new Ajv({ strict: false, meta: false, validateSchema: false });
    addFormats.default(ajv);
    const isValid = ajv.compile(specifications.schemas['3.1.0'] as object);
    assert.ok(isValid(json), JSON.stringify(isValid.errors));
    assert.ok(!isValid({ ...(json as object), operations: { publish: { action: 'shout' } } }), 'the schema does refuse');
    assert.deepEqual(json, await committed('asyncapi.json'));
  });

  test('the examples of events are valid events', async () => {
    const { json } = await service.call('GET', '/schema/asyncapi.json');
    const ajv = new Ajv2020({ strict: false });
    addFormats.default(ajv);
    const messages: { name: string; payload: { $ref: string }; examples: { payload: object }[] }[] = Object.values(
      json.components.messages,
    );
    assert.deepEqual(messages.map(({ name }) => name).sort(), ['user.created', 'user.deleted', 'user.updated']);
    ajv.addSchema(json, 'asyncapi');
    for (const { name, payload, examples } of messages) {
      const isValid = ajv.getSchema(`asyncapi${payload.$ref}`);
      assert.ok(examples.length > 0);
      for (const example of examples) assert.ok(isValid?.(example.payload), `${name}: ${JSON.stringify(isValid?.errors)}`);
    }
  });

  test('clients in other languages can be made of it: portable patterns, ids as integers, times, lists, answers that may grow', async () => {
    const asyncApi = (await service.call('GET', '/schema/asyncapi.json')).json;
    const patterns: string[] = [];
    const look = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      const { pattern } = value as { pattern?: unknown };
      if (typeof pattern === 'string') patterns.push(pattern);
      for (const part of Object.values(value)) look(part);
    };
    look(openApi);
    look(asyncApi);
    assert.ok(patterns.length > 5);
    // No look-around, back-references, properties and code points by number: RE2, Java and Python read these otherwise or not at all.
    for (const pattern of patterns) assert.doesNotMatch(pattern, /\(\?|\\[pPuxcdDwWsSbB1-9]|\[\[/, pattern);
    const id = openApi.paths['/users/{id}']?.['get']?.parameters?.find(({ name }) => name === 'id');
    assert.deepEqual([id?.schema.type, id?.schema.format], ['integer', 'int64']);
    const types = openApi.paths['/events/']?.['get']?.parameters?.find(({ name }) => name === 'types');
    assert.deepEqual(
      [types?.schema.type, types?.schema.items, types?.explode],
      ['array', { $ref: '#/components/schemas/EventType' }, false],
    );
    assert.deepEqual(openApi.components.schemas['EventType']?.enum, ['user.created', 'user.updated', 'user.deleted']);
    assert.equal(openApi.components.schemas['User']?.properties['created_at']?.format, 'date-time');
    const closed = Object.entries(openApi.components.schemas).filter(([, { additionalProperties }]) => additionalProperties === false);
    assert.deepEqual(closed.map(([name]) => name).sort(), ['NewUser', 'UserChange', 'UserLookup', 'UserPatch']);
    for (const { name, responses } of operations()) assert.doesNotMatch(JSON.stringify(responses), /"additionalProperties":false/, name);
  });

  test('each body has a name, and no answer is closed to members, values and types of events that come later', async () => {
    const asyncApi = (await service.call('GET', '/schema/asyncapi.json')).json;
    for (const { name, requestBody, responses } of operations())
      for (const { content } of [...(requestBody === undefined ? [] : [requestBody]), ...Object.values(responses)])
        for (const [type, { schema }] of Object.entries((content ?? {}) as Record<string, { schema: object }>))
          assert.deepEqual(Object.keys(schema), ['$ref'], `${name} ${type}`);
    const { Event, UserPage, Problem } = openApi.components.schemas;
    assert.deepEqual([Event?.properties['event_type']?.type, Event?.properties['event_type']?.enum], ['string', undefined]);
    assert.deepEqual([Event?.properties['data']?.type, Event?.properties['data']?.['properties' as 'type']], ['object', undefined]);
    assert.deepEqual(UserPage?.required, ['users']);
    for (const field of ['total', 'page', 'per_page']) assert.match(UserPage?.properties[field]?.description ?? '', /Always there for/);
    assert.match(Problem?.properties['code']?.description ?? '', /Later versions may add/);

    // A schema for each type, under a name of its own.
    for (const message of Object.values(asyncApi.components.messages) as { payload: { $ref: string } }[])
      assert.match(message.payload.$ref, /^#\/components\/schemas\/User(Created|Updated|Deleted)$/);
    const written = [...Object.entries(openApi.components.schemas), ...Object.entries(asyncApi.components.schemas as Schemas)];
    for (const [name, schema] of written) {
      if (['NewUser', 'UserChange', 'UserPatch', 'UserOperations', 'UserLookup', 'UserMember', 'EventType'].includes(name)) continue;
      // One value is no choice.
      for (const [, values = ''] of JSON.stringify(schema).matchAll(/"enum":\[([^\]]*)\]/g)) assert.ok(!values.includes(','), name);
      assert.doesNotMatch(JSON.stringify(schema), /"(?:uniqueItems|additionalProperties":false)/, name);
    }
    for (const schema of openApi.paths['/events/']?.['get']?.parameters ?? []) assert.doesNotMatch(JSON.stringify(schema), /"enum"/);
  });

  test('every operation has a name of its own, a summary, a description, a tag, and describes each answer', () => {
    assert.ok(operations().length >= 8);
    assert.equal(new Set(operations().map(({ operationId }) => operationId)).size, operations().length);
    for (const { name, summary, description, tags, responses } of operations()) {
      assert.ok(summary.length > 0 && tags.length === 1, name);
      // Neither holds the other: they say different things.
      assert.ok(description.length > summary.length && !description.includes(summary), name);
      for (const [status, { description, headers, content }] of Object.entries(responses)) {
        assert.ok(description.length > 0, `${name} ${status}`);
        assert.ok(headers?.['x-trace-id'] !== undefined || !status.startsWith('4'), `${name} ${status}`);
        assert.equal(content === undefined, status === '304', `${name} ${status} has a schema`);
      }
    }
  });

  test('every example matches its schema', () => {
    const ajv = new Ajv2020({ strict: false });
    addFormats.default(ajv);
    ajv.addSchema(openApi, 'openapi');
    let examples = 0;
    const pointerOf = (...parts: string[]) =>
      `openapi#/${parts.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`;
    for (const { path, method, responses, places } of operations())
      for (const [status, { content }] of Object.entries(responses))
        for (const [type, { example, examples: named = {} }] of Object.entries(content ?? {})) {
          const isValid = ajv.getSchema(
            pointerOf(...(places[status] ?? ['paths', path, method, 'responses', status]), 'content', type, 'schema'),
          );
          const values = [...(example === undefined ? [] : [example]), ...Object.values(named).map(({ value }) => value)];
          assert.ok(
            values.length > 0 || !type.endsWith('json') || type.endsWith('ndjson'),
            `${method} ${path} ${status} ${type} has an example`,
          );
          for (const value of values) {
            examples += 1;
            assert.ok(isValid?.(value), `${method} ${path} ${status}: ${JSON.stringify(isValid?.errors)}`);
          }
        }
    assert.ok(examples > 50);
    for (const body of ['NewUser', 'UserChange'])
      for (const [name, { examples: values }] of Object.entries(openApi.components.schemas[body]?.properties ?? {}))
        assert.ok(values.length > 0, `${body}.${name} has an example`);
  });

  test('every JSON answer is also offered as MessagePack', () => {
    const both = ['application/json', 'application/msgpack', 'application/x-msgpack', 'application/vnd.msgpack'];
    for (const { name, requestBody, responses } of operations()) {
      const patches = ['application/merge-patch+json', 'application/json-patch+json'];
      if (requestBody !== undefined)
        assert.deepEqual(
          Object.keys(requestBody.content).filter((type) => !patches.includes(type)),
          both,
          name,
        );
      for (const [status, { content = {} }] of Object.entries(responses))
        if (both.some((type) => type in content))
          assert.deepEqual(
            both.filter((type) => type in content),
            both,
            `${name} ${status}`,
          );
    }
  });

  test('every documented problem has its status, and 429 and 503 have Retry-After', () => {
    for (const { name, responses } of operations())
      for (const [status, { content = {}, headers }] of Object.entries(responses)) {
        for (const code of Object.keys(content['application/problem+json']?.examples ?? {}))
          assert.equal(String(problems.find((kind) => kind.code === code)?.status), status, `${name} ${code}`);
        if (content['application/problem+json'] !== undefined && ['429', '503'].includes(status))
          assert.ok(headers?.['retry-after'], `${name} ${status}`);
      }
  });

  test('/schema and /schema/ are a page that loads only what the service itself serves and its policy allows', async () => {
    for (const path of ['/schema', '/schema/']) {
      const { status, headers, text } = await service.call('GET', path);
      assert.deepEqual([status, headers.get('content-type')], [200, 'text/html; charset=utf-8']);
      const policy = headers.get('content-security-policy') ?? '';
      assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
      assert.ok(!policy.includes('unsafe'), policy);
      assert.ok(!/<script(?![^>]* src=)|<style|\son\w+=|\sstyle=/.test(text), 'nothing stands inline');
      const loaded = [...text.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url ?? '');
      assert.ok(loaded.length >= 4);
      for (const url of loaded) {
        const file: Answer = await service.call('GET', url);
        assert.equal(file.status, 200, url);
        const expected = url.endsWith('.js') ? /^text\/javascript/ : url.endsWith('.css') ? /^text\/css/ : /^image\/png/;
        assert.match(file.headers.get('content-type') ?? '', expected, url);
        assert.equal(file.headers.get('x-content-type-options'), 'nosniff');
      }
    }
    assert.match((await service.call('GET', '/schema/page.js')).text, /url: '\/schema\/openapi\.json'/);
  });
});
