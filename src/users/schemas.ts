// What a user is, on the way in and on the way out. Type and schema are one value.
import { type Static, Type } from 'typebox';
import { Timestamp } from '../events/envelope.ts';

/** Above it JSON numbers are not exact; the table has a check for the same bound. */
export const idMax = Number.MAX_SAFE_INTEGER;
/** Code points. */
export const passwordLengthMax = 128;

const nameRules = {
  'x-normalize': 'nfc-trim',
  minLength: 1,
  maxLength: 255,
  // Something that can be seen, and no control characters, lone surrogates or bidirectional controls (Unicode UAX #9).
  pattern: '^(?=\\s*\\S)[^\\p{Cc}\\p{Cs}\\u061C\\u200E\\u200F\\u202A-\\u202E\\u2066-\\u2069]*$',
  'x-pattern-message': 'must hold visible text, and no control characters, lone surrogates or bidirectional controls',
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
