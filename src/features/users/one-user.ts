// The answer with one user that was read, whichever way it was asked for: narrowed by `fields`, or 304 where the caller has it.
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply } from 'fastify';
import { etagOf, isUnchanged } from '../../platform/http/preconditions.ts';
import { answer, reference, refusals } from '../../platform/http/responses.ts';
import { problems } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import { problems as own } from './problems.ts';
import { etagHeader, exampleUser, fieldsParameter, ifNoneMatch, type User, type UserView, viewOf } from './schemas.ts';

/** Of the schema of such a route, all but its path. */
export const oneUser = {
  querystring: Type.Object({ fields: fieldsParameter }, { additionalProperties: false }),
  headers: ifNoneMatch,
  response: {
    200: answer('The user.', reference<UserView>('UserView'), exampleUser, etagHeader),
    304: { type: 'null', description: 'The user has the version that `If-None-Match` names.', headers: etagHeader },
    ...refusals(own.user_not_found, problems.not_found, problems.database_unavailable),
  },
};

export function sendUser(reply: FastifyReply, user: User, { fields }: { readonly fields?: string }, headers: IncomingHttpHeaders) {
  reply.header('etag', etagOf(user.version));
  if (isUnchanged(headers['if-none-match'], user.version)) return reply.code(304).send(null);
  return reply.send(viewOf(fields)(user));
}
