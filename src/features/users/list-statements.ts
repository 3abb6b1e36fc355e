// Pages of users in any order that has an index. The indexes begin with the status, so that one serves a list of a status and a list of
// all, which merges those of each status.
import type { Db } from '../../platform/db/client.ts';
import { timestampSql } from '../../platform/events/store/outbox.ts';
import { totalSql } from './count.ts';
import { statuses } from './fields.ts';
import { attributeSql } from './indexed-attributes.ts';
import { isFiltered, type List, type SortName } from './list-language.ts';
import { columnsSql, type UserRow, userOf } from './queries.ts';
import type { User } from './schemas.ts';

type Key = { readonly sql: string; readonly type: 'text' | 'timestamptz' | 'int' };
const text = (sql: string): Key => ({ sql, type: 'text' });
/** Ahead of the id, which ends each order. */
const keysOf: Readonly<Record<SortName, readonly Key[]>> = {
  id: [],
  created_at: [{ sql: 's.created_at', type: 'timestamptz' }],
  updated_at: [{ sql: 'u.updated_at', type: 'timestamptz' }],
  name: [text('s.name'), text('s.surname')],
  surname: [text('s.surname'), text('s.name')],
  email: [text('s.email')],
  username: [text('s.username')],
};

/** Up to which a list with a filter is counted. */
export const countedMax = 10_000;

/** `keys` are those of the last user of the page before, each as a text, and then its id. */
export type PageWish = {
  readonly keys: readonly string[] | undefined;
  readonly offset: number;
  readonly limit: number;
  readonly isCounted: boolean;
};
export type ListPage = {
  readonly users: User[];
  /** Of the last user; undefined where there is no further page. */
  readonly next: readonly string[] | undefined;
  readonly total: Total | undefined;
};
export type Total = { readonly total: number } | { readonly total_at_least: number };

export const totalOf = (counted: number): Total => (counted > countedMax ? { total_at_least: countedMax } : { total: counted });

/** How well a text of `user_search` fits: 0 where a line of it is `form`, 1 where one begins with it, 2 where one holds it. */
export const rankSql = (form: string) => `case
    when strpos(s.text, E'\\n\\n' || ${form} || E'\\n') > 0 then 0
    when strpos(s.text, E'\\n\\n' || ${form}) > 0 then 1
    when length(${form}) > 2 and strpos(s.text, ${form}) > 0 then 2
  end`;

/** Whether a cursor's keys may be those of this order. */
export function isKeyOf(list: List, keys: readonly unknown[]): keys is readonly string[] {
  const forms = { text: /^[^\0]{0,100}$/u, timestamptz: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, int: /^[012]$/ };
  const wanted = [...orderOf(list).keys.map(({ type }) => forms[type]), /^[1-9]\d{0,15}$/];
  return keys.length === wanted.length && keys.every((key, n) => typeof key === 'string' && key.isWellFormed() && wanted[n]?.test(key));
}

function orderOf({ sort }: List): { readonly keys: readonly Key[]; readonly isDescending: boolean } {
  if (sort !== undefined) return { keys: keysOf[sort.by], isDescending: sort.isDescending };
  return { keys: [{ sql: 'rank', type: 'int' }], isDescending: false };
}

type Source = {
  readonly from: string;
  /** Of the table whose index gives the order. */
  readonly alias: 'u' | 's';
  readonly id: string;
  /** Whether one index gives the order of all, and not one of each status. */
  readonly isWhole: boolean;
};
const fewUsers: Source = { from: '"user" as u join user_search as s on s.user_id = u.id', alias: 'u', id: 'u.id', isWhole: true };
const searchRows: Source = { from: 'user_search as s', alias: 's', id: 's.user_id', isWhole: false };

function sourceOf(list: List, keys: readonly Key[]): Source {
  const isById = keys.length === 0 && list.status === undefined && list.attributes.length === 0;
  const isInUser = isById || list.attributes.length > 0 || keys.some(({ sql }) => sql.startsWith('u.'));
  return isInUser ? { from: '"user" as u', alias: 'u', id: 'u.id', isWhole: isById } : searchRows;
}

/**
 * A page of a list; of one with `q` only where it has `exact`.
 * @param ids of the users of whom `exact` lets only these be, where it is there
 */
