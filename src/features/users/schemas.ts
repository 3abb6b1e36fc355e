// What a user is, on the way in and on the way out. Type and schema are one value.
import { Timestamp } from '../../platform/events/contract/envelope.ts';
import { Type } from '../../platform/runtime/schema.ts';
import {
  type FieldName,
  type FieldSettings,
  fields,
  type OptionalName,
  orNull,
  type RequiredName,
  requiredNames,
  type ShownName,
  sent,
  shown,
  shownNames,
  writableNames,
} from './fields.ts';

/** Above it JSON numbers are not exact; the table has a check for the same bound. */
export const idMax = Number.MAX_SAFE_INTEGER;

const exampleOf = (names: readonly FieldName[]) => Object.fromEntries(names.map((name) => [name, fields[name].example]));

function eachOf<Name extends string, Part>(names: readonly Name[], make: (name: Name) => Part): Record<Name, Part> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<Name, Part>;
}

export function NewUser(settings: FieldSettings) {
  return Type.Object(
    eachOf(writableNames, (name) => {
      const field = sent(name, settings);
      return (requiredNames as readonly string[]).includes(name) ? field : Type.Optional(orNull(field));
    }),
    { $id: 'NewUser', additionalProperties: false, examples: [exampleOf(requiredNames)] },
  );
}
export type NewUser = { readonly [Name in RequiredName]: string } & { readonly [Name in OptionalName]?: string | null };

export function UserChange(settings: FieldSettings) {
  return Type.Object(
    eachOf(writableNames, (name) => Type.Optional(orNull(sent(name, settings)))),
    {
      $id: 'UserChange',
      additionalProperties: false,
      description: 'What is left out or null keeps its value.',
      examples: [{ surname: 'Roe' }],
    },
  );
}
export type UserChange = { readonly [Name in FieldName]?: string | null };

export const User = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: idMax, examples: [1] }),
    ...eachOf(shownNames, shown),
    created_at: Timestamp,
    updated_at: Timestamp,
  },
  { $id: 'User', additionalProperties: false },
);
export type User = { id: number; created_at: string; updated_at: string } & {
  [Name in ShownName]: Name extends OptionalName ? string | null : string;
};

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
  ...eachOf(shownNames, (name) => fields[name].example),
  created_at: '2025-01-01T10:00:00.000000Z',
  updated_at: '2025-01-01T10:00:00.000000Z',
};
