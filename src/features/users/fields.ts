// The fields of a user that are written: columns, statements, schemas, what events carry and `changed` follow from this list.
import type { TString } from 'typebox';
import { Type } from '../../platform/runtime/schema.ts';

/** Code points. */
export const passwordLengthMax = 128;

export type FieldSettings = {
  /** Code points. */
  readonly passwordLengthMin: number;
};

/** Who may write a field: the service by itself, a caller with the right to write users, or the user. */
type Writer = 'service' | 'users:write' | 'self';

type Field = {
  /** What a text must be, as JSON Schema with `x-normalize` and `x-pattern-message`. */
  readonly rules: (settings: FieldSettings) => Readonly<Record<string, unknown>>;
  readonly example: string;
  /** Whether every user has it; the column of another one may be null. */
  readonly isRequired: boolean;
  /** Whether answers and events show it. */
  readonly isShown: boolean;
  readonly writers: readonly Writer[];
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

/** In the order of the columns. A new one needs a column of the same name in a migration, and nothing else. */
export const fields = {
  name: { rules: () => nameRules, example: 'John', isRequired: true, isShown: true, writers: ['users:write', 'self'] },
  surname: { rules: () => nameRules, example: 'Doe', isRequired: true, isShown: true, writers: ['users:write', 'self'] },
  password: {
    rules: passwordRules,
    example: 'correct horse battery',
    isRequired: true,
    isShown: false,
    writers: ['users:write', 'self'],
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

const all: Readonly<Record<FieldName, Field>> = fields;
export const fieldNames = Object.keys(fields) as readonly FieldName[];
export const requiredNames = fieldNames.filter((name) => all[name].isRequired) as readonly RequiredName[];
export const shownNames = fieldNames.filter((name) => all[name].isShown) as readonly ShownName[];
/** What callers send. */
export const writableNames = fieldNames.filter((name) => all[name].writers.some((writer) => writer !== 'service'));

/** A field as callers send it. */
export function sent(name: FieldName, settings: FieldSettings): TString {
  return Type.String({ ...all[name].rules(settings), examples: [all[name].example] });
}

/** A field as answers and events show it. */
export function shown(name: ShownName): TString {
  const { isRequired, example } = all[name];
  return isRequired ? Type.String({ examples: [example] }) : orNull({ examples: [example] });
}

// A type list, not a union of schemas: its errors then name the one rule that was broken.
export function orNull(rules: object): TString {
  return Type.Unsafe<string | null>({ ...rules, type: ['string', 'null'] }) as unknown as TString;
}
