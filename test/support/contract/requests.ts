// Requests of an operation: with nothing wrong, with one thing wrong, at the limits of each rule, and such as the document leaves open.
import fc from 'fast-check';
import { type Body, canBeSaid, isJson, malformed, otherMediaTypes, styles, toBytes, validBody } from './bodies.ts';
import { type Call, type Example, isValid, type Operation, type Schema, typesOf } from './document.ts';
import {
  invalidPath,
  invalidQuery,
  isOpaque,
  isValidParameter,
  numbersThatAreNone,
  queryText,
  slow,
  validPath,
  validQuery,
} from './parameters.ts';
import { breakingUnits, fill, invalid, oddUnits, valid } from './values.ts';

type Accept = { readonly headers: Readonly<Record<string, string>>; readonly prefers?: string };

function accept({ responses }: Operation): fc.Arbitrary<Accept> {
  // A stream of events has no end to wait for.
  const offered = [...new Set(Object.values(responses).flatMap(({ content = {} }) => Object.keys(content)))].filter(
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

/** A request of this operation with one thing wrong in it: the user it names, if any, exists. */
export function invalidExamples(operation: Operation): fc.Arbitrary<Example> {
  const { method, path: target } = operation;
  return fc
    .tuple(accept(operation), traceHeaders, validBody(operation), fc.oneof(...mistakesOf(operation)))
    .map(([{ headers }, trace, { headers: bodyHeaders, bytes }, breakOne]) =>
      breakOne({ method, target, headers: { ...headers, ...trace, ...bodyHeaders }, ...(bytes !== undefined && { body: bytes }) }),
    );
}

type Mistake = (right: Call) => Example;

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
function wrongCallers({ method, responses }: Operation): fc.Arbitrary<Mistake>[] {
  const withHeaders = (headers: Call['headers'], about: string): Mistake => {
    return (right) => exampleOf(method, right.target, { ...right.headers, ...headers }, right.body, about);
  };
  return [
    ...(responses[421] === undefined ? [] : [fc.constantFrom(...otherHosts.map((host) => withHeaders({ host }, 'another host')))]),
    ...(responses[403] === undefined ? [] : [fc.constantFrom(...otherPages.map((page) => withHeaders(page, 'a page of another site')))]),
  ];
}

function mistakesOf(operation: Operation): fc.Arbitrary<Mistake>[] {
  const mistakes: fc.Arbitrary<Mistake>[] = [
    invalidQuery(operation).map(
      ({ query, about }): Mistake =>
        ({ method, headers, body }) =>
          exampleOf(method, `${operation.path}${query}`, headers, body, about),
    ),
    ...invalidPath(operation).map((paths) =>
      paths.map(
        ({ path, about }): Mistake =>
          ({ method, headers, body }) =>
            exampleOf(method, path, headers, body, about),
      ),
    ),
    ...wrongCallers(operation),
  ];
  if (operation.requestBody === undefined) return mistakes;
  const withBody = (bytes: Uint8Array | undefined, headers: Record<string, string>, about: string): Mistake => {
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
        .tuple(
          valid(schema),
          fc.constantFrom(...otherMediaTypes.filter((type) => operation.method !== 'PATCH' || type !== 'application/json-patch+json')),
        )
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
  return [...mistakes, bodies, bodies, bodies];
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
  const needed = Object.entries(properties).filter(([name]) => schema.required?.includes(name));
  const whole = Object.fromEntries(needed.map(([name, field]) => [name, field.examples?.[0]]));
  for (const [name, field] of Object.entries(properties)) {
    if (!typesOf(field).includes('string')) continue;
    for (const text of boundaryTexts(field)) {
      const kind = isValid(field, text) ? 'valid' : 'invalid';
      const sent = { ...whole, [name]: text };
      examples[kind].push({ ...exampleOf(method, path, headers, toBytes(mediaType, sent), `${name} at its limits`), sent });
    }
  }
  const required = parameters
    .filter(({ in: place, required }) => place === 'query' && required)
    .map(({ name, schema }) => [name, String(schema.examples?.[0])] as const);
  const right = json === undefined ? undefined : toBytes(mediaType, whole);
  for (const { name, in: place, schema: rules } of parameters) {
    const around = [rules.minimum, rules.maximum].flatMap((bound) => (bound === undefined ? [] : [bound - 1, bound, bound + 1]));
    for (const text of [...numbersThatAreNone, ...around.map(String), ...(isOpaque(rules) ? boundaryTexts(rules) : [])]) {
      // No URL says a lone surrogate.
      if (!text.isWellFormed()) continue;
      const kind = isValidParameter(rules, text) ? 'valid' : 'invalid';
      if ((place === 'path' && text === '') || (kind === 'valid' && (isOpaque(rules) || slow.includes(name)))) continue;
      const others = required.filter(([other]) => other !== name);
      const target =
        place === 'query'
          ? `${path}${queryText([...others, [name, text]])}`
          : `${path.replace(`{${name}}`, encodeURIComponent(text))}${queryText(required)}`;
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
