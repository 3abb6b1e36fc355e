// Lists of users over HTTP.

import type { Db } from '../../platform/db/client.ts';
import { formatKeyCursor, notACursor, parseKeyCursor } from '../../platform/http/cursor.ts';
import { limitDefault, Page, PageQuery, perPageDefault } from '../../platform/http/paging.ts';
import { answer, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { problems } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import { listUsers, listUsersAfter } from './queries.ts';
import { exampleUser, fieldsParameter, type UserView, viewOf } from './schemas.ts';

const Users = Page('UserPage', 'users', reference<UserView>('UserView'));
const ListQuery = Type.Object({ ...PageQuery.properties, fields: fieldsParameter }, { additionalProperties: false });
/** In its cursors. */
const list = 'users';

export function addLists(app: App, db: Db): void {
  app.addSchema(Users);
  app.get(
    '/users/',
    {
      config: { access: 'anyone' },
      schema: {
        tags: ['users'],
        operationId: 'listUsers',
        summary: 'List users',
        description:
          'In order of the ids: a page by its number, or with `limit` and `after` from a cursor on, whose cost is the same wherever it is. A page after the last one is empty.',
        querystring: ListQuery,
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
      const show = viewOf(query.fields);
      if (query.limit === undefined && after === undefined && query.count === undefined) {
        const { users, total } = await listUsers(db, page, per_page);
        return reply.send({ users: users.map(show), total, page, per_page });
      }
      const { users, total, isLast } = await listUsersAfter(db, readCursor(after), limit, count === 'true');
      const last = users.at(-1);
      const next = isLast || last === undefined ? undefined : formatKeyCursor(list, String(last.id));
      if (next !== undefined) {
        const link = new URLSearchParams({
          ...(query.limit !== undefined && { limit: String(limit) }),
          ...(query.count !== undefined && { count }),
          ...(query.fields !== undefined && { fields: query.fields }),
          after: next,
        });
        reply.header('link', `</users/?${link}>; rel="next"`);
      }
      return reply.send({ users: users.map(show), ...(total !== undefined && { total }), ...(next !== undefined && { next }) });
    },
  );
}

/** @returns the id behind which the page begins */
function readCursor(text: string | undefined): string {
  const id = text === undefined ? '0' : parseKeyCursor(list, text);
  if (id !== undefined && /^(0|[1-9]\d{0,15})$/.test(id)) return id;
  throw notACursor('/users/', 'after', 'query');
}
