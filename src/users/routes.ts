// The users over HTTP.
import type { IncomingMessage } from 'node:http';
import { Type } from 'typebox';
import type { Db, Pool } from '../db/client.ts';
import { clientNetwork } from '../http/client-address.ts';
import { mediaTypes } from '../http/negotiation.ts';
import { Page, PageQuery, perPageDefault } from '../http/paging.ts';
import { answer, bodyRefusals, reference, refusals } from '../http/responses.ts';
import type { App } from '../http/server.ts';
import type { Caller } from '../runtime/turns.ts';
import { type CommandParts, createUser, deleteUser, updateUser } from './commands.ts';
import { createUserReader, listUsers } from './queries.ts';
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
const Deleted = Type.Object({ message: Type.String() }, { additionalProperties: false });
const tags = ['users'];
const consumes = [...mediaTypes];
const aUser = reference<User>('User');
const config = { access: 'anyone' } as const;

export function addUsers(app: App, parts: UserRoutesParts): void {
  const { db, reads, passwordLengthMin, onChange } = parts;
  const readUser = createUserReader(reads);
  for (const schema of [User, Users, NewUser(passwordLengthMin), UserChange(passwordLengthMin)]) app.addSchema(schema);

  app.post(
    '/users/',
    {
      config,
      schema: {
        tags,
        operationId: 'createUser',
        summary: 'Create a user',
        consumes,
        body: reference<NewUser>('NewUser'),
        response: {
          201: answer('The user was created.', aUser, exampleUser, {
            location: { type: 'string', description: 'Path of the user.' },
          }),
          ...refusals(...bodyRefusals, 'cross_site_request', 'user_conflict', 'user_rejected', 'database_unavailable', 'overloaded'),
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
        summary: 'List the users, in order of their ids',
        querystring: PageQuery,
        response: {
          200: answer('A page of users.', reference('UserPage'), { users: [exampleUser], total: 1, page: 1, per_page: 10 }),
          ...refusals('database_unavailable'),
        },
      },
    },
    async ({ query: { page = 1, per_page = perPageDefault } }, reply) =>
      reply.send({ ...(await listUsers(db, page, per_page)), page, per_page }),
  );

  app.get(
    '/users/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'getUser',
        summary: 'Read a user',
        params: UserId,
        response: { 200: answer('The user.', aUser, exampleUser), ...refusals('user_not_found', 'not_found', 'database_unavailable') },
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
        summary: 'Change a user',
        description:
          'Fields that are left out or null keep their value. A change that changes nothing writes nothing and announces nothing.',
        params: UserId,
        consumes,
        body: reference<UserChange>('UserChange'),
        response: {
          200: answer('The user after the change.', aUser, exampleUser),
          ...refusals(
            ...bodyRefusals,
            'cross_site_request',
            'user_not_found',
            'not_found',
            'user_referenced',
            'user_conflict',
            'user_rejected',
            'database_unavailable',
            'overloaded',
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
        params: UserId,
        response: {
          200: answer('The user was deleted.', Deleted, { message: 'User with id 1 has been deleted' }),
          ...refusals('cross_site_request', 'user_not_found', 'not_found', 'user_referenced', 'user_rejected', 'database_unavailable'),
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

/** Whose turn it is when a password waits to be hashed. */
function callerOf({ ip, raw }: { ip: string; raw: IncomingMessage }): Caller {
  return { name: clientNetwork(ip), since: performance.now(), gone: () => raw.socket.destroyed };
}
