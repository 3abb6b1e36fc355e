// Parameters of path and query that keep their rules, or break one.
import fc from 'fast-check';
import { isValid, type Operation, type Schema, typesOf } from './document.ts';
import { valid } from './values.ts';

export const queryText = (pairs: readonly (readonly [string, string])[]) =>
  pairs.length === 0 ? '' : `?${pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')}`;

const isWholeNumber = (text: string) => /^-?(0|[1-9][0-9]*)$/.test(text);

export function isValidParameter(schema: Schema, text: string): boolean {
  if (typesOf(schema).includes('array')) return isValid(schema, text.split(','));
  if (!typesOf(schema).includes('integer')) return isValid(schema, text);
  return isWholeNumber(text) && Number.isSafeInteger(Number(text)) && isValid(schema, Number(text));
}

/** A text that only the service can make: a cursor. */
export const isOpaque = (schema: Schema) => typesOf(schema).includes('string') && schema.pattern === '^[A-Za-z0-9_-]+$';

/** Parameters that ask the service to take its time: only their default is sent, for the tests' sake. */
export const slow = ['wait'];

export function validQuery({ parameters }: Operation): fc.Arbitrary<string> {
  const pairs = parameters
    .filter(({ in: place, schema }) => place === 'query' && !isOpaque(schema))
    .map(({ name, required, schema }) => {
      const value = slow.includes(name) ? fc.constant(schema.default) : valid(schema);
      const pair = value.map((text) => [name, String(text)] as const);
      return required ? pair : fc.option(pair, { nil: undefined });
    });
  const excludedBy = new Map(parameters.map(({ name, schema }) => [name, new Set(schema['x-excludes'])]));
  return (
    fc
      .tuple(fc.boolean(), ...pairs)
      .map(([reversed, ...some]) => some.filter((pair) => pair !== undefined).toSorted(() => (reversed ? -1 : 1)))
      // What the first parameter does not allow beside it is left out.
      .map((some) => some.filter(([name]) => !some.some(([other]) => excludedBy.get(other)?.has(name))))
      .map(queryText)
  );
}

export const numbersThatAreNone = [
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

export function invalidQuery({ parameters }: Operation): fc.Arbitrary<{ query: string; about: string }> {
  const known = parameters.filter(({ in: place }) => place === 'query');
  const names = new Set(known.map(({ name }) => name));
  const value = fc.string({ unit: 'binary', maxLength: 20 });
  const mistakes: fc.Arbitrary<{ query: string; about: string }>[] = [
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
    mistakes.push(
      broken.map((text) => ({ query: queryText([[name, text]]), about: `${name} breaks its rule` })),
      fc.tuple(some, some).map((values) => ({ query: queryText(values.map((text) => [name, text])), about: `${name} twice` })),
      fc.constant({ query: `?${name}`, about: `${name} without a value` }),
    );
    if (isOpaque(schema)) continue;
    // A plus is a space.
    const malformed = fc.constantFrom('%', '%zz', '%C3%28', '1%', ...(isValidParameter(schema, ' 1') ? [] : ['+1']));
    mistakes.push(malformed.map((text) => ({ query: `?${name}=${text}`, about: `${name} is malformed` })));
  }
  return fc.oneof(...mistakes);
}

const pathParameters = ({ parameters }: Operation) => parameters.filter(({ in: place }) => place === 'path');

/** Any text, as one in a path: an identifier. */
const isText = (schema: Schema) => typesOf(schema).includes('string') && schema.pattern === undefined;

export function validPath(operation: Operation): fc.Arbitrary<string> {
  const values = pathParameters(operation).map(({ name, schema }) => {
    const text = valid(schema).map((value) => String(value));
    if (isText(schema)) {
      const encodedText = text.map((value) => encodeURIComponent(value));
      return fc.oneof({ arbitrary: fc.constant(`{${name}}`), weight: 2 }, encodedText).map((value) => [`{${name}}`, value] as const);
    }
    const encoded = text.map((digits) => digits.replace(/^./, (digit) => `%${digit.charCodeAt(0).toString(16)}`));
    // A name left in its braces is that of what exists.
    return fc.oneof({ arbitrary: fc.constant(`{${name}}`), weight: 2 }, text, encoded).map((value) => [`{${name}}`, value] as const);
  });
  return fc
    .tuple(fc.boolean(), ...values)
    .map(([slash, ...pairs]) => pairs.reduce((path, [name, value]) => path.replace(name, () => value), slashed(operation.path, slash)));
}

function slashed(path: string, slash: boolean): string {
  return `${path.replace(/\/$/, '')}${slash ? '/' : ''}`;
}

export function invalidPath(operation: Operation): fc.Arbitrary<{ path: string; about: string }>[] {
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
    if (isText(schema)) {
      const long = 'x'.repeat(8000);
      return fc
        .constantFrom(...malformed.filter((part) => part !== '%00'), long)
        .map((part) => ({ path: operation.path.replace(`{${name}}`, part), about: `${name} breaks its rule` }));
    }
    const raw = fc.constantFrom(...malformed, ...odd);
    return fc.oneof(texts, raw).map((text) => ({ path: operation.path.replace(`{${name}}`, text), about: `${name} breaks its rule` }));
  });
}
