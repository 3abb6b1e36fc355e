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
  type ShownValue,
  sent,
  shown,
  shownNames,
  type Value,
  writableNames,
} from './fields.ts';

/** Above it JSON numbers are not exact; the table has a check for the same bound. */
export const idMax = Number.MAX_SAFE_INTEGER;

/** Of a new user that brings more than it must. */
const exampleNames = [...requiredNames, 'email', 'username', 'attributes'] as const;
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
    { $id: 'NewUser', additionalProperties: false, examples: [exampleOf(requiredNames), exampleOf(exampleNames)] },
  );
}
export type NewUser = { readonly [Name in RequiredName]: Value<Name> } & { readonly [Name in OptionalName]?: Value<Name> | null };

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
export type UserChange = { readonly [Name in FieldName]?: Value<Name> | null };

/** What a patch may make of the fields. */
export function UserPatch(settings: FieldSettings) {
  return Type.Object(
    eachOf(writableNames, (name) =>
      Type.Optional((requiredNames as readonly string[]).includes(name) ? sent(name, settings) : orNull(sent(name, settings))),
    ),
    {
      $id: 'UserPatch',
      additionalProperties: false,
      description: 'JSON Merge Patch (RFC 7396): null takes a value away, and members of `attributes` are merged.',
      examples: [{ email: null, attributes: { department: 'Sales' } }],
    },
  );
}

/** JSON Patch. */
export const UserOperations = Type.Array(
  Type.Object(
    {
      op: Type.Enum(['add', 'remove', 'replace', 'move', 'copy', 'test']),
      path: Type.String({ description: 'JSON Pointer (RFC 6901).', examples: ['/attributes/department'] }),
      // Left alone where the operation has none of it (RFC 6902, section 4).
      from: Type.Optional(Type.Unknown({ description: 'JSON Pointer, of `move` and `copy`.' })),
      value: Type.Optional(Type.Unknown({ description: 'Of `add`, `replace` and `test`.' })),
    },
    { additionalProperties: true },
  ),
  {
    $id: 'UserOperations',
    description: 'JSON Patch (RFC 6902) of the user as `GET /users/{id}` shows it; a password may be added.',
    examples: [
      [
        { op: 'test', path: '/version', value: 1 },
        { op: 'remove', path: '/email' },
      ],
    ],
  },
);

const properties = {
  id: Type.Integer({ minimum: 1, maximum: idMax, examples: [1] }),
  ...eachOf(shownNames, shown),
  version: Type.Integer({ minimum: 1, maximum: idMax, description: 'Counts the changes: 1 for a new user.', examples: [1] }),
  created_at: Timestamp,
  updated_at: Timestamp,
};
const lastLogin = Type.Unsafe({
  ...Timestamp,
  type: ['string', 'null'],
  description: 'The last sign-in: no change of the user, and so in no version and no event.',
});

/** What events and snapshots carry: everything that its version stands for. */
export const UserState = Type.Object(properties, { additionalProperties: false });
export type UserState = { id: number; version: number; created_at: string; updated_at: string } & {
  [Name in ShownName]: ShownValue<Name>;
};

export const User = Type.Object({ ...properties, last_login_at: lastLogin }, { $id: 'User', additionalProperties: false });
export type User = UserState & { last_login_at: string | null };

/** What `fields` may name. */
export const memberNames = Object.keys(User.properties) as readonly (keyof User)[];

export const UserView = Type.Object(
  eachOf(memberNames, (name) => (name === 'id' ? properties.id : Type.Optional(User.properties[name]))),
  {
    $id: 'UserView',
    additionalProperties: false,
    description: 'A user: all of these members, or with `fields` the id and those that it names.',
  },
);
export type UserView = Pick<User, 'id'> & Partial<User>;

export const UserMember = Type.Enum([...memberNames], { $id: 'UserMember', description: 'A member of a user.' });

const anyMember = `(${memberNames.join('|')})`;
export const fieldsParameter = Type.Optional(
  Type.String({
    pattern: `^${anyMember}(,${anyMember}){0,${memberNames.length - 1}}$`,
    'x-pattern-message': `must be names by comma, at most ${memberNames.length}, of ${memberNames.join(', ')}`,
    'x-documented': { type: 'array', items: { $ref: '#/components/schemas/UserMember' }, minItems: 1, maxItems: memberNames.length },
    description: 'The members of a user that the answer is to have, by comma; the id is always there. Left out: all.',
    examples: ['name,email'],
  }),
);

/** Of a user, the members that `fields` names. */
export function viewOf(fields: string | undefined): (user: User) => UserView {
  if (fields === undefined) return (user) => user;
  const names = new Set(['id', ...fields.split(',')]);
  return (user) => Object.fromEntries(Object.entries(user).filter(([name]) => names.has(name))) as UserView;
}

export const etagHeader = {
  etag: { type: 'string', description: 'The version of the user in quotes, for `If-Match` and `If-None-Match`.' },
};
const conditional = (name: string, description: string) =>
  Type.Object({ [name]: Type.Optional(Type.String({ description, examples: ['"1"'] })) });
export const ifMatch = conditional('if-match', 'Entity tags, one of which the user must have, or `*`: otherwise 412.');
export const ifNoneMatch = conditional('if-none-match', 'Entity tags: where the user has one of them, the answer is 304.');

export const UserId = Type.Object({
  id: Type.String({
    pattern: '^[1-9][0-9]{0,15}$',
    'x-documented': { type: 'integer', format: 'int64', minimum: 1, maximum: idMax },
    description: `Id of a user: 1 to ${idMax}, in decimal. Anything else names nobody: 404.`,
    examples: ['1'],
  }),
});

export const exampleState: UserState = {
  id: 1,
  ...(eachOf(shownNames, (name) => fields[name].example) as Pick<UserState, ShownName>),
  version: 1,
  created_at: '2025-01-01T10:00:00.000000Z',
  updated_at: '2025-01-01T10:00:00.000000Z',
};
export const exampleUser: User = { ...exampleState, last_login_at: null };
