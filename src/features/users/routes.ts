// The users over HTTP.

import type { IncomingMessage } from 'node:http';
import type { Db, Pool } from '../../platform/db/client.ts';
import { clientNetwork } from '../../platform/http/client-address.ts';
import { formatKeyCursor, notACursor, parseKeyCursor } from '../../platform/http/cursor.ts';
import { mediaTypes } from '../../platform/http/negotiation.ts';
import { limitDefault, Page, PageQuery, perPageDefault } from '../../platform/http/paging.ts';
import { answer, bodyRefusals, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { problems } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import type { Caller } from '../../platform/runtime/turns.ts';
import { type CommandParts, createUser, deleteUser, updateUser } from './commands.ts';
import { problems as own } from './problems.ts';
import { createUserReader, listUsers, listUsersAfter } from './queries.ts';
import { exampleUser, NewUser, User, UserChange, UserId } from './schemas.ts';

export type UserRoutesParts = CommandParts & {
  readonly db: Pool;
  /** For reads of one row, which are many and short. */
  readonly reads: Db;
  readonly passwordLengthMin: number;
  /** Called after each change that was committed. */
  readonly onChange: () => void;
};

const Users = Page('UserPage', 'users', reference<User>('User'));
const Deletion = Type.Object(
  { message: Type.String({ description: 'Says what was deleted.' }) },
  { $id: 'Deletion', additionalProperties: false },
);
const tags = ['users'];
/** In its cursors. */
const list = 'users';
const consumes = [...mediaTypes];
const aUser = reference<User>('User');
const config = { access: 'anyone' } as const;

export function addUsers(app: App, parts: UserRoutesParts): void {
  const { db, reads, passwordLengthMin, onChange } = parts;
  const settings = { passwordLengthMin };
  const readUser = createUserReader(reads);
  for (const schema of [User, Users, Deletion, NewUser(settings), UserChange(settings)]) app.addSchema(schema);

  app.post(
    '/users/',
    {
      config,
      schema: {
        tags,
        operationId: 'createUser',
        summary: 'Create a user',
        description: 'The password is hashed with argon2id and never shown again. The event `user.created` is committed with the user.',
        consumes,
        body: reference<NewUser>('NewUser'),
        response: {
          201: answer('The user was created.', aUser, exampleUser, {
            location: { type: 'string', description: 'Path of the user.' },
          }),
          ...refusals(
            ...bodyRefusals,
            problems.cross_site_request,
            own.user_conflict,
            own.user_rejected,
            problems.database_unavailable,
            problems.overloaded,
          ),
        },
      },
    },
    async (request, reply) => {
      const user = await createUser(parts, request.body, callerOf(request));
      onChange();
      return reply.code(201).header('location', `/users/${user.id}`).send(user);
    },
  );

  app.get(
    '/users/',
    {
      config,
      schema: {
        tags,
        operationId: 'listUsers',
        summary: 'List users',
        description:
          'In order of the ids: a page by its number, or with `limit` and `after` from a cursor on, whose cost is the same wherever it is. A page after the last one is empty.',
        querystring: PageQuery,
        response: {
          200: answer(
            'A page of users.',
            reference('UserPage'),
            { users: [exampleUser], total: 1, page: 1, per_page: 10 },
            {
              link: {
                type: 'string',
                'x-optional': true,
                description: 'The next page, with `rel="next"`; of pages from `after` on, but not of the last one.',
              },
            },
          ),
          ...refusals(problems.database_unavailable),
        },
      },
    },
    async ({ query }, reply) => {
      const { page = 1, per_page = perPageDefault, limit = limitDefault, after, count = 'false' } = query;
      if (query.limit === undefined && after === undefined && query.count === undefined)
        return reply.send({ ...(await listUsers(db, page, per_page)), page, per_page });
      const { users, total, isLast } = await listUsersAfter(db, readCursor(after), limit, count === 'true');
      const last = users.at(-1);
      const next = isLast || last === undefined ? undefined : formatKeyCursor(list, String(last.id));
      if (next !== undefined) {
        const link = new URLSearchParams({
          ...(query.limit !== undefined && { limit: String(limit) }),
          ...(query.count !== undefined && { count }),
          after: next,
        });
        reply.header('link', `</users/?${link}>; rel="next"`);
      }
      return reply.send({ users, ...(total !== undefined && { total }), ...(next !== undefined && { next }) });
    },
  );

  app.get(
    '/users/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'getUser',
        summary: 'Read a user',
        description: 'The user as it stands now, without its password. An id that nobody has is 404.',
        params: UserId,
        response: {
          200: answer('The user.', aUser, exampleUser),
          ...refusals(own.user_not_found, problems.not_found, problems.database_unavailable),
        },
      },
    },
    async ({ params: { id } }, reply) => reply.send(await readUser(id)),
  );

  app.put(
    '/users/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'updateUser',
        summary: 'Update a user',
        description:
          'Fields that are left out or null keep their value. The event `user.updated` is committed with the change; a change that changes nothing writes nothing and publishes nothing.',
        params: UserId,
        consumes,
        body: reference<UserChange>('UserChange'),
        response: {
          200: answer('The user after the change.', aUser, exampleUser),
          ...refusals(
            ...bodyRefusals,
            problems.cross_site_request,
            own.user_not_found,
            problems.not_found,
            own.user_referenced,
            own.user_conflict,
            own.user_rejected,
            problems.database_unavailable,
            problems.overloaded,
          ),
        },
      },
    },
    async (request, reply) => {
      const user = await updateUser(parts, request.params.id, request.body, callerOf(request));
      onChange();
      return reply.send(user);
    },
  );

  app.delete(
    '/users/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'deleteUser',
        summary: 'Delete a user',
        description: 'The user is gone for good; the event `user.deleted` is committed with the deletion.',
        params: UserId,
        response: {
          200: answer('The user was deleted.', reference('Deletion'), { message: 'User with id 1 has been deleted' }),
          ...refusals(
            problems.cross_site_request,
            own.user_not_found,
            problems.not_found,
            own.user_referenced,
            own.user_rejected,
            problems.database_unavailable,
          ),
        },
      },
    },
    async ({ params: { id } }, reply) => {
      await deleteUser(parts, id);
      onChange();
      return reply.send({ message: `User with id ${id} has been deleted` });
    },
  );
}

/** @returns the id behind which the page begins */
function readCursor(text: string | undefined): string {
  const id = text === undefined ? '0' : parseKeyCursor(list, text);
  if (id !== undefined && /^(0|[1-9]\d{0,15})$/.test(id)) return id;
  throw notACursor('/users/', 'after', 'query');
}

/** Whose turn it is when a password waits to be hashed. */
function callerOf({ ip, raw }: { ip: string; raw: IncomingMessage }): Caller {
  return { name: clientNetwork(ip), since: performance.now(), gone: () => raw.socket.destroyed };
}
