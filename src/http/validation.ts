// Holds what comes in against the schemas of its route: no coercion, no unknown field, every broken rule named.
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { FastifyInstance } from 'fastify';
import { Problem, type Violation } from '../problem.ts';
import { pathOf } from './trace.ts';

// Each unknown field is an error of its own: a body of a hundred thousand of them must not cost as many.
const fieldsMax = 100;
const violationsMax = 20;

export function addValidation(app: FastifyInstance): void {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true, verbose: true });
  addFormats.default(ajv);
  ajv.addKeyword('x-pattern-message');
  // Changes the value before the rules of its length and characters look at it.
  ajv.addKeyword({
    keyword: 'x-normalize',
    schemaType: 'string',
    type: 'string',
    before: 'maxLength',
    modifying: true,
    errors: false,
    compile: (mode: string) => (text: string, at) => {
      if (at !== undefined)
        at.parentData[at.parentDataProperty] = mode === 'nfc-trim' ? text.normalize('NFC').trim() : text.normalize('NFC');
      return true;
    },
  });

  // A query parameter that nobody reads is a mistake of the caller's, on any route that the API documents.
  app.addHook('onRoute', ({ schema }) => {
    if (schema !== undefined && schema.hide !== true)
      schema.querystring ??= { type: 'object', properties: {}, additionalProperties: false };
  });

  app.setValidatorCompiler<object>(({ schema, httpPart }) => {
    for (const [id, shared] of Object.entries(app.getSchemas())) if (ajv.getSchema(id) === undefined) ajv.addSchema(shared as object, id);
    const validate = ajv.compile(schema);
    return (value: unknown) => {
      const read = httpPart === 'querystring' ? readNumbers(value as Record<string, unknown>, schema) : value;
      if (read !== null && typeof read === 'object' && Object.keys(read).length > fieldsMax) {
        return { error: new Refused([{ key: '', message: `must not have more than ${fieldsMax} fields`, source: sourceOf(httpPart) }]) };
      }
      if (validate(read)) return { value: read };
      return { error: new Refused((validate.errors ?? []).slice(0, violationsMax).map((error) => violationOf(error, sourceOf(httpPart)))) };
    };
  });
}

// Carries the violations from the validators to `validationProblem`.
class Refused extends Error {
  readonly violations: readonly Violation[];
  constructor(violations: readonly Violation[]) {
    super('validation failed');
    this.violations = violations;
  }
}

/** The problem for an error of this file's validators, or undefined if it is none. */
export function validationProblem(error: unknown, method: string, url: string): Problem | undefined {
  if (!(error instanceof Refused)) return undefined;
  // A path that breaks its own rule names nothing.
  if (error.violations[0]?.source === 'path') return new Problem('not_found', `Nothing is at ${pathOf(url)}`);
  return new Problem('validation_failed', `Validation failed for ${method} ${pathOf(url)}`, { violations: error.violations });
}

function sourceOf(httpPart: string | undefined): Violation['source'] {
  if (httpPart === 'querystring') return 'query';
  if (httpPart === 'params') return 'path';
  return httpPart === 'headers' ? 'header' : 'body';
}

// Everything in a query is text. Plain decimal digits become a number where the schema wants one; `1e1`, `0x1` and ` 1`
// stay text, and are refused for it.
function readNumbers(query: Record<string, unknown>, schema: object): Record<string, unknown> {
  const { properties = {} } = schema as { properties?: Record<string, { type?: string }> };
  const entries = Object.entries(query).map(([key, value]) => {
    const isNumber =
      Object.hasOwn(properties, key) &&
      properties[key]?.type === 'integer' &&
      typeof value === 'string' &&
      /^(0|[1-9]\d{0,15})$/.test(value);
    return [key, isNumber ? Number(value) : value];
  });
  // A name such as __proto__ stays a field like any other.
  return Object.assign(Object.create(null), Object.fromEntries(entries)) as Record<string, unknown>;
}

function violationOf({ keyword, params, instancePath, message, parentSchema }: ErrorObject, source: Violation['source']): Violation {
  const path = instancePath.slice(1).replaceAll('/', '.');
  const within = (name: string) => (path === '' ? name : `${path}.${name}`);
  if (keyword === 'required') return { key: within(params['missingProperty']), message: 'is required', source };
  if (keyword === 'additionalProperties')
    return { key: within(String(params['additionalProperty']).slice(0, 100)), message: 'is not known here', source };
  if (keyword === 'minLength') return { key: path, message: `must have at least ${params['limit']} code points`, source };
  if (keyword === 'maxLength') return { key: path, message: `must have at most ${params['limit']} code points`, source };
  if (keyword === 'type') return { key: path, message: `must be of type ${[params['type']].flat().join(' or ')}`, source };
  const patternMessage: unknown = keyword === 'pattern' ? parentSchema?.['x-pattern-message'] : undefined;
  return { key: path, message: typeof patternMessage === 'string' ? patternMessage : (message ?? 'is not valid'), source };
}
