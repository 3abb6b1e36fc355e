// The whole language of lists against a model in memory: random users, filters, sorts and pages. The pages of a list are the users that
// the filter lets through, in order, each once.
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { startService, type TestService } from '../support/service.ts';

type User = {
  readonly id: number;
  readonly name: string;
  readonly surname: string;
  readonly email: string | null;
  readonly username: string | null;
  readonly external_id: string | null;
  readonly status: 'active' | 'suspended';
  readonly created_at: string;
  readonly updated_at: string;
};

const last = '\u{10ffff}';

/** As user_search_form() of 0013_user_search.sql makes it of these letters. */
function form(text: string): string {
  return text
    .normalize('NFKD')
    .replaceAll(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replaceAll('ß', 'ss')
    .replaceAll('ς', 'σ')
    .replaceAll('ł', 'l')
    .normalize('NFC');
}

const bytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));
const key = (text: string | null) => (text === null ? last : form(text));
const keysOf = {
  id: () => [],
  created_at: (user) => [user.created_at],
  updated_at: (user) => [user.updated_at],
  name: (user) => [key(user.name), key(user.surname)],
  surname: (user) => [key(user.surname), key(user.name)],
  email: (user) => [key(user.email)],
  username: (user) => [key(user.username)],
} as const satisfies Record<string, (user: User) => readonly string[]>;
type SortName = keyof typeof keysOf;

function rankOf(user: User, q: string): number | undefined {
  const wanted = form(q);
  const lines = [`${user.name} ${user.surname}`, user.name, user.surname, user.email, user.username].flatMap((line) =>
    line === null ? [] : [form(line)],
  );
  if (lines.includes(wanted)) return 0;
  if (lines.some((line) => line.startsWith(wanted))) return 1;
  return [...wanted].length > 2 && lines.some((line) => line.includes(wanted)) ? 2 : undefined;
}

type Query = {
  readonly sort?: SortName;
  readonly isDescending: boolean;
  readonly isPair: boolean;
  readonly status?: 'active' | 'suspended';
  readonly q?: string;
  readonly ids?: readonly number[];
  readonly email?: string;
  readonly username?: string;
  readonly external_id?: string;
  readonly created_after?: string;
  readonly created_before?: string;
  readonly updated_after?: string;
  readonly updated_before?: string;
};

function modelOf(users: readonly User[], query: Query): number[] {
  const same = (one: string | null, other: string | undefined) => other === undefined || (one !== null && form(one) === form(other));
  const fits = (user: User) =>
    (query.status === undefined || user.status === query.status) &&
    (query.ids === undefined || query.ids.includes(user.id)) &&
    same(user.email, query.email) &&
    same(user.username, query.username) &&
    (query.external_id === undefined || user.external_id === query.external_id) &&
    (query.created_after === undefined || user.created_at > query.created_after) &&
    (query.created_before === undefined || user.created_at < query.created_before) &&
    (query.updated_after === undefined || user.updated_at > query.updated_after) &&
    (query.updated_before === undefined || user.updated_at < query.updated_before) &&
    (query.q === undefined || rankOf(user, query.q) !== undefined);
  const { sort, q } = query;
  const keys = (user: User) => (sort === undefined ? (q === undefined ? [] : [String(rankOf(user, q))]) : keysOf[sort](user));
  const compare = (one: User, other: User) => {
    const [left, right] = [keys(one), keys(other)];
    const different = left.map((value, n) => bytes(value, right[n] ?? '')).find((order) => order !== 0);
    return (different ?? one.id - other.id) * (query.isDescending ? -1 : 1);
  };
  return users
    .filter(fits)
    .toSorted(compare)
    .map(({ id }) => id);
}

const letters = fc.constantFrom('a', 'A', 'b', 'á', 'B', 'ß', 'ж', 'Ж', 'й', 'Σ', 'ς', 'ł', '李', '명', ' ', 'z', '1', '-');
const word = fc
  .array(letters, { minLength: 1, maxLength: 5 })
  .map((units) => units.join(''))
  .filter((text) => text.trim() !== '');
const times = Array.from({ length: 4 }, (_, n) => `2025-01-0${n + 1}T00:00:00.000000Z`);
const time = fc.constantFrom(...times);
const users = fc.array(
  fc.record({
    name: word,
    surname: word,
    email: fc.option(fc.constantFrom('a', 'ab', 'zá', 'b')),
    username: fc.option(fc.stringMatching(/^[abA]{1,3}$/)),
    external_id: fc.option(fc.constant('x')),
    status: fc.constantFrom('active', 'suspended'),
    created_at: time,
    updated_at: time,
  }),
  { minLength: 1, maxLength: 40 },
);

