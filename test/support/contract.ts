// What openapi.json promises, as tests need it: its operations, input that keeps its rules or breaks one, and the verdict
// on an answer. Input is derived from the schemas alone; a rule this file cannot read ends the test, so none goes untested.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { decode, ExtData, encode } from '@msgpack/msgpack';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import { NewUser, UserChange } from '../../src/users/schemas.ts';

type Schema = {
  readonly type?: string | readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly items?: { readonly enum?: readonly unknown[] };
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly examples?: readonly unknown[];
  readonly default?: unknown;
  readonly 'x-normalize'?: 'nfc' | 'nfc-trim';
};
type Parameter = { readonly name: string; readonly in: 'path' | 'query'; readonly required: boolean; readonly schema: Schema };
type Media = { readonly schema: Schema; readonly examples?: Readonly<Record<string, unknown>> };
type Response = { readonly headers?: Readonly<Record<string, { schema: Schema }>>; readonly content: Readonly<Record<string, Media>> };

export type Operation = {
  readonly operationId: string;
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, Response>>;
};

/** A request as it goes over the wire. A `{name}` left in `target` stands for a user who exists. */
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
const document = inlined(completed(JSON.parse(readFileSync(new URL('../../openapi.json', import.meta.url), 'utf8')))) as {
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
  const { components } = JSON.parse(readFileSync(new URL('../../asyncapi.json', import.meta.url), 'utf8'));
  root.components.schemas['Event'] = { anyOf: ['UserCreated', 'UserUpdated', 'UserDeleted'].map((name) => components.schemas[name]) };
  for (const [name, { properties }] of Object.entries({ NewUser: NewUser(settings), UserChange: UserChange(settings) })) {
    const documented = root.components.schemas[name]?.properties ?? {};
    for (const [field, rules] of Object.entries(properties)) Object.assign(documented[field] ?? {}, { pattern: (rules as Schema).pattern });
  }
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

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
addFormats.default(ajv);
ajv.addVocabulary(['x-normalize', 'x-pattern-message']);
const validators = new Map<Schema, ValidateFunction>();

function validatorOf(schema: Schema): ValidateFunction {
  const validate = validators.get(schema) ?? ajv.compile(schema);
  validators.set(schema, validate);
  return validate;
}

const closedSchemas = new Map<Schema, Schema>();

function closedValidatorOf(schema: Schema): ValidateFunction {
  const strict = closedSchemas.get(schema) ?? (closed(schema) as Schema);
  closedSchemas.set(schema, strict);
  return validatorOf(strict);
}

/** The value as the document says it is read: texts with `x-normalize` NFC-normalised, and trimmed where it says so. */
export function normalised(schema: Schema, value: unknown): unknown {
  if (typeof value === 'string' && schema['x-normalize'] !== undefined) {
    return schema['x-normalize'] === 'nfc-trim' ? value.normalize('NFC').trim() : value.normalize('NFC');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) return value;
  const { properties = {} } = schema;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, Object.hasOwn(properties, key) ? normalised(properties[key] ?? {}, item) : item]),
  );
}

function isValid(schema: Schema, value: unknown): boolean {
  // To Ajv bytes are an object, whose keys are numbers.
  return !(value instanceof Uint8Array) && validatorOf(schema)(normalised(schema, value));
}

const typesOf = ({ type = [] }: Schema): readonly string[] => [type].flat();
const lengthOf = (text: string) => [...text].length;

const whiteSpace = ['', ' ', '\t', '\r\n', '   ', '\u00a0', '\u2003', '\u3000', '\ufeff', '\u2028'];
// Each of these has tripped a service: composed and decomposed forms, a composition that NFC takes apart (U+0958), marks
// without a base, astral and unassigned code points, and what SQL, JSON, HTML and format strings treat in a way of their own.
const oddUnits = [
  ...[
    '\u00e9',
    'e\u0301',
    '\u0958',
    '\u1112\u1161\u11ab',
    '\u{11099}\u{110ba}',
    '\u{16d6a}',
    '\u1f82',
    '\u0344',
    'q\u0307\u0323',
    '\u0301',
    '\u{1d49c}',
    '\u{1f468}\u200d\u{1f469}',
  ],
  ...['\u200b', '\uffff', '\ufffd', '\u{10ffff}', '\u{e000}', '\u0131', '\u1e9e', "'", '"', '\\', '\\u0000', '%', '$1', ';--', '{}', '<b>'],
];
const breakingUnits = [
  ...['\0', '\u0001', 'a\tb', 'a\nb', '\u001b[31m', '\u007f', '\u0085', '\u009f'],
  ...['\u061c', '\u200e', '\u200f', '\u202a', '\u202e', '\u2066', '\u2069', '\ud800', '\udbff', '\udc00', '\udfff', '\udc00\ud800'],
];
const units = fc.array(fc.oneof(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }), fc.constantFrom(...oddUnits)), {
  minLength: 1,
  maxLength: 8,
});