export async function readListPage(db: Db, list: List, ids: readonly string[] | undefined, wish: PageWish): Promise<ListPage> {
  const values: unknown[] = [];
  const parameter = (value: unknown, type: string) => `$${values.push(value)}::${type}`;
  const { keys, isDescending } = orderOf(list);
  const direction = isDescending ? ' desc' : '';
  const { from, alias, id, isWhole } = ids === undefined ? sourceOf(list, keys) : fewUsers;

  const conditions: string[] = [];
  if (ids !== undefined) conditions.push(`u.id = any(${parameter(ids, 'bigint[]')})`);
  for (const { column, operator, value } of list.times)
    conditions.push(`${column === 'created_at' ? 's' : 'u'}.${column} ${operator} ${parameter(value, 'timestamptz')}`);
  for (const { path, value } of list.attributes) {
    const given = parameter(value, 'text');
    conditions.push(`${attributeSql(path).cut} = left(${given}, ${attributeSql(path).max}) and ${attributeSql(path).whole} = ${given}`);
  }
  const form = list.q === undefined ? undefined : `(select nullif(user_search_form(${parameter(list.q, 'text')}), ''))`;
  const rank = form === undefined ? undefined : rankSql(form);
  if (rank !== undefined) conditions.push(`(${rank}) is not null`);
  const keySql = ({ sql }: Key) => (sql === 'rank' ? `(${rank})` : sql);

  const ofPage = [...conditions];
  if (wish.keys !== undefined) {
    const last = wish.keys.map((key, n) => parameter(key, keys[n]?.type ?? 'bigint'));
    ofPage.push(`(${[...keys.map(keySql), id].join(', ')}) ${isDescending ? '<' : '>'} (${last.join(', ')})`);
  }
  const limit = parameter(wish.limit + 1, 'bigint');
  const offset = parameter(wish.offset, 'bigint');
  const selected = [...keys.map((key, n) => `${keySql(key)} as k${n}`), `${id} as page_id`].join(', ');
  const order = [...keys.map((_, n) => `k${n}${direction}`), `page_id${direction}`].join(', ');
  // Each of a status by itself, so that its index gives the order.
  const ofStatus = (name: string) => `${alias}.status = ${name}`;
  const arms =
    list.status !== undefined
      ? [[ofStatus(parameter(list.status, 'text'))]]
      : isWhole
        ? [[]]
        : statuses.map((name) => [ofStatus(`'${name}'`)]);
  const where = (all: readonly string[]) => (all.length === 0 ? '' : `where ${all.join(' and ')}`);
  const rows = arms
    .map((arm) => `(select ${selected} from ${from} ${where([...arm, ...ofPage])} order by ${order} limit ${limit} + ${offset})`)
    .join('\n     union all ');
  const counted = arms
    .map((arm) => `(select 1 from ${from} ${where([...arm, ...conditions])} limit ${countedMax + 1})`)
    .join('\n     union all ');

  const page = `page as materialized (
     select * from (${rows}) as each order by ${order} limit ${limit} offset ${offset}
   )`;
  const ofKeys = keys.map(({ type }, n) => (type === 'timestamptz' ? timestampSql(`k${n}`) : `k${n}::text`));
  const shown = `page_id, array[${[...ofKeys, 'page_id::text'].join(', ')}] as keys, ${columnsSql('"user".id')}`;
  const found = `page join "user" on "user".id = page_id`;
  const counting = isFiltered(list) ? `counted as materialized (select count(*) as total from (${counted}) as each)` : totalSql;
  const sql = wish.isCounted
    ? `with ${counting}, ${page} select total, ${shown} from counted left join (${found}) on true order by ${order}`
    : `with ${page} select ${shown} from ${found} order by ${order}`;

  type Row = { total: string; page_id: string | null; keys: readonly string[] } & UserRow;
  const answered = await db.query<Row>(sql, values);
  const those = answered.filter(({ page_id }) => page_id !== null);
  const total = answered[0]?.total;
  return {
    users: those.slice(0, wish.limit).map(userOf),
    next: those.length > wish.limit ? those[wish.limit - 1]?.keys : undefined,
    total: total === undefined || !wish.isCounted ? undefined : isFiltered(list) ? totalOf(Number(total)) : { total: Number(total) },
  };
}
