// Holds what comes in against the schemas of its route: no coercion, no unknown field, every broken rule named.
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { FastifyInstance } from 'fastify';
import { Problem, problems, type Violation } from '../problem.ts';
import { lazily } from '../runtime/lazily.ts';
import { addDocumentKeywords } from './document-values.ts';
import { canonicalLocale, canonicalTimeZone, formats } from './formats.ts';
import { nothingAt } from './target.ts';

// Each unknown field is a violation of its own: a body of a hundred thousand of them must not cost as many.
const fieldsMax = 100;
/**
 * How many UTF-16 units can become one code point of NFC: no character decomposes into more than four (UAX #15; U+1F82 does),
 * of two units each.
 */
const unitsPerCodePointMax = 8;

/** Modes of `x-normalize` beyond NFC; a text that has not the form stays as it is. */
const canonical: Readonly<Record<string, (text: string) => string | undefined>> = {
  locale: canonicalLocale,
  'time-zone': canonicalTimeZone,
};

export function addValidation(app: FastifyInstance): void {
  // The schemas are ours: tests hold them against the meta-schema, which takes long to compile.
  const ajv = new Ajv2020({
    strict: true,
    validateSchema: false,
    allowUnionTypes: true,
    allowMatchingProperties: true,
    allErrors: true,
    verbose: true,
  });
  addFormats.default(ajv);
  for (const [name, { accepts }] of Object.entries(formats)) ajv.addFormat(name, accepts);
  addDocumentKeywords(ajv);
  ajv.addKeyword('x-pattern-message');
  // What the OpenAPI document says instead (portable.ts).
  ajv.addKeyword('x-documented');
  // Of a query parameter: those that must not come with it.
  ajv.addKeyword('x-excludes');
  // Changes the value before the rules of its length and characters look at it.
  ajv.addKeyword({
    keyword: 'x-normalize',
    schemaType: 'string',
    type: 'string',
    before: 'maxLength',
    modifying: true,
    errors: false,
    compile: (mode: string, schema) => {
      const { maxLength } = schema as { maxLength?: number };
      if (maxLength === undefined) throw new Error('x-normalize needs a maxLength');
      return (text: string, at) => {
        if (at === undefined) return true;
        const trimmed = mode === 'nfc' ? text : text.trim();
        // Normalising takes time by the square of a run of combining marks, minutes for 1 MiB of them. What is longer than this
        // is too long in any form, and stays as it is for maxLength to refuse.
        const hopeless = trimmed.length > maxLength * unitsPerCodePointMax;
        at.parentData[at.parentDataProperty] = hopeless ? trimmed : (canonical[mode]?.(trimmed) ?? trimmed.normalize('NFC'));
        return true;
      };
    },
  });

  // A query parameter that nobody reads is a mistake of the caller's, on any route that the API documents.
  app.addHook('onRoute', ({ schema }) => {
    if (schema !== undefined && schema.hide !== true)
      schema.querystring ??= { type: 'object', properties: {}, additionalProperties: false };
  });

  app.setValidatorCompiler<object>(({ schema, httpPart }) => {
    // When the first request comes, and not before the start is done.
    const compiled = lazily(() => {
      for (const [id, shared] of Object.entries(app.getSchemas())) if (ajv.schemas[id] === undefined) ajv.addSchema(shared as object, id);
      return ajv.compile(schema);
    });
    const source = sourceOf(httpPart);
    return (value: unknown) => {
      const read = source === 'query' ? readNumbers(value as Record<string, unknown>, schema) : value;
      if (hasManyFields(read)) return { error: new Refused([{ key: '', message: `must not have more than ${fieldsMax} fields`, source }]) };
      const validate = compiled();
      const violations = validate(read) ? [] : (validate.errors ?? []).map((error) => violationOf(error, source));
      if (source === 'query') violations.push(...exclusionsOf(read as Record<string, unknown>, schema));
      return violations.length === 0 ? { value: read } : { error: new Refused(violations) };
    };
  });
}