/** The units over and over, to exactly so many code points after normalisation. */
function fill(pieces: readonly string[], length: number): string {
  let text = '';
  for (let n = 0; ; n += 1) {
    const longer = text + pieces[n % pieces.length];
    if (lengthOf(longer.normalize('NFC')) > length) break;
    text = longer;
  }
  return text + 'a'.repeat(length - lengthOf(text.normalize('NFC')));
}

function freeText(schema: Schema): fc.Arbitrary<string> {
  const { minLength: min = 0, maxLength: max = 300 } = schema;
  const lengths = fc.oneof(fc.integer({ min, max: Math.min(max, min + 20) }), fc.constantFrom(min, max - 1, max));
  const text = fc.tuple(units, lengths).map(([pieces, length]) => fill(pieces, length));
  if (schema['x-normalize'] !== 'nfc-trim') return text;
  const space = fc.constantFrom(...whiteSpace);
  return fc.tuple(space, text, space).map((parts) => parts.join(''));
}

function brokenText(schema: Schema): fc.Arbitrary<string> {
  const { minLength: min = 0, maxLength: max } = schema;
  const lengths: fc.Arbitrary<number>[] = [];
  if (min > 0) lengths.push(fc.integer({ min: 0, max: min - 1 }));
  if (max !== undefined) lengths.push(fc.constant(max + 1), fc.integer({ min: max + 1, max: max + 500 }));
  const breaking = breakingUnits.filter((unit) => !isValid(schema, `${'a'.repeat(min)}${unit}a`));
  return fc.oneof(
    fc.tuple(units, fc.oneof(...lengths)).map(([pieces, length]) => fill(pieces, length)),
    fc.tuple(freeText(schema), fc.constantFrom(...breaking), fc.nat()).map(([text, unit, at]) => {
      const points = [...text];
      return points.toSpliced(at % (points.length + 1), 0, unit).join('');
    }),
    fc.array(fc.constantFrom(...whiteSpace), { maxLength: 12 }).map((spaces) => spaces.join('')),
  );
}

/** Values that keep the rules. */
function valid(schema: Schema): fc.Arbitrary<unknown> {
  const types = typesOf(schema);
  if (types.includes('null')) {
    const others = valid({ ...schema, type: types.filter((type) => type !== 'null') });
    return fc.oneof({ arbitrary: fc.constant(null), weight: 1 }, { arbitrary: others, weight: 5 });
  }
  const [type] = types;
  if (type === 'string' && schema['x-normalize'] !== undefined) return freeText(schema).filter((text) => isValid(schema, text));
  if (type === 'string' && schema.pattern !== undefined) {
    return fc.stringMatching(new RegExp(schema.pattern, 'u')).filter((text) => isValid(schema, text));
  }
  if (type === 'integer' && schema.minimum !== undefined && schema.maximum !== undefined) {
    const { minimum: min, maximum: max } = schema;
    return fc.oneof(fc.constantFrom(min, min + 1, max - 1, max), fc.bigInt({ min: BigInt(min), max: BigInt(max) }).map(Number));
  }
  if (type === 'array' && schema.items?.enum !== undefined && schema.maxItems !== undefined) {
    return fc.array(fc.constantFrom(...schema.items.enum), { minLength: schema.minItems ?? 0, maxLength: schema.maxItems });
  }
  if (type === 'object' && schema.properties !== undefined) {
    const fields = Object.entries(schema.properties).map(([name, field]) => [name, valid(field)] as const);
    return fc.record(Object.fromEntries(fields), { requiredKeys: [...(schema.required ?? [])], noNullPrototype: true });
  }
  throw new Error(`contract.ts does not know how to make values for ${JSON.stringify(schema)}`);
}

const wrongTypes = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 2 ** 53, 'text', '', [], {}, ['John'], { toString: 'John' }, { length: 5 }),
  fc.integer({ min: 1, max: 500 }).map((depth) => nested(depth)),
);

function nested(depth: number): unknown {
  let value: unknown = 'deep';
  for (let n = 0; n < depth; n += 1) value = n % 2 === 0 ? [value] : { name: value };
  return value;
}

const unknownFields = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'id', 'version', 'Name', 'name ', '', 'n\u0430me', 'is_admin'),
  fc.string(),
);

/** Values that break a rule at least, with words for it. */
function invalid(schema: Schema): fc.Arbitrary<{ value: unknown; about: string }> {
  const types = typesOf(schema);
  const wrong = wrongTypes.map((value) => ({ value, about: 'wrong type' }));
  const faults = [wrong];
  if (types.includes('string')) faults.push(brokenText(schema).map((value) => ({ value, about: 'breaks a rule of text' })));
  if (types.includes('object')) faults.push(...brokenObjects(schema));
  return fc.oneof(...faults).filter(({ value }) => !isValid(schema, value));
}

