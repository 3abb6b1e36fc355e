// Users by what names them, over HTTP: one by an identifier in the path, many by ids and identifiers in a body.

import type { Db } from '../../platform/db/client.ts';
import { mediaTypes } from '../../platform/http/negotiation.ts';
import { answer, bodyRefusals, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { Problem, problems } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import { type IdentifierKind, identifiers } from './identifiers.ts';
import { oneUser, sendUser } from './one-user.ts';
import { problems as own } from './problems.ts';
import { findUserBy, findUsers } from './queries.ts';
import { exampleUser, fieldsParameter, idMax, type UserView, viewOf } from './schemas.ts';

/** Of one lookup, over all its lists. */
const wantedMax = 1000;
const bodyBytesMax = 512 * 1024;

const ways = {
  email: { path: 'by-email', operationId: 'getUserByEmail', words: 'email', example: 'john.doe@example.com' },
  username: { path: 'by-username', operationId: 'getUserByUsername', words: 'username', example: 'john.doe' },
  external_id: { path: 'by-external-id', operationId: 'getUserByExternalId', words: 'external id', example: '4f1c-90' },
} as const;

const listOf = (items: object, description: string) => Type.Optional(Type.Array(Type.Unsafe(items), { maxItems: wantedMax, description }));
const text = { type: 'string', minLength: 1, maxLength: 320 };

const UserLookup = Type.Object(
  {
    ids: listOf({ type: 'integer', minimum: 1, maximum: idMax }, 'Ids.'),
    emails: listOf(text, 'Emails, in any spelling.'),
    usernames: listOf(text, 'Usernames, in any spelling.'),
    external_ids: listOf(text, 'External ids.'),
  },
  {
    $id: 'UserLookup',
    additionalProperties: false,
    minProperties: 1,
    description: `At most ${wantedMax} in all lists together.`,
    examples: [{ ids: [1, 2], emails: ['john.doe@example.com'] }],
  },
);
type UserLookup = {
  readonly ids?: readonly number[];
  readonly emails?: readonly string[];
  readonly usernames?: readonly string[];
  readonly external_ids?: readonly string[];
};
const kindOf = { emails: 'email', usernames: 'username', external_ids: 'external_id' } as const;

const FoundUsers = Type.Object(
  { users: Type.Array(reference<UserView>('UserView'), { description: 'Those that there are, each once, in order of id.' }) },
  { $id: 'FoundUsers', additionalProperties: false },
);

/** As it would be read for the field; undefined for what nobody can have, since PostgreSQL holds no U+0000. */
function keyOf(kind: IdentifierKind, value: string): string | undefined {
  return value.includes('\0') ? undefined : identifiers[kind].keyOf(value.normalize('NFC').trim());
}

export function addLookups(app: App, db: Db): void {
  app.addSchema(UserLookup);
  app.addSchema(FoundUsers);
  for (const [kind, { path, operationId, words, example }] of Object.entries(ways) as [keyof typeof ways, (typeof ways)['email']][]) {
    app.get(
      `/users/${path}/:${kind}`,
      {
        config: { access: 'anyone', isPersonal: true },
        schema: {
          tags: ['users'],
          operationId,
          summary: `Read a user by ${words}`,
          description: `The user who has the ${words}, in whatever spelling. Logs and problems show this path without it.`,
          params: Type.Object({
            [kind]: Type.String({ minLength: 1, maxLength: 500, description: `The ${words}.`, examples: [example] }),
          }),
          ...oneUser,
        },
      },
      async ({ params, query, headers }, reply) => {
        const key = keyOf(kind, (params as Record<string, string>)[kind] ?? '');
        const user = key === undefined ? undefined : await findUserBy(db, kind, key);
        if (user === undefined) throw new Problem(own.user_not_found, `No user has this ${words}.`);
        return sendUser(reply, user, query, headers);
      },
    );
  }

  app.post(
    '/users/lookup',
    {
      config: { access: 'anyone' },
      bodyLimit: bodyBytesMax,
      schema: {
        tags: ['users'],
        operationId: 'lookUpUsers',
        summary: 'Find many users',
        description: `The users of up to ${wantedMax} ids, emails, usernames and external ids. Whom nobody finds is left out.`,
        consumes: [...mediaTypes],
        querystring: Type.Object({ fields: fieldsParameter }, { additionalProperties: false }),
        body: reference<UserLookup>('UserLookup'),
        response: {
          200: answer('The users that were found.', reference('FoundUsers'), { users: [exampleUser] }),
          ...refusals(...bodyRefusals, problems.cross_site_request, problems.database_unavailable),
        },
      },
    },
    async ({ body, query }, reply) => {
      const { ids = [], ...lists } = body;
      const wanted = ids.length + Object.values(lists).flat().length;
      if (wanted > wantedMax) {
        const message = `must have at most ${wantedMax} entries in all lists`;
        throw new Problem(problems.validation_failed, 'Validation failed for POST /users/lookup', {
          violations: [{ key: '', message, source: 'body' }],
        });
      }
      const names = Object.entries(lists).flatMap(([list, values]) => {
        const kind = kindOf[list as keyof typeof kindOf];
        return values.flatMap((value) => keyOf(kind, value) ?? []).map((key) => [kind, key] as const);
      });
      const users = await findUsers(db, ids, names);
      return reply.send({ users: users.map(viewOf(query.fields)) });
    },
  );
}
