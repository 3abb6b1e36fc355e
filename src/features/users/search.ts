// Users whose texts hold what somebody looks for, in order of how well it fits and then of id. An index of each three characters finds
// few; where many fit, going through the users in their order comes sooner to a page than all who fit would. A first look at some users
// tells which of both.
import type { Db } from '../../platform/db/client.ts';
import { countedMax, rankSql } from './list-statements.ts';

/** How well a text fits, or any that does. */
type Rank = 0 | 1 | 2 | 'any';
const ranks = [0, 1, 2] as const;

export type Match = { readonly id: string; readonly rank: number };
export type Search = {
  readonly q: string;
  readonly status: string | undefined;
  /** Undefined: of relevance, and then of id. */
  readonly sort: { readonly isDescending: boolean } | undefined;
};

/** Null where nothing is left of what is looked for, and so fits nobody. */
const form = "(select nullif(user_search_form($1), ''))";

/** Of these few, all are fetched at once, in whatever order. */
const fewMax = 1000;

/** `looked`: users whom the first look takes in. `fetching`: what a user whom the index finds costs, against one who is passed. */
const usual = { looked: 1000, fetching: 3 };

type Look = {
  /** By rank, in order. */
  readonly matches: readonly (readonly string[])[];
  readonly last: string;
  readonly passed: number;
  readonly isShort: boolean;
  /** In all, as PostgreSQL last counted them. */
  readonly users: number;
};