function brokenObjects(schema: Schema): fc.Arbitrary<{ value: unknown; about: string }>[] {
  const { properties = {}, required = [] } = schema;
  const whole = valid(schema) as fc.Arbitrary<Record<string, unknown>>;
  // As own fields, whatever their name: an assignment to __proto__ would make none.
  const withField = (value: object, name: string, item: unknown) => Object.fromEntries([...Object.entries(value), [name, item]]);
  const faults = [
    ...Object.entries(properties).map(([name, field]) =>
      fc
        .tuple(whole, invalid(field))
        .map(([value, { value: item, about }]) => ({ value: withField(value, name, item), about: `${name}: ${about}` })),
    ),
    fc.tuple(whole, unknownFields, fc.oneof(fc.constant('x'), wrongTypes)).map(([value, name, item]) => ({
      value: withField(value, name, item),
      about: `unknown field ${JSON.stringify(name)}`,
    })),
    fc.tuple(whole, fc.integer({ min: 90, max: 2000 })).map(([value, count]) => ({
      value: { ...value, ...Object.fromEntries(Array.from({ length: count }, (_, n) => [`field ${n}`, n])) },
      about: `${count} unknown fields`,
    })),
    whole.map((value) => ({ value: [value], about: 'an array of one' })),
  ];
  if (required.length === 0) return faults;
  const missing = fc.tuple(whole, fc.constantFrom(...required)).map(([value, name]) => ({
    value: Object.fromEntries(Object.entries(value).filter(([key]) => key !== name)),
    about: `without ${name}`,
  }));
  return [...faults, missing];
}

const isJson = (mediaType: string) => mediaType.startsWith('application/json');

function toBytes(mediaType: string, value: unknown, style: 'plain' | 'ascii' | 'spaced' = 'plain'): Uint8Array {
  if (!isJson(mediaType)) return encode(value, { maxDepth: 10_000 });
  const text = JSON.stringify(value, undefined, style === 'spaced' ? '\t' : undefined);
  if (style === 'spaced') return Buffer.from(` \r\n${text}\n\n`);
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return Buffer.from(style === 'ascii' ? text.replaceAll(/[^ -~]/g, escaped) : text);
}

// MessagePack has no escapes: its text is UTF-8, which lone surrogates have no part in, and the encoder would replace them.
function canBeSaid(mediaType: string, value: unknown): boolean {
  let wellFormed = true;
  JSON.stringify(value, (key, item: unknown) => {
    wellFormed &&= key.isWellFormed() && (typeof item !== 'string' || item.isWellFormed());
    return item;
  });
  return wellFormed || isJson(mediaType);
}

const styles = fc.constantFrom('plain', 'ascii', 'spaced');