/**
 * For what is put together from a body, such as the user after a patch.
 * @returns a function that throws what a body that breaks the schema is refused with
 */
export function createCheck(app: FastifyInstance, schema: object): (value: unknown) => void {
  const compile = app.validatorCompiler as NonNullable<FastifyInstance['validatorCompiler']>;
  const validate = compile({ schema, method: 'PATCH', url: '', httpPart: 'body' } as never);
  return (value) => {
    const { error } = validate(value) as { error?: Error };
    if (error !== undefined) throw error;
  };
}

function hasManyFields(value: unknown): boolean {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length > fieldsMax;
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
export function validationProblem(error: unknown, method: string, path: string): Problem | undefined {
  if (!(error instanceof Refused)) return undefined;
  // A path that breaks its own rule names nothing.
  if (error.violations[0]?.source === 'path') return nothingAt(path);
  return new Problem(problems.validation_failed, `Validation failed for ${method} ${path}`, { violations: error.violations });
}

function sourceOf(httpPart: string | undefined): Violation['source'] {
  if (httpPart === 'querystring') return 'query';
  if (httpPart === 'params') return 'path';
  return httpPart === 'headers' ? 'header' : 'body';
}

// Everything in a query is text. Plain decimal digits become a number where the schema wants one; `1e1`, `0x1` and ` 1`
// stay text, and are refused for it. A name such as __proto__ stays a field like any other: neither object has a prototype.
function readNumbers(query: Record<string, unknown>, schema: object): Record<string, unknown> {
  const { properties = {} } = schema as { properties?: Record<string, { type?: string }> };
  const read: Record<string, unknown> = Object.assign(Object.create(null), query);
  for (const [name, { type }] of Object.entries(properties)) {
    const value = read[name];
    if (type === 'integer' && typeof value === 'string' && /^(0|[1-9]\d{0,15})$/.test(value)) read[name] = Number(value);
  }
  return read;
}

function exclusionsOf(query: Record<string, unknown>, schema: object): Violation[] {
  const { properties = {} } = schema as { properties?: Record<string, { 'x-excludes'?: readonly string[] }> };
  return Object.entries(properties).flatMap(([name, { 'x-excludes': excluded = [] }]) =>
    query[name] === undefined
      ? []
      : excluded
          .filter((other) => query[other] !== undefined)
          .map((other): Violation => ({ key: other, message: `is not allowed with ${name}`, source: 'query' })),
  );
}

function violationOf({ keyword, params, instancePath, message, parentSchema }: ErrorObject, source: Violation['source']): Violation {
  const path = instancePath.slice(1).replaceAll('/', '.');
  const within = (name: string) => (path === '' ? name : `${path}.${name}`);
  if (keyword === 'required') return { key: within(params['missingProperty']), message: 'is required', source };
  if (keyword === 'additionalProperties')
    return { key: within(String(params['additionalProperty']).slice(0, 100)), message: 'is not allowed', source };
  if (keyword === 'minLength') return { key: path, message: `must have at least ${codePoints(params['limit'])}`, source };
  if (keyword === 'maxLength') return { key: path, message: `must have at most ${codePoints(params['limit'])}`, source };
  if (keyword === 'type') return { key: path, message: `must be of type ${[params['type']].flat().join(' or ')}`, source };
  if (keyword === 'enum') return { key: path, message: `must be one of ${choicesOf(params['allowedValues'])}`, source };
  if (keyword === 'format' && formats[params['format']] !== undefined)
    return { key: path, message: formats[params['format']]?.message ?? '', source };
  const patternMessage: unknown = keyword === 'pattern' ? parentSchema?.['x-pattern-message'] : undefined;
  return { key: path, message: typeof patternMessage === 'string' ? patternMessage : (message ?? 'is not valid'), source };
}

const choicesOf = (values: readonly unknown[]) => values.filter((value) => value !== null).join(', ');

function codePoints(count: number): string {
  return count === 1 ? 'one code point' : `${count} code points`;
}
