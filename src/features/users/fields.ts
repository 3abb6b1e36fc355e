// The fields of a user that are written: columns, statements, schemas, what events carry and `changed` follow from this list.
import type { TSchema } from 'typebox';
import { Type } from '../../platform/runtime/schema.ts';

/** Code points. */
export const passwordLengthMax = 128;
/** Bytes, as JSON. */
const attributesBytesMax = 16 * 1024;

export type FieldSettings = {
  /** Code points. */
  readonly passwordLengthMin: number;
  /** JSON Schema of `attributes`, beside that they are an object. */
  readonly attributesSchema?: object | undefined;
};

export const statuses = ['active', 'suspended'] as const;

/** Who may write a field: the service by itself, a caller with the right to write users, or the user. */
type Writer = 'service' | 'users:write' | 'self';

/** Of a column: its type, and the type of its value in answers and events. */
const columnTypes = { text: 'string', jsonb: 'object', timestamptz: 'string' } as const;

type Field = {
  readonly column: keyof typeof columnTypes;
  /** What a value must be, as JSON Schema with `x-normalize` and `x-pattern-message`. */
  readonly rules: (settings: FieldSettings) => Readonly<Record<string, unknown>>;
  readonly example: unknown;
  /** Whether a new user must bring it. */
  readonly isRequired: boolean;
  /** Whether a user may be without it. */
  readonly isNullable: boolean;
  /** Of a new user that does not bring it. */
  readonly byDefault?: unknown;
  /** Whether answers and events show it. */
  readonly isShown: boolean;
  readonly writers: readonly Writer[];
  /** Another field, with whose new value this one is taken away, unless the change names it, too. */
  readonly endsWith?: string;
};

// What no reader sees, if nothing else stands beside it: white space, format characters, default ignorables (Unicode,
// DerivedCoreProperties: fillers, variation selectors), and the blanks of Braille, hieroglyphs and notes. No ranges beyond U+FFFF:
// the pattern is also read without the flag u (fast-json-stringify).
const unseen = '\\s\\p{Z}\\p{Cf}\\p{DI}\\u2800\\uFFFC\\u{13441}\\u{13442}\\u{1D159}';
// What no name holds: control characters, lone surrogates, noncharacters, line and paragraph separators, and format characters.
const refused = '\\p{Cc}\\p{Cs}\\p{NChar}\\u2028\\u2029\\p{Cf}';
// Of the format characters, those that words are written with: soft hyphen, Arabic and Syriac number signs, the Mongolian vowel
// separator, ZWSP (Khmer), ZWNJ (Persian), ZWJ (Sinhala, emoji), word joiner, ZWNBSP. Not the bidirectional and deprecated ones,
// annotations and tags.
const needed = '\\u00AD\\u0600-\\u0605\\u06DD\\u070F\\u0890\\u0891\\u08E2\\u180E\\u200B-\\u200D\\u2060-\\u2064\\uFEFF';
// The flags of England, Scotland and Wales, which are written in tag characters (UTS #51, the emoji tag sequences in use).
const flags =
  '\\u{1F3F4}\\u{E0067}\\u{E0062}(?:\\u{E0065}\\u{E006E}\\u{E0067}|\\u{E0073}\\u{E0063}\\u{E0074}|\\u{E0077}\\u{E006C}\\u{E0073})\\u{E007F}';

const nameRules = {
  'x-normalize': 'nfc-trim',
  minLength: 1,
  maxLength: 255,
  pattern: `^(?=[${unseen}]*[^${unseen}])(?:[^${refused}]|[${needed}]|${flags})*$`,
  'x-pattern-message':
    'must hold visible text, and no control, bidirectional, annotation or tag characters, line separators, noncharacters or lone surrogates',
  description: 'NFC-normalised and trimmed; 1 to 255 code points after that.',
};

const passwordRules = ({ passwordLengthMin: lengthMin }: FieldSettings) => ({
  'x-normalize': 'nfc',
  minLength: lengthMin,
  maxLength: passwordLengthMax,
  pattern: '^[^\\p{Cs}]*$',
  'x-pattern-message': 'must not hold lone surrogates',
  description: `NFC-normalised; ${lengthMin} to ${passwordLengthMax} code points. Never shown again.`,
});

const usernameRules = {
  ...nameRules,
  maxLength: 64,
  format: 'username',
  pattern: nameRules.pattern.replace('^', '^(?!.*\\s)'),
  'x-pattern-message': `${nameRules['x-pattern-message']}, and no white space`,
  description: 'Unique, whatever its case; one that looks like that of another user is taken too. NFC-normalised; at most 64 code points.',
};

const emailRules = {
  'x-normalize': 'nfc-trim',
  minLength: 3,
  maxLength: 254,
  format: 'idn-email',
  description: 'An e-mail address, of any script: unique, whatever its case. NFC-normalised; at most 254 bytes.',
};

const named = { isRequired: true, isNullable: false, isShown: true, writers: ['users:write', 'self'], column: 'text' } as const;
const optional = { isRequired: false, isNullable: true, isShown: true, column: 'text' } as const;