const sorts = fc.constantFrom(...(Object.keys(keysOf) as SortName[]));
const status = fc.option(fc.constantFrom('active', 'suspended'), { nil: undefined });
const span = fc.record({ after: time, before: time }, { requiredKeys: [] });
const base = { isDescending: fc.boolean(), isPair: fc.boolean(), status };
const q = fc.oneof(word, fc.constantFrom('a', 'ab', 'example', 'b b'));
/** Every combination that the language has. */
const queries: fc.Arbitrary<Query> = fc.oneof(
  fc.record({ ...base, sort: sorts }),
  fc.record({ ...base, column: fc.constantFrom('created', 'updated'), span }).map(({ column, span: { after, before }, ...others }) => ({
    ...others,
    sort: `${column}_at` as SortName,
    ...(after !== undefined && { [`${column}_after`]: after }),
    ...(before !== undefined && { [`${column}_before`]: before }),
  })),
  fc.record({ ...base, isDescending: fc.constant(false), q }),
  fc.record({ ...base, q, sort: fc.constant('id' as const) }),
  // What names few users goes with everything.
  fc
    .record(
      {
        ...base,
        sort: sorts,
        ids: fc.array(fc.nat({ max: 45 }), { minLength: 1, maxLength: 20 }),
        email: fc.constantFrom('A@example.com', 'zá@example.com'),
        username: fc.constantFrom('AB0', 'a1'),
        external_id: fc.constantFrom('x0', 'X0'),
        q,
        created_after: time,
        created_before: time,
        updated_after: time,
        updated_before: time,
      },
      { requiredKeys: ['isDescending', 'isPair', 'ids'] },
    )
    .map((query) => (query.sort === undefined ? { ...query, isDescending: false } : query)),
) as fc.Arbitrary<Query>;

suite('the language of lists', () => {
  let service: TestService;
  before(async () => {
    service = await startService({ RUN: 'api', RATE_LIMIT_PER_MINUTE: '0', USERNAME_CONFUSABLES: 'allow' });
  });
  after(() => service[Symbol.asyncDispose]());

  test('answers as the model does, by cursor and by number', async () => {
    const property = fc.asyncProperty(
      users,
      fc.array(fc.record({ query: queries, limit: fc.integer({ min: 1, max: 12 }) }), { minLength: 12, maxLength: 12 }),
      async (given, wishes) => {
        await service.database.query('truncate "user", identifier');
        const made: User[] = [];
        for (const [n, { created_at, updated_at, email, username, external_id, ...user }] of given.entries()) {
          const { status: code, json } = await service.call('POST', '/users/', {
            ...user,
            password: 'correct horse',
            email: email && (n < 2 ? `${email}@example.com` : `${email}+${n}@example.com`),
            username: username && `${username}${n}`,
            external_id: external_id && `${external_id}${n}`,
          });
          if (code === 409) continue;
          assert.equal(code, 201, JSON.stringify(json));
          await service.database.query('update "user" set created_at = $2, updated_at = $3 where id = $1', [
            json.id,
            created_at,
            updated_at,
          ]);
          made.push({ ...json, created_at, updated_at });
        }
        const first = made[0]?.id ?? 1;
        for (const { query: wish, limit } of wishes) {
          const query = wish.ids === undefined ? wish : { ...wish, ids: wish.ids.map((n) => first + n) };
          await check(made, query, limit);
        }
      },
    );
    await fc.assert(property, { numRuns: Number(process.env['MODEL_RUNS'] ?? 12) });
  });

  async function check(made: readonly User[], { isDescending, isPair, sort, ids, ...filters }: Query, limit: number): Promise<void> {
    const expected = modelOf(made, { isDescending, isPair, ...(sort && { sort }), ...(ids && { ids }), ...filters });
    const mark = isDescending ? '-' : '';
    const second = sort === 'name' ? 'surname' : sort === 'surname' ? 'name' : 'id';
    const parameters = new URLSearchParams({
      ...(sort !== undefined && { sort: `${mark}${sort}${isPair && sort !== 'id' ? `,${mark}${second}` : ''}` }),
      ...(ids !== undefined && { ids: ids.join(',') }),
      ...Object.fromEntries(Object.entries(filters).filter((pair): pair is [string, string] => pair[1] !== undefined)),
    });
    const ask = async (rest: string) => {
      const { status: code, json, text } = await service.call('GET', `/users/?${parameters}${rest}`);
      assert.equal(code, 200, `${parameters}: ${text}`);
      return json;
    };
    const found: number[] = [];
    for (let next: string | undefined = ''; next !== undefined; ) {
      const json = await ask(`&limit=${limit}${next === '' ? '' : `&after=${next}`}`);
      found.push(...json.users.map(({ id }: { id: number }) => id));
      assert.ok(found.length <= made.length, `${parameters} repeats users`);
      next = json.next;
    }
    assert.deepEqual(found, expected, `${parameters} by cursor: ${JSON.stringify(made)}`);
    const page = 1 + (limit % 3);
    const json = await ask(`&per_page=${limit}&page=${page}&count=true`);
    const numbered = json.users.map(({ id }: { id: number }) => id);
    assert.deepEqual(numbered, expected.slice((page - 1) * limit, page * limit), `${parameters} by number`);
    assert.equal(json.total, expected.length, `${parameters} counted`);
  }
});
