// The users over HTTP.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Db, Pool } from '../../platform/db/client.ts';
import { clientNetwork } from '../../platform/http/client-address.ts';
import { mediaTypes } from '../../platform/http/negotiation.ts';
import { patchTypes, readPatch } from '../../platform/http/patch.ts';
import { etagOf, versionsOf } from '../../platform/http/preconditions.ts';
import { answer, bodyRefusals, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { createCheck } from '../../platform/http/validation.ts';
import { Problem, problems } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import type { Caller } from '../../platform/runtime/turns.ts';
import { type CommandParts, createUser, deleteUser, updateUser, withoutNull } from './commands.ts';
import type { FieldSettings } from './fields.ts';
import { oneUser, sendUser } from './one-user.ts';
import { type Patch, patchUser } from './patch.ts';
import { problems as own } from './problems.ts';
import { createUserReader } from './queries.ts';
import {
  etagHeader,
  exampleUser,
  ifMatch,
  NewUser,
  User,
  UserChange,
  UserId,
  UserMember,
  UserOperations,
  UserPatch,
  UserView,
} from './schemas.ts';

export type UserRoutesParts = CommandParts & {
  readonly db: Pool;
  /** For reads of one row, which are many and short. */
  readonly reads: Db;
  readonly fieldSettings: FieldSettings;
  /** Whether a change without If-Match is refused. */
  readonly requireIfMatch: boolean;
  /** Called after each change that was committed. */
  readonly onChange: () => void;
};

const Deletion = Type.Object(
  { message: Type.String({ description: 'Says what was deleted.' }) },
  { $id: 'Deletion', additionalProperties: false },
);
const tags = ['users'];
const consumes = [...mediaTypes];
const aUser = reference<User>('User');
const config = { access: 'anyone' } as const;
/** Of a change of one user by a body. */
const changeRefusals = [
  ...bodyRefusals,
  problems.cross_site_request,
  own.version_mismatch,
  own.if_match_required,
  own.already_taken,
  own.user_not_found,
  problems.not_found,
  own.user_referenced,
  own.user_conflict,
  own.user_rejected,
  problems.database_unavailable,
  problems.overloaded,
];

export function addUsers(app: App, parts: UserRoutesParts): void {
  const { reads, fieldSettings, requireIfMatch, onChange } = parts;
  const readUser = createUserReader(reads);
  for (const schema of [
    User,
    UserView,
    UserMember,
    Deletion,
    NewUser(fieldSettings),
    UserChange(fieldSettings),
    UserPatch(fieldSettings),
    UserOperations,
  ])
    app.addSchema(schema);

  /** The versions that a change may find. @throws if_match_required */
  function allowed({ method, shownPath, headers }: { method: string; shownPath: string; headers: IncomingHttpHeaders }) {
    if (requireIfMatch && headers['if-match'] === undefined)
      throw new Problem(own.if_match_required, `${method} ${shownPath} needs If-Match with the ETag that was read.`);
    return versionsOf(headers['if-match']);
  }

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
            ...etagHeader,
          }),
          ...refusals(
            ...bodyRefusals,
            problems.cross_site_request,
            own.already_taken,
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
      return reply
        .code(201)
        .headers({ location: `/users/${user.id}`, etag: etagOf(user.version) })
        .send(user);
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
        ...oneUser,
      },
    },
    async ({ params: { id }, query, headers }, reply) => sendUser(reply, await readUser(id), query, headers),
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
        headers: ifMatch,
        consumes,
        body: reference<UserChange>('UserChange'),
        response: {
          200: answer('The user after the change.', aUser, exampleUser, etagHeader),
          ...refusals(...changeRefusals),
        },
      },
    },
    async (request, reply) => {
      const user = await updateUser(parts, request.params.id, withoutNull(request.body), allowed(request), callerOf(request));
      onChange();
      return reply.header('etag', etagOf(user.version)).send(user);
    },
  );

  const patchParts = { ...parts, check: createCheck(app, reference('UserPatch')) };
  app.patch(
    '/users/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'patchUser',
        summary: 'Patch a user',
        description:
          'A JSON Merge Patch or a JSON Patch of the user, all of it or nothing. Unlike with PUT, null takes a value away. What comes as `application/json` or MessagePack is a merge patch.',
        params: UserId,
        headers: ifMatch,
        documentedBody: {
          content: {
            ...Object.fromEntries([patchTypes.merge, ...consumes].map((type) => [type, { schema: reference('UserPatch') }])),
            [patchTypes.operations]: { schema: reference('UserOperations') },
          },
        },
        response: {
          200: answer('The user after the change.', aUser, exampleUser, etagHeader),
          ...refusals(problems.patch_conflict, ...changeRefusals),
        },
      },
    },
    async (request, reply) => {
      const { params, body, headers } = request;
      const isJsonPatch = headers['content-type']?.toLowerCase().startsWith(patchTypes.operations);
      const patch: Patch = isJsonPatch ? { kind: 'operations', operations: readPatch(body) } : { kind: 'merge', body };
      const user = await patchUser(patchParts, params.id, patch, allowed(request), callerOf(request));
      onChange();
      return reply.header('etag', etagOf(user.version)).send(user);
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
        headers: ifMatch,
        response: {
          200: answer('The user was deleted.', reference('Deletion'), { message: 'User with id 1 has been deleted' }),
          ...refusals(
            problems.cross_site_request,
            own.version_mismatch,
            own.if_match_required,
            own.user_not_found,
            problems.not_found,
            own.user_referenced,
            own.user_rejected,
            problems.database_unavailable,
          ),
        },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      await deleteUser(parts, id, allowed(request));
      onChange();
      return reply.send({ message: `User with id ${id} has been deleted` });
    },
  );
}

/** Whose turn it is when a password waits to be hashed. */
function callerOf({ ip, raw }: { ip: string; raw: IncomingMessage }): Caller {
  return { name: clientNetwork(ip), since: performance.now(), gone: () => raw.socket.destroyed };
}
