// Values that keep the rules of a schema, or break one.
import fc from 'fast-check';
import { isValid, lengthOf, type Schema, typesOf } from './document.ts';

const whiteSpace = ['', ' ', '\t', '\r\n', '   ', '\u00a0', '\u2003', '\u3000', '\ufeff', '\u2028'];
// Each of these has tripped a service: composed and decomposed forms, a composition that NFC takes apart (U+0958), marks
// without a base, astral and unassigned code points, and what SQL, JSON, HTML and format strings treat in a way of their own.
export const oddUnits = [
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
export const breakingUnits = [
  ...['\0', '\u0001', 'a\tb', 'a\nb', '\u001b[31m', '\u007f', '\u0085', '\u009f'],
  ...['\u061c', '\u200e', '\u200f', '\u202a', '\u202e', '\u2066', '\u2069', '\ud800', '\udbff', '\udc00', '\udfff', '\udc00\ud800'],
];
const units = fc.array(fc.oneof(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }), fc.constantFrom(...oddUnits)), {
  minLength: 1,
  maxLength: 8,
});

/** The units over and over, to exactly so many code points after normalisation. */
export function fill(pieces: readonly string[], length: number): string {
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
  const texts: fc.Arbitrary<string>[] = [fc.array(fc.constantFrom(...whiteSpace), { maxLength: 12 }).map((spaces) => spaces.join(''))];
  if (lengths.length > 0) texts.push(fc.tuple(units, fc.oneof(...lengths)).map(([pieces, length]) => fill(pieces, length)));
  if (breaking.length > 0)
    texts.push(
      fc.tuple(freeText(schema), fc.constantFrom(...breaking), fc.nat()).map(([text, unit, at]) => {
        const points = [...text];
        return points.toSpliced(at % (points.length + 1), 0, unit).join('');
      }),
    );
  return fc.oneof(...texts);
}

const letters = fc.stringMatching(/^[a-z\u00e4\u00df\u0431\u6f22]{1,8}$/);
const spaced = (text: fc.Arbitrary<string>) => fc.tuple(fc.constantFrom('', ' ', '\t'), text).map((parts) => parts.join(''));
const instants = fc
  .date({ min: new Date('0001-01-02T00:00:00Z'), max: new Date('9999-12-30T00:00:00Z'), noInvalidDate: true })
  .chain((at) => fc.constantFrom(at.toISOString(), at.toISOString().replace('Z', '+01:30'), at.toISOString().replace(/\.\d+Z/, 'z')));
/** Unique for all practical purposes: identifiers are. */
const byFormat: Readonly<Record<string, fc.Arbitrary<string>>> = {
  'idn-email': spaced(fc.tuple(letters, fc.uuid(), letters).map(([name, id, domain]) => `${name}+${id}@${domain}.example`)),
  username: spaced(fc.tuple(letters, fc.uuid()).map(([name, id]) => `${name}.${id}`)),
  locale: fc.constantFrom('de', 'de-ch', 'zh-Hant-TW', 'EN', 'sr-Latn', ' en-US'),
  'time-zone': fc.constantFrom('Europe/Zurich', 'UTC', 'America/Argentina/Buenos_Aires', 'Etc/GMT+1'),
  instant: instants,
  'date-time': instants,
};
const plainValues = fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), fc.string({ unit: 'grapheme' }), fc.array(fc.integer()));
const anyMembers = fc.dictionary(
  fc.stringMatching(/^[a-z]{1,4}$/),
  fc.oneof(plainValues, fc.dictionary(letters, plainValues, { noNullPrototype: true })),
  {
    noNullPrototype: true,
  },
);

/** Values that keep the rules. */
export function valid(schema: Schema): fc.Arbitrary<unknown> {
  const types = typesOf(schema);
  if (types.includes('null')) {
    const others = valid({ ...schema, type: types.filter((type) => type !== 'null') });
    return fc.oneof({ arbitrary: fc.constant(null), weight: 1 }, { arbitrary: others, weight: 5 });
  }
  const [type] = types;
  if (schema.format !== undefined && byFormat[schema.format] !== undefined) return byFormat[schema.format] as fc.Arbitrary<string>;
  if (type === 'object' && schema.properties === undefined && schema.additionalProperties === true) return anyMembers;
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
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
  // Some become longer by it than they are in NFC.
  if (type === 'string' && schema.maxLength !== undefined) return freeText(schema).filter((text) => isValid(schema, text));
  if (type === 'array' && schema.items !== undefined)
    return fc.array(valid(schema.items), { minLength: schema.minItems ?? 0, maxLength: 5 });
  if (type === 'object' && schema.properties !== undefined) {
    const fields = Object.entries(schema.properties).map(([name, field]) => [name, valid(field)] as const);
    return fc
      .record(Object.fromEntries(fields), { requiredKeys: [...(schema.required ?? [])], noNullPrototype: true })
      .filter((value) => isValid(schema, value));
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
export function invalid(schema: Schema): fc.Arbitrary<{ value: unknown; about: string }> {
  const types = typesOf(schema);
  const wrong = wrongTypes.map((value) => ({ value, about: 'wrong type' }));
  const mistakes = [wrong];
  if (types.includes('string')) mistakes.push(brokenText(schema).map((value) => ({ value, about: 'breaks a rule of text' })));
  if (types.includes('object')) mistakes.push(...brokenObjects(schema));
  if (types.includes('array') && schema.items !== undefined)
    mistakes.push(invalid(schema.items).map(({ value, about }) => ({ value: [value], about: `an item: ${about}` })));
  return fc.oneof(...mistakes).filter(({ value }) => !isValid(schema, value));
}

function brokenObjects(schema: Schema): fc.Arbitrary<{ value: unknown; about: string }>[] {
  const { properties = {}, required = [] } = schema;
  const whole = valid(schema) as fc.Arbitrary<Record<string, unknown>>;
  // As own fields, whatever their name: an assignment to __proto__ would make none.
  const withField = (value: object | null, name: string, item: unknown) =>
    Object.fromEntries([...Object.entries(value ?? {}), [name, item]]);
  const mistakes = [
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
  if (required.length === 0) return mistakes;
  const missing = fc.tuple(whole, fc.constantFrom(...required)).map(([value, name]) => ({
    value: Object.fromEntries(Object.entries(value).filter(([key]) => key !== name)),
    about: `without ${name}`,
  }));
  return [...mistakes, missing];
}
