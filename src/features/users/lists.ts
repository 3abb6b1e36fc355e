// Lists of users over HTTP: pages by number, or from a cursor on, in any order and with any filter that has an index.

import { crc32 } from 'node:zlib';
import type { TSchema } from 'typebox';
import type { Db } from '../../platform/db/client.ts';
import { formatKeyCursor, notACursor, parseKeyCursor } from '../../platform/http/cursor.ts';
import { limitDefault, Page, PageQuery, perPageDefault } from '../../platform/http/paging.ts';
import { answer, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { Problem, problems } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import { attributeParameters, isFiltered, type List, type ListQuery, listParameters, readList } from './list-language.ts';
import { countedMax, isKeyOf, type ListPage, readListPage, totalOf } from './list-statements.ts';
import { problems as own } from './problems.ts';
import { findOwners, findUsersInOrder, listUsers, listUsersAfter } from './queries.ts';
import { exampleUser, fieldsParameter, type UserView, viewOf } from './schemas.ts';
import { countMatches, findMatches } from './search.ts';

const Users = Page('UserPage', 'users', reference<UserView>('UserView'), {
  total_at_least: Type.Optional(
    Type.Integer({
      minimum: countedMax,
      description: `In place of \`total\`, where more than ${countedMax} entries fit the filters of the list.`,
    }),
  ),
});

/** Rows that pages by number reach, where there is a sort or a filter. */
const numberedMax = 10_000;

type Query = ListQuery & {
  readonly page?: number;
  readonly per_page?: number;
  readonly limit?: number;
  readonly after?: string;
  readonly count?: 'true' | 'false';
  readonly fields?: string;
};
/** Whether there is a further page, and where it begins. */
type Slice = Omit<ListPage, 'next'> & { readonly cursor: string | undefined };

export function addLists(app: App, db: Db, indexed: readonly string[]): void {
  app.addSchema(Users);
  const properties: Record<string, TSchema> = {
    ...PageQuery.properties,
    ...listParameters,
    ...attributeParameters(indexed),
    fields: fieldsParameter,
  };
  app.get(
    '/users/',
    {
      config: { access: 'anyone' },
      schema: {
        tags: ['users'],
        operationId: 'listUsers',
        summary: 'List users',
        description:
          'A page by its number, or with `limit` and `after` from a cursor on, whose cost is the same wherever it is. Filters combine: `ids`, `email`, `username` and `external_id` with everything; `status` with every other filter and sort; the times with the sort of their own column; `q` and attributes with the sort by id. What no index serves is 400, and says what would do. A page after the last one is empty.',
        // Attributes without an index are refused with the names of those that have one.
        querystring: Type.Object(properties, { additionalProperties: false, patternProperties: { '^attributes\\.': { type: 'string' } } }),
        response: {
          200: answer(
            'A page of users.',
            reference('UserPage'),
            { users: [exampleUser], total: 1, page: 1, per_page: 10 },
            {
              link: {
                type: 'string',
                'x-optional': true,
                description:
                  'The next page, with `rel="next"`; of pages from `after` on and with a sort or filter, but not of the last one.',
              },
            },
          ),
          ...refusals(own.unsupported_query, problems.database_unavailable),
        },
      },
    },
    async (request, reply) => {
      const query = request.query as Query;
      const list = readList(query, indexed);
      const { page = 1, per_page = perPageDefault, count } = query;
      const isNumbered = query.page !== undefined || query.per_page !== undefined || Object.keys(query).every((name) => name === 'fields');
      const isPlain = !isFiltered(list) && list.sort?.by === 'id' && !list.sort.isDescending;
      const show = viewOf(query.fields);
      if (isNumbered && isPlain) {
        const { users, total } = await listUsers(db, page, per_page);
        return reply.send({ users: users.map(show), total, page, per_page });
      }
      const limit = isNumbered ? per_page : (query.limit ?? limitDefault);
      const offset = isNumbered ? (page - 1) * per_page : 0;
      if (isNumbered && offset + limit > numberedMax) throw beyondNumbers();
      const isCounted = count === 'true' || (isNumbered && !isFiltered(list));
      const { users, total, cursor } = isPlain
        ? await readPlain(db, query.after, limit, isCounted)
        : await (list.q !== undefined && list.exact === undefined ? search : read)(db, list, {
            after: query.after,
            offset,
            limit,
            isCounted,
          });
      if (cursor !== undefined) reply.header('link', `</users/?${linkOf(query, limit, cursor)}>; rel="next"`);
      return reply.send({
        users: users.map(show),
        ...total,
        ...(isNumbered && { page, per_page }),
        ...(cursor !== undefined && { next: cursor }),
      });
    },
  );
}

function beyondNumbers(): Problem {
  const message = `reaches row ${numberedMax} with a sort or filter; go on with limit and after, the next of a page before`;
  const violations = [{ key: 'page', message, source: 'query' as const }];
  return new Problem(own.unsupported_query, `No index serves this list: page ${message}.`, { violations });
}

function linkOf({ page: _page, per_page, limit: given, after: _after, ...others }: Query, limit: number, cursor: string): URLSearchParams {
  const pairs = Object.entries(others).filter((pair): pair is [string, string] => typeof pair[1] === 'string');
  const isGiven = given !== undefined || per_page !== undefined || limit !== limitDefault;
  return new URLSearchParams([...(isGiven ? [['limit', String(limit)]] : []), ...pairs, ['after', cursor]] as [string, string][]);
}

type Wish = { readonly after: string | undefined; readonly offset: number; readonly limit: number; readonly isCounted: boolean };

async function readPlain(db: Db, after: string | undefined, limit: number, isCounted: boolean): Promise<Slice> {
  const id = after === undefined ? '0' : parseKeyCursor('users', after);
  if (id === undefined || !/^(0|[1-9]\d{0,15})$/.test(id)) throw notACursor('/users/', 'after', 'query');
  const { users, total, isLast } = await listUsersAfter(db, id, limit, isCounted);
  const last = users.at(-1);
  return {
    users,
    total: total === undefined ? undefined : { total },
    cursor: isLast || last === undefined ? undefined : formatKeyCursor('users', String(last.id)),
  };
}

/** Names the order in a cursor, so that none of another is taken. */
const orderName = ({ sort, q }: List) =>
  `users${sort === undefined ? '' : `-${sort.isDescending ? '-' : ''}${sort.by}`}${q === undefined ? '' : `-${crc32(q).toString(36)}`}`;

async function read(db: Db, list: List, { after, ...wish }: Wish): Promise<Slice> {
  const ids = list.exact === undefined ? undefined : await idsOf(db, list.exact);
  const name = orderName(list);
  const { next, ...page } = await readListPage(db, list, ids, {
    ...wish,
    keys: after === undefined ? undefined : readKeys(list, name, after),
  });
  return { ...page, cursor: next === undefined ? undefined : formatKeyCursor(name, JSON.stringify(next)) };
}

/** @throws validation_failed for a cursor of something else */
function readKeys(list: List, name: string, after: string): readonly string[] {
  const text = parseKeyCursor(name, after);
  const keys: unknown = text === undefined ? undefined : parse(text);
  if (!Array.isArray(keys) || !isKeyOf(list, keys)) throw notACursor('/users/', 'after', 'query');
  return keys;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Those whom everything that names a user names. */
async function idsOf(db: Db, { ids, keys }: NonNullable<List['exact']>): Promise<readonly string[]> {
  const owners = keys.length === 0 ? [] : await findOwners(db, keys);
  if (keys.length === 0) return ids ?? [];
  const [first] = owners;
  const isOne = owners.length === keys.length && owners.every((id) => id === first);
  return isOne && first !== undefined && (ids === undefined || ids.includes(first)) ? [first] : [];
}

async function search(db: Db, list: List, { after, offset, limit, isCounted }: Wish): Promise<Slice> {
  const name = orderName(list);
  const text = after === undefined ? undefined : parseKeyCursor(name, after);
  const [, rank, id] = /^([012]):([1-9]\d{0,15})$/.exec(text ?? '') ?? [];
  if (after !== undefined && id === undefined) throw notACursor('/users/', 'after', 'query');
  const what = { q: list.q ?? '', status: list.status, sort: list.sort };
  const behind = id === undefined ? undefined : { id, rank: Number(rank) };
  const matches = await findMatches(db, what, behind, offset + limit + 1);
  const page = matches.slice(offset, offset + limit);
  const last = matches.length > offset + limit ? page.at(-1) : undefined;
  return {
    users: await findUsersInOrder(
      db,
      page.map((match) => match.id),
    ),
    total: isCounted ? totalOf(await countMatches(db, what)) : undefined,
    cursor: last === undefined ? undefined : formatKeyCursor(name, `${last.rank}:${last.id}`),
  };
}