/** Bytes that are no value of the media type at all, or none that it may carry. */
function malformed(mediaType: string, whole: fc.Arbitrary<unknown>): fc.Arbitrary<{ bytes: Uint8Array; about: string }> {
  const bytesOf = whole.map((value) => Buffer.from(toBytes(mediaType, value)));
  const truncated = fc.tuple(bytesOf, fc.nat()).map(([bytes, at]) => ({ bytes: bytes.subarray(0, at % bytes.length), about: 'truncated' }));
  const trailed = fc
    .tuple(bytesOf, isJson(mediaType) ? fc.constantFrom('}', ',', '{}', '0', '\0', '//') : fc.string({ minLength: 1 }))
    .map(([bytes, more]) => ({ bytes: Buffer.concat([bytes, Buffer.from(more)]), about: 'more behind its end' }));
  const named = (entries: Record<string, string | Buffer>) =>
    fc.constantFrom(...Object.entries(entries)).map(([about, bytes]) => ({ bytes: Buffer.from(bytes), about }));
  if (isJson(mediaType)) {
    return fc.oneof(
      truncated,
      trailed,
      fc.tuple(bytesOf, fc.nat(), fc.constantFrom(0xff, 0xc0, 0x80, 0xed)).map(([bytes, at, byte]) => ({
        bytes: Buffer.concat([bytes.subarray(0, at % bytes.length), Buffer.of(byte), bytes.subarray(at % bytes.length)]),
        about: 'no UTF-8',
      })),
      bytesOf.map((bytes) => ({ bytes: Buffer.from(bytes.toString(), 'utf16le'), about: 'UTF-16' })),
      named({
        'single quotes': "{'name':'John'}",
        'a comment': '{/* */}',
        'a comma too many': '{"name":"John",}',
        'no number': '{"name":NaN}',
        'a control character in a text': '{"name":"Jo\nhn"}',
        'an escape that is none': '{"name":"\\x41"}',
        'a form': 'name=John&surname=Doe',
        'a prototype': '{"__proto__":{"name":"John"}}',
        'an escaped prototype': '{"\\u005f_proto__":null}',
        'a prototype of a constructor': '{"constructor":{"prototype":{"name":"John"}}}',
        'a deep array that does not end': '['.repeat(100_000),
        'a deep array': `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
        'deep objects': `${'{"name":'.repeat(50_000)}1${'}'.repeat(50_000)}`,
        'white space only': ' \n\t',
      }),
    );
  }
  const key = (text: string) => Buffer.concat([Buffer.of(0xa0 + text.length), Buffer.from(text)]);
  const name = (value: number[]) => Buffer.concat([Buffer.of(0x81), key('name'), Buffer.from(value)]);
  return fc.oneof(
    truncated,
    trailed,
    named({
      'a byte that means nothing': Buffer.of(0xc1),
      'an array longer than its body': Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff),
      'a map longer than its body': Buffer.of(0xdf, 0xff, 0xff, 0xff, 0xff),
      'a text longer than its body': name([0xdb, 0xff, 0xff, 0xff, 0xff, 0x41]),
      'bytes longer than the body': Buffer.of(0xc6, 0x7f, 0xff, 0xff, 0xff),
      'no bytes in place of a map': Buffer.of(0xc4, 0x00),
      'bytes in place of a map': Buffer.of(0xc4, 0x01, 0x41),
      'bytes in place of a text': name([0xc4, 0x04, 0x4a, 0x6f, 0x68, 0x6e]),
      'a time': name([0xd6, 0xff, 0x00, 0x00, 0x00, 0x01]),
      'an extension': Buffer.from(encode(new ExtData(5, new Uint8Array(4)))),
      'an empty extension in place of a map': Buffer.of(0xc7, 0x00, 0x05),
      'a number for a key': Buffer.of(0x81, 0x01, 0xa1, 0x41),
      'nothing for a key': Buffer.of(0x81, 0xc0, 0xa1, 0x41),
      'a map for a key': Buffer.of(0x81, 0x80, 0xa1, 0x41),
      'a prototype': Buffer.concat([Buffer.of(0x81), key('__proto__'), Buffer.of(0x80)]),
      'a constructor': Buffer.concat([Buffer.of(0x81), key('constructor'), Buffer.of(0x80)]),
      'no UTF-8': name([0xa2, 0xc3, 0x28]),
      'a surrogate': name([0xa3, 0xed, 0xa0, 0x80]),
      'UTF-8 longer than needed': name([0xa2, 0xc1, 0x81]),
      'no UTF-8 in a long text': name([0xd9, 0xfa, ...Array<number>(249).fill(0x41), 0xff]),
      'a surrogate in a long text': name([0xd9, 0xfa, ...Array<number>(247).fill(0x41), 0xed, 0xa0, 0x80]),
      'deep arrays': Buffer.concat([Buffer.alloc(100_000, 0x91), Buffer.of(0xc0)]),
    }),
  );
}

const otherMediaTypes = [
  ...[
    'text/plain',
    'text/json',
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
  ],
  ...[
    'application/problem+json',
    'application/json-patch+json',
    'json',
    'application',
    '*/*',
    'application/*',
    ',',
    'application/msgpackx',
  ],
];

const queryText = (pairs: readonly (readonly [string, string])[]) =>
  pairs.length === 0 ? '' : `?${pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')}`;

const isWholeNumber = (text: string) => /^-?(0|[1-9][0-9]*)$/.test(text);

function isValidParameter(schema: Schema, text: string): boolean {
  if (typesOf(schema).includes('array')) return isValid(schema, text.split(','));
  if (!typesOf(schema).includes('integer')) return isValid(schema, text);
  return isWholeNumber(text) && Number.isSafeInteger(Number(text)) && isValid(schema, Number(text));
}

/** A text that only the service can make: a cursor. */
const isOpaque = (schema: Schema) => typesOf(schema).includes('string') && schema.pattern === '^[A-Za-z0-9_-]+$';

/** Parameters that ask the service to take its time: only their default is sent, for the tests' sake. */
const slow = ['wait'];

function validQuery({ parameters }: Operation): fc.Arbitrary<string> {
  const pairs = parameters
    .filter(({ in: place, schema }) => place === 'query' && !isOpaque(schema))
    .map(({ name, required, schema }) => {
      const value = slow.includes(name) ? fc.constant(schema.default) : valid(schema);
      const pair = value.map((text) => [name, String(text)] as const);
      return required ? pair : fc.option(pair, { nil: undefined });
    });
  return fc
    .tuple(fc.boolean(), ...pairs)
    .map(([reversed, ...some]) => some.filter((pair) => pair !== undefined).toSorted(() => (reversed ? -1 : 1)))
    .map(queryText);
}

const numbersThatAreNone = [
  ...[
    '',
    ' ',
    ' 1',
    '1 ',
    '+1',
    '-1',
    '-0',
    '01',
    '1.0',
    '1.5',
    '1e3',
    '1E3',
    '0x1',
    '0b1',
    '1_0',
    '1,0',
    '\u0663',
    '\uff11',
    '1\0',
    '1\n',
  ],
  ...['abc', 'null', 'true', 'NaN', 'Infinity', '[1]', '{}', '9'.repeat(400), '9007199254740992', '9007199254740993', '1;drop table'],
];

function invalidQuery({ parameters }: Operation): fc.Arbitrary<{ query: string; about: string }> {
  const known = parameters.filter(({ in: place }) => place === 'query');
  const names = new Set(known.map(({ name }) => name));
  const value = fc.string({ unit: 'binary', maxLength: 20 });
  const faults: fc.Arbitrary<{ query: string; about: string }>[] = [
    fc
      .tuple(fc.oneof(fc.constantFrom('__proto__', 'constructor', 'toString', 'Page', 'page[]', 'page.x', 'limit'), value), value)
      .filter(([name]) => name !== '' && !names.has(name))
      .map(([name, text]) => ({ query: queryText([[name, text]]), about: 'unknown parameter' })),
    fc
      .constantFrom('?%zz=1', '?%=1', '?%', '?x', '?x&x', '?\\=1', '?a=b=c', '?__proto__[x]=1')
      .map((query) => ({ query, about: 'no parameter of ours' })),
    fc.integer({ min: 101, max: 1000 }).map((count) => ({ query: `?${'x=1&'.repeat(count)}`, about: `${count} parameters` })),
  ];
  for (const { name, schema } of known) {
    const texts = [fc.constantFrom(...numbersThatAreNone), value];
    const { minimum: min, maximum: max } = schema;
    if (min !== undefined) texts.push(fc.constantFrom(min - 1, min - 100).map(String));
    if (max !== undefined) texts.push(fc.bigInt({ min: BigInt(max) + 1n, max: BigInt(max) * 1000n }).map(String));
    const broken = fc.oneof(...texts).filter((text) => !isValidParameter(schema, text));
    const some = isOpaque(schema) ? fc.constant('x') : valid(schema).map(String);
    faults.push(
      broken.map((text) => ({ query: queryText([[name, text]]), about: `${name} breaks its rule` })),
      fc.tuple(some, some).map((values) => ({ query: queryText(values.map((text) => [name, text])), about: `${name} twice` })),
      fc.constant({ query: `?${name}`, about: `${name} without a value` }),
    );
    if (isOpaque(schema)) continue;
    const malformed = fc.constantFrom('%', '%zz', '%C3%28', '1%', '+1');
    faults.push(malformed.map((text) => ({ query: `?${name}=${text}`, about: `${name} is malformed` })));
  }
  return fc.oneof(...faults);
}

const pathParameters = ({ parameters }: Operation) => parameters.filter(({ in: place }) => place === 'path');

function validPath(operation: Operation): fc.Arbitrary<string> {
  const values = pathParameters(operation).map(({ name, schema }) => {
    const text = valid(schema).map((value) => String(value));
    const encoded = text.map((digits) => digits.replace(/^./, (digit) => `%${digit.charCodeAt(0).toString(16)}`));
    // A name left in its braces is that of a user who exists.
    return fc.oneof({ arbitrary: fc.constant(`{${name}}`), weight: 2 }, text, encoded).map((value) => [`{${name}}`, value] as const);
  });
  return fc
    .tuple(fc.boolean(), ...values)
    .map(([slash, ...pairs]) => pairs.reduce((path, [name, value]) => path.replace(name, value), slashed(operation.path, slash)));
}

function slashed(path: string, slash: boolean): string {
  return `${path.replace(/\/$/, '')}${slash ? '/' : ''}`;
}

function invalidPath(operation: Operation): fc.Arbitrary<{ path: string; about: string }>[] {
  return pathParameters(operation).map(({ name, schema }) => {
    const texts = fc
      .oneof(
        fc.constantFrom(...numbersThatAreNone, '0', '00', '..', '.', '*', ':id', '\u{1f600}', 'x'.repeat(8000)),
        fc.string({ unit: 'binary' }),
      )
      .filter((text) => text !== '' && !isValidParameter(schema, text))
      .map((text) => encodeURIComponent(text));
    const malformed = ['%', '%zz', '1%', '%C3%28', '%E0%A4%A', '%2', '%%31', '%00'];
    const odd = ['1;2', '1,2', "1'", '(1)', '1+1', '%2e%2e', '1%2F2', '{{id}}'];
    const raw = fc.constantFrom(...malformed, ...odd);
    return fc.oneof(texts, raw).map((text) => ({ path: operation.path.replace(`{${name}}`, text), about: `${name} breaks its rule` }));
  });
}

type Accept = { readonly headers: Readonly<Record<string, string>>; readonly prefers?: string };

function accept({ responses }: Operation): fc.Arbitrary<Accept> {
  // A stream of events has no end to wait for.
  const offered = [...new Set(Object.values(responses).flatMap(({ content }) => Object.keys(content)))].filter(
    (type) => type !== 'text/event-stream',
  );
  // The first has the greatest q of all.
  const ranked = fc.shuffledSubarray(offered, { minLength: 1 }).chain((types) => {
    const [prefers = ''] = types;
    return fc
      .shuffledSubarray(
        types.map((type, rank) => `${type};q=${(0.9 - rank / 10).toFixed(1)}`),
        { minLength: types.length },
      )
      .map((order) => ({ headers: { accept: order.join(', ') }, prefers }));
  });
  const odd = fc
    .oneof(
      fc.constantFrom('*/*', 'text/html, */*;q=0.1', 'application/*', '*/*;q=0', 'image/png'),
      fc.constantFrom('', ';;;q=', 'application/msgpack;q=x', 'msgpack,'),
      fc.string({ unit: 'grapheme-ascii' }).map((text) => `application/msgpack ${text.trim()}`),
    )
    .map((text) => ({ headers: { accept: text } }));
  return fc.oneof(fc.constant({ headers: {} }), ranked, odd);
}

const traceHeaders = fc.oneof(
  { arbitrary: fc.constant({}), weight: 4 },
  fc.constantFrom<Call['headers']>({ 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }, { 'sec-fetch-mode': 'cors' }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 200 }).map((text) => ({ 'x-request-id': text.trim() })),
  fc.constantFrom('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-0-0-0', 'ff').map((traceparent) => ({ traceparent })),
);

/** A request of this operation with nothing wrong in it. What refuses no host is asked under one of somebody else. */
export function validExamples(operation: Operation): fc.Arbitrary<Example> {
  const host = operation.responses[421] === undefined ? { host: 'a.example' } : {};
  return fc
    .tuple(validPath(operation), validQuery(operation), accept(operation), traceHeaders, validBody(operation))
    .map(([path, query, { headers, prefers }, trace, { headers: bodyHeaders, bytes, sent }]) => ({
      ...exampleOf(operation.method, `${path}${query}`, { ...host, ...headers, ...trace, ...bodyHeaders }, bytes, 'nothing wrong'),
      ...(prefers !== undefined && { prefers }),
      ...(sent !== undefined && { sent }),
    }));
}

type Body = { readonly headers: Readonly<Record<string, string>>; readonly bytes?: Uint8Array; readonly sent?: unknown };

function validBody({ requestBody }: Operation): fc.Arbitrary<Body> {
  if (requestBody === undefined) return fc.constant({ headers: {} });
  return fc.constantFrom(...Object.entries(requestBody.content)).chain(([mediaType, { schema }]) =>
    fc
      .tuple(valid(schema), styles, fc.constantFrom(mediaType, mediaType.toUpperCase(), `${mediaType}; charset=utf-8`), fc.boolean())
      .map(([sent, style, contentType, chunked]) => ({
        headers: { 'content-type': contentType, ...(chunked && { 'transfer-encoding': 'chunked' }) },
        bytes: toBytes(mediaType, sent, style),
        sent,
      })),
  );
}

/** A request of this operation with one thing wrong in it: the user it names, if any, exists. */
export function invalidExamples(operation: Operation): fc.Arbitrary<Example> {
  const { method, path: target } = operation;
  return fc
    .tuple(accept(operation), traceHeaders, validBody(operation), fc.oneof(...faultsOf(operation)))
    .map(([{ headers }, trace, { headers: bodyHeaders, bytes }, breakOne]) =>
      breakOne({ method, target, headers: { ...headers, ...trace, ...bodyHeaders }, ...(bytes !== undefined && { body: bytes }) }),
    );
}

type Fault = (right: Call) => Example;

const otherHosts = ['a.example', 'localhost.a.example', '127.0.0.1.a.example', '0.0.0.0:8000', '[::2]:8000', 'xn--localhost-4d7e'];
const otherPages: Call['headers'][] = [
  { 'sec-fetch-site': 'cross-site' },
  { 'sec-fetch-site': 'same-site' },
  { 'sec-fetch-site': 'x' },
  { origin: 'null' },
  { origin: 'https://a.example' },
  { origin: 'http://localhost:1', 'sec-fetch-site': 'same-origin' },
];

// What is refused for who asks, whatever is asked.
function wrongCallers({ method, responses }: Operation): fc.Arbitrary<Fault>[] {
  const withHeaders = (headers: Call['headers'], about: string): Fault => {
    return (right) => exampleOf(method, right.target, { ...right.headers, ...headers }, right.body, about);
  };
  return [
    ...(responses[421] === undefined ? [] : [fc.constantFrom(...otherHosts.map((host) => withHeaders({ host }, 'another host')))]),
    ...(responses[403] === undefined ? [] : [fc.constantFrom(...otherPages.map((page) => withHeaders(page, 'a page of another site')))]),
  ];
}

function faultsOf(operation: Operation): fc.Arbitrary<Fault>[] {
  const faults: fc.Arbitrary<Fault>[] = [
    invalidQuery(operation).map(
      ({ query, about }): Fault =>
        ({ method, headers, body }) =>
          exampleOf(method, `${operation.path}${query}`, headers, body, about),
    ),
    ...invalidPath(operation).map((paths) =>
      paths.map(
        ({ path, about }): Fault =>
          ({ method, headers, body }) =>
            exampleOf(method, path, headers, body, about),
      ),
    ),
    ...wrongCallers(operation),
  ];
  if (operation.requestBody === undefined) return faults;
  const withBody = (bytes: Uint8Array | undefined, headers: Record<string, string>, about: string): Fault => {
    return ({ method, target, headers: { 'transfer-encoding': _encoding, 'content-type': _type, ...others } }) =>
      exampleOf(method, target, { ...others, ...headers }, bytes, about);
  };
  const bodies = fc.constantFrom(...Object.entries(operation.requestBody.content)).chain(([mediaType, { schema }]) => {
    const type = { 'content-type': mediaType };
    return fc.oneof(
      {
        arbitrary: fc
          .tuple(
            invalid(schema).filter(({ value }) => canBeSaid(mediaType, value)),
            styles,
          )
          .map(([{ value, about }, style]) => withBody(toBytes(mediaType, value, style), type, about)),
        weight: 6,
      },
      { arbitrary: malformed(mediaType, valid(schema)).map(({ bytes, about }) => withBody(bytes, type, about)), weight: 3 },
      fc
        .tuple(valid(schema), fc.constantFrom(...otherMediaTypes))
        .map(([value, other]) => withBody(toBytes(mediaType, value), { 'content-type': other }, `Content-Type ${other}`)),
      valid(schema).map((value) => withBody(toBytes(mediaType, value), {}, 'no Content-Type')),
      fc
        .tuple(valid(schema), fc.constantFrom('gzip', 'br', 'identity, gzip', 'x'))
        .map(([value, coding]) =>
          withBody(toBytes(mediaType, value), { ...type, 'content-encoding': coding }, `Content-Encoding ${coding}`),
        ),
      fc.constantFrom(
        withBody(undefined, {}, 'no body'),
        withBody(undefined, type, 'no body'),
        withBody(new Uint8Array(), type, 'an empty body'),
      ),
    );
  });
  return [...faults, bodies, bodies, bodies];
}

function exampleOf(method: string, target: string, headers: Call['headers'], body: Uint8Array | undefined, about: string): Example {
  const call = { method, target, headers, ...(body !== undefined && { body }) };
  // What fast-check prints of it.
  return { call, about, [fc.toStringMethod]: () => `${about}: ${describe(call)}` } as Example;
}

/** Each rule of the document just kept and just broken, one at a time: what chance alone may pass over. */
export function boundaryExamples({ method, path, parameters, requestBody }: Operation): { valid: Example[]; invalid: Example[] } {
  const examples: { valid: Example[]; invalid: Example[] } = { valid: [], invalid: [] };
  const [json] = Object.entries(requestBody?.content ?? {}).filter(([mediaType]) => isJson(mediaType));
  const [mediaType = '', { schema = {} } = {}] = json ?? [];
  const { properties = {} } = schema;
  const headers = json === undefined ? {} : { 'content-type': mediaType };
  const whole = Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, field.examples?.[0]]));
  for (const [name, field] of Object.entries(properties)) {
    for (const text of boundaryTexts(field)) {
      const kind = isValid(field, text) ? 'valid' : 'invalid';
      const sent = { ...whole, [name]: text };
      examples[kind].push({ ...exampleOf(method, path, headers, toBytes(mediaType, sent), `${name} at its limits`), sent });
    }
  }
  const right = json === undefined ? undefined : toBytes(mediaType, whole);
  for (const { name, in: place, schema: rules } of parameters) {
    const around = [rules.minimum, rules.maximum].flatMap((bound) => (bound === undefined ? [] : [bound - 1, bound, bound + 1]));
    for (const text of [...numbersThatAreNone, ...around.map(String), ...(isOpaque(rules) ? boundaryTexts(rules) : [])]) {
      // No URL says a lone surrogate.
      if (!text.isWellFormed()) continue;
      const kind = isValidParameter(rules, text) ? 'valid' : 'invalid';
      if ((place === 'path' && text === '') || (kind === 'valid' && (isOpaque(rules) || slow.includes(name)))) continue;
      const target = place === 'query' ? `${path}${queryText([[name, text]])}` : path.replace(`{${name}}`, encodeURIComponent(text));
      examples[kind].push({ ...exampleOf(method, target, headers, right, `${name} at its limits`), sent: whole });
    }
  }
  return examples;
}

function boundaryTexts({ minLength: min = 0, maxLength: max = 0 }: Schema): string[] {
  return [
    ...breakingUnits.map((unit) => `${'a'.repeat(min)}${unit}a`),
    // In the form that takes the most units of UTF-16, and bytes, for so many code points.
    ...oddUnits.flatMap((unit) => [fill([unit], min), fill([unit], max), fill([unit], max).normalize('NFD')]),
    `${' '.repeat(5000)}${'a'.repeat(max)}\n`,
    'a'.repeat(max + 1),
    '\u{1f511}'.repeat(max + 1),
    'a'.repeat(Math.max(0, min - 1)),
  ];
}

/** Requests of which the document does not say whether they are taken; only how they may be answered. */
export function oddExamples(operation: Operation): fc.Arbitrary<Example> {
  const { requestBody } = operation;
  const bodies: fc.Arbitrary<Body & { about: string }>[] =
    requestBody === undefined
      ? [
          fc
            .tuple(fc.uint8Array({ maxLength: 100 }), fc.constantFrom('application/json', 'application/msgpack', ...otherMediaTypes))
            .map(([bytes, type]) => ({ bytes, headers: { 'content-type': type }, about: 'a body that nobody asked for' })),
          fc.constantFrom('{}', '{', '').map((text) => ({
            bytes: Buffer.from(text),
            headers: { 'content-type': 'application/json' },
            about: 'a body that nobody asked for',
          })),
        ]
      : Object.entries(requestBody.content).map(([mediaType, { schema }]) => {
          const headers = { 'content-type': mediaType };
          const twice = fc.tuple(valid(schema), invalid(schema)).map(([value, { value: other }]) => {
            const [first, second] = [value, other].map((item) => JSON.stringify(item));
            const whole = second?.startsWith('{') === true && first !== '{}' && second !== '{}';
            return whole ? `${first?.slice(0, -1)},${second?.slice(1)}` : `{"name":"John","name":${second ?? 'null'}}`;
          });
          if (!isJson(mediaType)) return fc.uint8Array({ maxLength: 300 }).map((bytes) => ({ bytes, headers, about: 'any bytes' }));
          return fc.oneof(
            twice.map((text) => ({ bytes: Buffer.from(text), headers, about: 'a field twice' })),
            valid(schema).map((value) => ({
              bytes: Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), toBytes(mediaType, value)]),
              headers,
              about: 'a byte order mark',
            })),
            fc.json().map((text) => ({ bytes: Buffer.from(text), headers, about: 'any JSON' })),
            fc.tuple(valid(schema), fc.constantFrom('utf-16', 'latin1', 'x')).map(([value, charset]) => ({
              bytes: toBytes(mediaType, value),
              headers: { 'content-type': `${mediaType}; charset=${charset}` },
              about: `charset ${charset}`,
            })),
          );
        });
  return fc
    .tuple(validPath(operation), accept(operation), fc.oneof(...bodies), fc.constantFrom('', '?', '?&', '?&&', '?=', '?=&='))
    .map(([path, { headers }, body, query]) =>
      exampleOf(operation.method, `${path}${query}`, { ...headers, ...body.headers }, body.bytes, body.about),
    );
}

