// What a user is, on the way in and on the way out. Type and schema are one value.
import { type Static, Type } from 'typebox';
import { Timestamp } from '../events/envelope.ts';

/** Above it JSON numbers are not exact; the table has a check for the same bound. */
export const idMax = Number.MAX_SAFE_INTEGER;
/** Code points. */
export const passwordLengthMax = 128;

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

const passwordRules = (lengthMin: number) => ({
  'x-normalize': 'nfc',
  minLength: lengthMin,
  maxLength: passwordLengthMax,
  pattern: '^[^\\p{Cs}]*$',
  'x-pattern-message': 'must not hold lone surrogates',
  description: `NFC-normalised; ${lengthMin} to ${passwordLengthMax} code points. Never shown again.`,
});

const examples = { name: ['John'], surname: ['Doe'], password: ['correct horse battery'] };

/** @param passwordLengthMin code points, from the settings */
export function NewUser(passwordLengthMin: number) {
  return Type.Object(
    {
      name: Type.String({ ...nameRules, examples: examples.name }),
      surname: Type.String({ ...nameRules, examples: examples.surname }),
      password: Type.String({ ...passwordRules(passwordLengthMin), examples: examples.password }),
    },
    {
      $id: 'NewUser',
      additionalProperties: false,
      examples: [{ name: 'John', surname: 'Doe', password: 'correct horse battery' }],
    },
  );
}
export type NewUser = Static<ReturnType<typeof NewUser>>;

// A type list, not a union of schemas: its errors then name the one rule that was broken.
const orNull = (rules: object, example: string[]) =>
  Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], ...rules, examples: example }));

/** @param passwordLengthMin code points, from the settings */
export function UserChange(passwordLengthMin: number) {
  return Type.Object(
    {
      name: orNull(nameRules, examples.name),
      surname: orNull(nameRules, examples.surname),
      password: orNull(passwordRules(passwordLengthMin), examples.password),
    },
    {
      $id: 'UserChange',
      additionalProperties: false,
      description: 'What is left out or null keeps its value.',
      examples: [{ surname: 'Roe' }],
    },
  );
}
export type UserChange = Static<ReturnType<typeof UserChange>>;

export const User = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: idMax, examples: [1] }),
    name: Type.String({ examples: examples.name }),
    surname: Type.String({ examples: examples.surname }),
    created_at: Timestamp,
    updated_at: Timestamp,
  },
  { $id: 'User', additionalProperties: false },
);
export type User = Static<typeof User>;

export const UserId = Type.Object({
  id: Type.String({
    pattern: '^[1-9][0-9]{0,15}$',
    'x-documented': { type: 'integer', format: 'int64', minimum: 1, maximum: idMax },
    description: `Id of a user: 1 to ${idMax}, in decimal. Anything else names nobody: 404.`,
    examples: ['1'],
  }),
});

export const exampleUser: User = {
  id: 1,
  name: 'John',
  surname: 'Doe',
  created_at: '2025-01-01T10:00:00.000000Z',
  updated_at: '2025-01-01T10:00:00.000000Z',
};