/** In the order of the columns. A new one needs a column of the same name in a migration, and nothing else. */
export const fields = {
  name: { ...named, rules: () => nameRules, example: 'John' },
  surname: { ...named, rules: () => nameRules, example: 'Doe' },
  password: { ...named, isShown: false, rules: passwordRules, example: 'correct horse battery' },
  email: { ...optional, rules: () => emailRules, example: 'john.doe@example.com', writers: ['users:write', 'self'] },
  username: { ...optional, rules: () => usernameRules, example: 'john.doe', writers: ['users:write', 'self'] },
  external_id: {
    ...optional,
    rules: () => ({
      ...nameRules,
      description: 'Id of the user in another system: unique, and compared as it stands. At most 255 code points.',
    }),
    example: '4f1c-90',
    writers: ['users:write'],
  },
  status: {
    ...optional,
    isNullable: false,
    byDefault: 'active',
    rules: () => ({ enum: [...statuses] }),
    example: 'active',
    writers: ['users:write'],
  },
  attributes: {
    ...optional,
    column: 'jsonb',
    isNullable: false,
    byDefault: {},
    rules: ({ attributesSchema }) => ({
      'x-bytes-max': attributesBytesMax,
      ...(attributesSchema !== undefined && {
        'x-json-schema': attributesSchema,
        // With an id, so that what it refers to is looked for within it.
        'x-documented': { 'x-json-schema': undefined, allOf: [{ $id: 'urn:rollcall:user-attributes', ...attributesSchema }] },
      }),
      additionalProperties: true,
      description: 'Whatever else is known of the user: a JSON object of at most 16 KiB. A new one replaces it as a whole.',
    }),
    example: { department: 'Sales' },
    writers: ['users:write'],
  },
  locale: {
    ...optional,
    rules: () => ({ 'x-normalize': 'locale', maxLength: 100, format: 'locale', description: 'Language tag (BCP 47).' }),
    example: 'de-CH',
    writers: ['users:write', 'self'],
  },
  time_zone: {
    ...optional,
    rules: () => ({ 'x-normalize': 'time-zone', maxLength: 100, format: 'time-zone', description: 'Name of the time zone (IANA).' }),
    example: 'Europe/Zurich',
    writers: ['users:write', 'self'],
  },
  email_verified_at: {
    ...optional,
    column: 'timestamptz',
    endsWith: 'email',
    rules: () => ({
      format: 'instant',
      'x-documented': { format: 'date-time' },
      description: 'When the user was found to read mail at `email`; null with each new `email`.',
    }),
    example: '2025-01-01T10:00:00.000000Z',
    writers: ['service', 'users:write'],
  },
} as const satisfies Readonly<Record<string, Field>>;

type Fields = typeof fields;
export type FieldName = keyof Fields;
type NameWith<Key extends 'isRequired' | 'isShown', Value> = {
  [Name in FieldName]: Fields[Name][Key] extends Value ? Name : never;
}[FieldName];
export type RequiredName = NameWith<'isRequired', true>;
export type OptionalName = NameWith<'isRequired', false>;
export type ShownName = NameWith<'isShown', true>;
type ColumnValue = { text: string; timestamptz: string; jsonb: Readonly<Record<string, unknown>> };
/** As callers send it, and answers show it. */
export type Value<Name extends FieldName> = ColumnValue[Fields[Name]['column']];
export type ShownValue<Name extends FieldName> = Fields[Name]['isNullable'] extends true ? Value<Name> | null : Value<Name>;

export const fieldOf = (name: FieldName): Field => fields[name];
export const fieldNames = Object.keys(fields) as readonly FieldName[];
export const requiredNames = fieldNames.filter((name) => fieldOf(name).isRequired) as readonly RequiredName[];
export const shownNames = fieldNames.filter((name) => fieldOf(name).isShown) as readonly ShownName[];
/** What callers send. */
export const writableNames = fieldNames.filter((name) => fieldOf(name).writers.some((writer) => writer !== 'service'));

/** A field as callers send it. */
export function sent(name: FieldName, settings: FieldSettings): TSchema {
  const { column, rules, example } = fieldOf(name);
  const given = rules(settings);
  return Type.Unsafe({ type: columnTypes[column], ...given, examples: [example] });
}

/** A field as answers and events show it. */
export function shown(name: ShownName): TSchema {
  const { column, isNullable, example, rules } = fieldOf(name);
  const { enum: values } = rules({ passwordLengthMin: passwordLengthMax }) as { enum?: readonly string[] };
  const of = {
    type: columnTypes[column],
    ...(values !== undefined && { enum: values }),
    ...(column === 'jsonb' && { additionalProperties: true }),
    ...(column === 'timestamptz' && { format: 'date-time' }),
    examples: [example],
  };
  return isNullable ? orNull(of) : Type.Unsafe(of);
}

// A type list, not a union of schemas: its errors then name the one rule that was broken.
export function orNull(schema: object): TSchema {
  const { type, enum: values } = schema as { type: string; enum?: readonly string[] };
  return Type.Unsafe({ ...schema, type: [type, 'null'], ...(values !== undefined && { enum: [...values, null] }) });
}