/** The request in words that say every byte of it. */
export function describe({ method, target, headers, body }: Call): string {
  const lines = [
    `${method} ${JSON.stringify(target)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${JSON.stringify(value)}`),
  ];
  if (body !== undefined) {
    const bytes = Buffer.from(body);
    const isAscii = bytes.every((byte) => byte >= 0x20 && byte < 0x7f);
    const text = isAscii ? bytes.toString() : `${bytes.toString('hex')} (hex)`;
    lines.push(`${bytes.length} bytes: ${text.length > 2000 ? `${text.slice(0, 2000)}...` : text}`);
  }
  return lines.join('\n  ');
}

export function createSender(url: string): Disposable & { send(call: Call): Promise<Reply> } {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true });
  return {
    // Not fetch: it rewrites paths, and refuses methods and headers that a stranger may well send.
    send: ({ method, target, headers, body }) =>
      new Promise((resolve, reject) => {
        const length = body !== undefined && headers['transfer-encoding'] === undefined ? { 'content-length': String(body.length) } : {};
        const outgoing = request({ agent, hostname, port, method, path: target, headers: { ...headers, ...length } }, (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const { statusCode = 0, headers: received } = incoming;
            resolve({ status: statusCode, headers: received as Record<string, string>, bytes: Buffer.concat(chunks) });
          });
        });
        outgoing.on('error', reject);
        outgoing.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

export function essence(contentType: string | undefined): string {
  return (contentType ?? '').replace(/;.*/s, '').trim().toLowerCase();
}

export function decodeBody({ headers, bytes }: Reply): unknown {
  const type = essence(headers['content-type']);
  if (type.includes('msgpack')) return decode(bytes);
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  return type === 'application/json' || type.endsWith('+json') ? JSON.parse(text) : text;
}

/** Fails unless the document has this answer: status, content type, headers, body and code of the problem. @returns the body */
export function assertDocumented({ operationId, responses }: Operation, reply: Reply): unknown {
  const { status, headers } = reply;
  assert.ok(status < 500, `${operationId} answered ${status}`);
  const response = responses[status];
  assert.ok(response, `${operationId} does not document ${status}`);
  const type = essence(headers['content-type']);
  const media = response.content[type];
  assert.ok(media, `${operationId} does not document "${type}" for ${status}`);
  for (const name of Object.keys(response.headers ?? {}))
    assert.ok(headers[name], `${operationId} promises the header ${name} with ${status}`);
  const body = decodeBody(reply);
  assertMatches(media.schema, body);
  if (type === 'application/problem+json') {
    const { status: inBody, code } = body as { status: number; code: string };
    assert.equal(inBody, status, 'the problem says the status of its answer');
    assert.ok(Object.hasOwn(media.examples ?? {}, code), `${operationId} does not document the problem ${code} for ${status}`);
  }
  return body;
}

/** Fails unless this is a problem as the document describes them. @returns it */
export function assertProblem(reply: Reply): { readonly status: number; readonly code: string } {
  assert.equal(essence(reply.headers['content-type']), 'application/problem+json');
  const body = decodeBody(reply);
  assertMatches(document.components.schemas['Problem'] ?? {}, body);
  return body as { status: number; code: string };
}

function assertMatches(schema: Schema, body: unknown): void {
  const validate = closedValidatorOf(schema);
  assert.ok(validate(body), `the body breaks its schema: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(body)}`);
}
