// What openapi.json promises, as tests need it: its operations, and whether a value keeps a schema. A rule that these files cannot read
// ends the test, so none goes untested.
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { NewUser, UserChange, UserPatch } from '../../../src/features/users/schemas.ts';
import { addDocumentKeywords } from '../../../src/platform/http/document-values.ts';
import { canonicalLocale, formats } from '../../../src/platform/http/formats.ts';

export type Schema = {
  readonly type?: string | readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly additionalProperties?: boolean;
  readonly examples?: readonly unknown[];
  readonly default?: unknown;
  readonly 'x-normalize'?: 'nfc' | 'nfc-trim' | 'locale' | 'time-zone';
  readonly 'x-excludes'?: readonly string[];
  /** Of a header: not with every answer. */
  readonly 'x-optional'?: boolean;
};
type Parameter = { readonly name: string; readonly in: 'path' | 'query' | 'header'; readonly required: boolean; readonly schema: Schema };
type Media = { readonly schema: Schema; readonly examples?: Readonly<Record<string, unknown>> };
type Response = {
  readonly headers?: Readonly<Record<string, { schema: Schema }>>;
  /** Not of an answer without a body. */
  readonly content?: Readonly<Record<string, Media>>;
};

export type Operation = {
  readonly operationId: string;
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, Response>>;
};

/** A request as it goes over the wire. A parameter left in its braces in `target` stands for what exists. */
export type Call = {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
};
export type Reply = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly bytes: Buffer };

/** A request and what the document says of it. */
export type Example = {
  readonly call: Call;
  /** In words: what is right or wrong with it. */
  readonly about: string;
  /** The media type that `Accept` prefers, if it names any. */
  readonly prefers?: string;
  /** The body before it was encoded. */
  readonly sent?: unknown;
};

const settings = { passwordLengthMin: 8 };
export const document = inlined(completed(JSON.parse(readFileSync(new URL('../../../openapi.json', import.meta.url), 'utf8')))) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Omit<Operation, 'method' | 'path'>>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
};

export const operations: readonly Operation[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    ...operation,
    parameters: operation.parameters ?? [],
    method: method.toUpperCase(),
    path,
  })),
);

// What the document leaves open for other languages and later versions, as the service has it today: the rules of text that it tells
// in words, and the events by type.
function completed(root: { components: { schemas: Record<string, Schema> } }): object {
  const { components } = JSON.parse(readFileSync(new URL('../../../asyncapi.json', import.meta.url), 'utf8'));
  root.components.schemas['Event'] = { anyOf: ['UserCreated', 'UserUpdated', 'UserDeleted'].map((name) => components.schemas[name]) };
  const bodies = { NewUser: NewUser(settings), UserChange: UserChange(settings), UserPatch: UserPatch(settings) };
  for (const [name, { properties }] of Object.entries(bodies)) {
    const documented = root.components.schemas[name]?.properties ?? {};
    for (const [field, rules] of Object.entries(properties)) {
      const { pattern, format } = rules as Schema;
      Object.assign(documented[field] ?? {}, { ...(pattern !== undefined && { pattern }), ...(format !== undefined && { format }) });
    }
  }
  // What a JSON Patch makes of a user depends on the user: test/api/patch.test.ts.
  for (const methods of Object.values((root as unknown as typeof document).paths))
    delete (methods['patch']?.requestBody?.content as Record<string, unknown> | undefined)?.['application/json-patch+json'];
  return root;
}

/** As the service answers today: what a reader must be ready for does not come yet. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const parts = Object.entries(schema).map(([key, part]) => [key, key === 'example' || key === 'examples' ? part : closed(part)]);
  return { ...Object.fromEntries(parts), ...('properties' in schema && { additionalProperties: false }) };
}

// Each reference replaced by what it names: no schema here contains itself.
function inlined(root: unknown): unknown {
  const visit = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(visit);
    if (node === null || typeof node !== 'object') return node;
    if ('$ref' in node) {
      const steps = String(node.$ref).replace(/^#\//, '').split('/');
      return visit(steps.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], root));
    }
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, visit(value)]));
  };
  return visit(root);
}

export const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
addFormats.default(ajv);
for (const [name, { accepts }] of Object.entries(formats)) ajv.addFormat(name, accepts);
addDocumentKeywords(ajv);
ajv.addVocabulary(['x-normalize', 'x-pattern-message', 'x-excludes', 'x-optional']);
const validators = new Map<Schema, ValidateFunction>();

function validatorOf(schema: Schema): ValidateFunction {
  const validate = validators.get(schema) ?? ajv.compile(schema);
  validators.set(schema, validate);
  return validate;
}

const closedSchemas = new Map<Schema, Schema>();

export function closedValidatorOf(schema: Schema): ValidateFunction {
  const strict = closedSchemas.get(schema) ?? (closed(schema) as Schema);
  closedSchemas.set(schema, strict);
  return validatorOf(strict);
}

/** The value as the document says it is read: texts with `x-normalize` NFC-normalised, and trimmed where it says so. */
export function normalised(schema: Schema, value: unknown): unknown {
  if (typeof value === 'string' && schema['x-normalize'] !== undefined) {
    if (schema['x-normalize'] === 'locale') return canonicalLocale(value.trim()) ?? value.trim();
    return schema['x-normalize'] === 'nfc' ? value.normalize('NFC') : value.normalize('NFC').trim();
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) return value;
  const { properties = {} } = schema;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, Object.hasOwn(properties, key) ? normalised(properties[key] ?? {}, item) : item]),
  );
}

export function isValid(schema: Schema, value: unknown): boolean {
  // To Ajv bytes are an object, whose keys are numbers.
  return !(value instanceof Uint8Array) && validatorOf(schema)(normalised(schema, value));
}

export const typesOf = ({ type = [] }: Schema): readonly string[] => [type].flat();
export const lengthOf = (text: string) => [...text].length;