/** @param after the last of those before, undefined to begin */
export async function findMatches(
  db: Db,
  search: Search,
  after: Match | undefined,
  limit: number,
  { looked, fetching } = usual,
): Promise<Match[]> {
  const { sort, status, q } = search;
  const isDescending = sort?.isDescending === true;
  const start = isDescending ? String(Number.MAX_SAFE_INTEGER) : '0';
  const values = [q, ...(status === undefined ? [] : [status])];
  const ofStatus = status === undefined ? '' : 'and s.status = $2';
  const [behind, order, most] = isDescending ? ['<', 's.user_id desc', 'min'] : ['>', 's.user_id', 'max'];
  const number = (n: number) => `$${values.length + n}`;
  const passSql = (limitSql: string) =>
    `select s.user_id, s.text from user_search as s where s.user_id ${behind} ${number(1)}::bigint ${ofStatus} order by ${order} limit ${limitSql}`;

  const compare = (one: string, other: string) => (Number(one) - Number(other)) * (isDescending ? -1 : 1);

  const looks = new Map<string, Promise<Look>>();
  async function look(from: string): Promise<Look> {
    type Row = {
      exact: string[] | null;
      begun: string[] | null;
      held: string[] | null;
      last: string | null;
      passed: number;
      is_short: boolean;
      users: number;
    };
    const ofRank = (rank: number) => `array_agg(user_id order by place) filter (where rank = ${rank})`;
    const [row] = await db.query<Row>(
      `select ${ofRank(0)} as exact, ${ofRank(1)} as begun, ${ofRank(2)} as held, ${most}(user_id) as last, count(*)::int as passed,
         length(${form}) < 3 as is_short, (select reltuples from pg_class where oid = 'user_search'::regclass) as users
       from (select user_id, ${isDescending ? '-' : ''}user_id as place, ${rankSql(form)} as rank from (${passSql(String(looked))}) as s) as each`,
      [...values, from],
    );
    const { exact, begun, held, last, passed, is_short, users } = row as Row;
    return { matches: [exact ?? [], begun ?? [], held ?? []], last: last ?? from, passed, isShort: is_short, users };
  }

  function lookOnce(from: string): Promise<Look> {
    const looking = looks.get(from) ?? look(from);
    looks.set(from, looking);
    return looking;
  }

  /** All who fit, in order; undefined where they are not few. */
  async function takeFew(isShort: boolean): Promise<Match[] | undefined> {
    const rows = await db.query<{ user_id: string; rank: number }>(
      `select user_id, rank from (
         select s.user_id, ${rankSql(form)} as rank from user_search as s
         where ${holdsSql(needleSql('any', isShort))} ${ofStatus} offset 0
       ) as each where rank is not null limit ${fewMax + 1}`,
      values,
    );
    if (rows.length > fewMax) return undefined;
    const found = rows.map(({ user_id, rank }) => ({ id: user_id, rank: sort === undefined ? rank : 0 }));
    return found.sort((one, other) => one.rank - other.rank || compare(one.id, other.id));
  }

  /** Those of a rank behind an id. */
  async function take(rank: Rank, from: string, wanted: number): Promise<string[]> {
    const { matches, last, passed, isShort, users } = await lookOnce(from);
    const seen = rank === 'any' ? matches.flat().sort(compare) : (matches[rank] ?? []);
    if (seen.length >= wanted || passed < looked || (rank === 2 && isShort)) return seen.slice(0, wanted);
    const more = wanted - seen.length;
    const fits = rank === 'any' ? `(${rankSql(form)}) is not null` : `(${rankSql(form)}) = ${rank}`;
    const share = seen.length / passed;
    const toPass = Math.ceil((2 * more) / share);
    if (share > 0 && toPass <= fetching * share * users) {
      const rows = await db.query<{ user_id: string }>(
        `select user_id from (${passSql(number(3))}) as s where ${fits} limit ${number(2)}`,
        [...values, last, more, toPass],
      );
      if (rows.length === more) return [...seen, ...rows.map(({ user_id }) => user_id)];
    }
    const rows = await db.query<{ user_id: string }>(
      `with found as materialized (
         select s.user_id from user_search as s
         where ${rank === 0 ? isSql : holdsSql(needleSql(rank, isShort))} and ${fits} ${ofStatus}
       )
       select user_id from found as s where user_id ${behind} ${number(1)}::bigint order by ${order} limit ${number(2)}`,
      [...values, last, more],
    );
    return [...seen, ...rows.map(({ user_id }) => user_id)];
  }

  /** A part of every text that fits: its grams are in the index. */
  function needleSql(rank: Rank, isShort: boolean): string {
    return rank === 1 || isShort ? `E'\\n\\n' || ${form}` : form;
  }

  const first = await lookOnce(start);
  const isRare = first.passed === looked && first.matches.flat().length <= looked / fewMax;
  const few = isRare ? await takeFew(first.isShort) : undefined;
  if (few !== undefined) {
    const isBehind = ({ id, rank }: Match) =>
      after === undefined || rank > after.rank || (rank === after.rank && compare(id, after.id) > 0);
    return few.filter(isBehind).slice(0, limit);
  }
  if (sort !== undefined) return (await take('any', after?.id ?? start, limit)).map((id) => ({ id, rank: 0 }));
  const found: Match[] = [];
  for (const rank of ranks) {
    if (found.length === limit || (after !== undefined && rank < after.rank)) continue;
    const from = after?.rank === rank ? after.id : start;
    for (const id of await take(rank, from, limit - found.length)) found.push({ id, rank });
  }
  return found;
}

/** Whether a line of a text is what is looked for, but for a collision of hashes. */
const isSql = `user_search_entries(s.text) @> array[hashtext(E'\\n' || ${form} || E'\\n' collate "C")]`;

/**
 * Whether a text has all grams of what is looked for, which may still stand apart. Of many each third, and the last, so that every
 * character is in one: each costs as much as it is frequent.
 */
function holdsSql(needle: string): string {
  return `user_search_entries(s.text) @> (
    select array_agg(gram) from unnest(user_search_grams(${needle})) with ordinality as each (gram, n)
    where n % 3 = 1 or n = length(${needle}) - 2 or length(${needle}) <= 6
  )`;
}

/** How many fit, up to one more than are counted. */
export async function countMatches(db: Db, { q, status }: Search): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*)::int as n from (
       select from user_search as s
       where ${holdsSql(`case when length(${form}) < 3 then E'\\n\\n' else '' end || ${form}`)} and (${rankSql(form)}) is not null ${status === undefined ? '' : 'and s.status = $2'}
       limit ${countedMax + 1}
     ) as each`,
    [q, ...(status === undefined ? [] : [status])],
  );
  return row?.n ?? 0;
}
