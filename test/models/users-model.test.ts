// A model of the users table, and the real service, driven by the same random commands: they agree after every step, on the
// answers and on the events.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { createDatabase, keepAnnounced, type TestDatabase } from '../support/database.ts';
import type { Line } from '../support/log.ts';
import { type Answer, startService, type TestService } from '../support/service.ts';

const runs = Number(process.env['MODEL_RUNS'] ?? 200);

type User = {
  id: number;
  name: string;
  surname: string;
  email: string | null;
  username: string | null;
  status: string;
  attributes: Record<string, unknown>;
  email_verified_at: string | null;
  version: number;
  created_at: string;
  updated_at: string;
  last_login_at: null;
} & Record<'external_id' | 'locale' | 'time_zone', string | null>;
const fieldNames = [
  ...(['name', 'surname', 'password', 'email', 'username', 'external_id', 'status', 'attributes', 'locale', 'time_zone'] as const),
  'email_verified_at' as const,
];
type Change = { [Name in (typeof fieldNames)[number]]?: unknown };
type Known = { shown: User; password: string };
/** An event of the model: what the change that was made with this trace id must have said. */
type Expected = { event_type: string; trace_id: string; data: Record<string, unknown> };
type Announced = Expected & { event_id: string };

// Few values, so that changes to what is already there are frequent; the same text in more than one form among them.
const names = fc.constantFrom(
  'Ann',
  '  Ann\t',
  'Zo\u00eb',
  'Zoe\u0308',
  '\u{1d49c}da \u{1f469}\u200d\u{1f680}',
  "O'Neil; --",
  'x'.repeat(255),
);
const passwords = fc.constantFrom(
  'correct horse',
  'p\u00e4ssword 1',
  'pa\u0308ssword 1',
  ' correct horse ',
  '\u{1f511}'.repeat(8),
  'x'.repeat(128),
);
// Some are the same address, or the same name.
const emails = fc.constantFrom('ann@example.com', 'ANN@Example.com', 'bob@example.com', 'zo\u00eb@example.com', 'zoe\u0308@EXAMPLE.com');
const usernames = fc.constantFrom('ann', 'Ann', 'bob', 'b\u043eb');
const attributes = fc.constantFrom<object>({}, { a: 1 }, { a: { b: null, c: [1] } }, { '\u00fc': 'x' });
const changes = fc.record(
  {
    name: fc.option(names),
    surname: fc.option(names),
    password: fc.option(passwords, { freq: 3 }),
    email: fc.option(emails),
    username: fc.option(usernames),
    status: fc.option(fc.constantFrom('active', 'suspended')),
    attributes: fc.option(attributes),
    locale: fc.option(fc.constantFrom('de', 'de-CH')),
    email_verified_at: fc.option(fc.constant('2025-01-01T10:00:00.000000Z')),
  },
  { requiredKeys: [], noNullPrototype: true },
);
/** What `If-Match` names, against the version that the user has. */
const matches = fc.constantFrom<number | undefined>(undefined, undefined, 0, -1);
const broken = fc.constantFrom<object>(
  { name: '' },
  { surname: 5 },
  { password: 'short' },
  { name: 'a\u202eb' },
  { id: 1 },
  { version: 7 },
);
// Names a user by its place among all that were ever made, one more than there are: somebody deleted, or nobody.
const who = fc.nat({ max: 12 });
const command = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      fields: fc
        .tuple(changes, fc.record({ name: names, surname: names, password: passwords }))
        .map(([change, required]): Change => ({ ...change, ...required })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), who }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('put' as const, 'merge' as const, 'operations' as const),
      who,
      change: changes,
      match: matches,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), who, match: matches }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('list' as const),
      page: fc.integer({ min: 1, max: 4 }),
      perPage: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('break' as const), who, change: broken }) },
);
type Command = typeof command extends fc.Arbitrary<infer One> ? One : never;

suite('the model of the users table', () => {
  let database: TestDatabase;
  let service: TestService;
  const everything: Announced[] = [];
  before(async () => {
    database = await createDatabase();
    await keepAnnounced(database);
    service = await startService({}, { database });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('agrees with every answer and event: data, order and trace id', async () => {
    const property = fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 24, size: 'max' }), async (commands) => {
      await database.query('truncate "user", identifier, announced');
      const expected: Expected[] = [];
      const model = new Model(service, expected);
      try {
        for (const step of commands) await model.run(step);
      } finally {
        everything.push(...(await announced()));
      }
      assert.deepEqual(
        (await announced()).map(({ event_id, ...event }) => event),
        expected,
      );
    });
    await fc.assert(property, { numRuns: runs });
  });

  test('has each of these events handled exactly once', async () => {
    const isReceived = ({ event }: Line) => event.startsWith('Received event ') && !event.endsWith(' again');
    const count = async (table: string) => Number((await database.query<{ count: string }>(`select count(*) from ${table}`))[0]?.count);
    for (const { event_id } of everything) {
      await service.line((line) => isReceived(line) && line['event_id'] === event_id, `the event ${event_id}`);
    }
    // An event is handled before it leaves the outbox: once the service has ended, none can come twice.
    await service[Symbol.asyncDispose]();
    assert.deepEqual(
      service.lines
        .filter(isReceived)
        .map(({ event_id, event_type, trace_id, user_id }) => ({ event_id, event_type, trace_id, user_id }))
        .sort(byEventId),
      everything
        .map(({ event_id, event_type, trace_id, data }) => ({ event_id, event_type, trace_id, user_id: data['user_id'] }))
        .sort(byEventId),
    );
    assert.deepEqual([await count('outbox'), await count('inbox'), await count('dead_letter')], [0, everything.length, 0]);
  });

  async function announced(): Promise<Announced[]> {
    return database.query('select event_id, event_type, trace_id, data from announced order by position');
  }
});

function byEventId(one: { event_id?: unknown }, other: { event_id?: unknown }): number {
  return String(one.event_id) < String(other.event_id) ? -1 : 1;
}

/** What the service must answer to each command, and must announce of it. */
class Model {
  readonly #service: TestService;
  readonly #expected: Expected[];
  readonly #users = new Map<number, Known>();
  readonly #idsEver: number[] = [];

  constructor(service: TestService, expected: Expected[]) {
    this.#service = service;
    this.#expected = expected;
  }

  async run(step: Command): Promise<void> {
    switch (step.do) {
      case 'create':
        return this.#create(step.fields);
      case 'get':
        return this.#get(this.#idOf(step.who));
      case 'put':
      case 'merge':
      case 'operations':
        return this.#change(step.do, this.#idOf(step.who), step.change, step.match);
      case 'delete':
        return this.#delete(this.#idOf(step.who), step.match);
      case 'list':
        return this.#list(step.page, step.perPage);
      case 'break':
        return this.#break(this.#idOf(step.who), step.change);
    }
  }

  #idOf(place: number): number {
    return this.#idsEver[place % (this.#idsEver.length + 1)] ?? Number.MAX_SAFE_INTEGER;
  }

  async #call(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer & { traceId: string }> {
    const traceId = randomUUID();
    const answer = await this.#service.call(method, path, body === undefined ? undefined : JSON.stringify(body), {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
      'x-request-id': traceId,
    });
    assert.equal(answer.headers.get('x-trace-id'), traceId);
    return { ...answer, traceId };
  }

  #expect(event: string, traceId: string, { id, version }: { id: number; version: number }, more: object): void {
    this.#expected.push({ event_type: `user.${event}`, trace_id: traceId, data: { user_id: id, version, ...more } });
  }

  /** Which of these identifiers another user has. */
  #taken({ email, username }: Change, id?: number): string[] {
    const others = [...this.#users.values()].map(({ shown }) => shown).filter((user) => user.id !== id);
    const isSame = (one: unknown, other: string | null, key: (text: string) => string) =>
      typeof one === 'string' && other !== null && key(one) === key(other);
    return [
      ...(others.some((user) => isSame(email, user.email, emailKey)) ? ['email'] : []),
      ...(others.some((user) => isSame(username, user.username, usernameKey)) ? ['username'] : []),
    ];
  }

  async #create(fields: Change): Promise<void> {
    const given = read(fields);
    const { status, json, headers, traceId } = await this.#call('POST', '/users/', fields);
    const taken = this.#taken(given);
    if (taken.length > 0) return assertTaken({ status, json }, taken);
    assert.equal(status, 201);
    const { id, created_at } = json;
    assert.ok(id > (this.#idsEver.at(-1) ?? 0), 'ids grow');
    assert.equal(headers.get('location'), `/users/${id}`);
    const { password, ...others } = given;
    const times = { created_at, updated_at: created_at, last_login_at: null };
    const shown = { ...nothing, ...others, id, version: 1, ...times } as User;
    assert.deepEqual([json, headers.get('etag')], [shown, '"1"']);
    this.#users.set(id, { shown, password: String(password) });
    this.#idsEver.push(id);
    this.#expect('created', traceId, shown, { changed: fieldNames.filter((name) => given[name] !== undefined), user: stateOf(shown) });
  }

  async #get(id: number): Promise<void> {
    const answer = await this.#call('GET', `/users/${id}`);
    const user = this.#users.get(id);
    if (user === undefined) assertNobody(answer, id);
    else assert.deepEqual([answer.status, answer.json, answer.headers.get('etag')], [200, user.shown, `"${user.shown.version}"`]);
  }

  async #change(how: 'put' | 'merge' | 'operations', id: number, sent: Change, match: number | undefined): Promise<void> {
    const user = this.#users.get(id);
    const change = how === 'put' ? sent : withoutNulls(sent, ['name', 'surname', 'password']);
    const body = how === 'operations' ? operationsOf(change) : change;
    const headers = { ...typeOf[how], ...(match !== undefined && { 'if-match': `"${(user?.shown.version ?? 1) + match}"` }) };
    const { traceId, ...answer } = await this.#call(how === 'put' ? 'PUT' : 'PATCH', `/users/${id}`, body, headers);
    if (user === undefined) return assertNobody(answer, id);
    if (match === -1) return assert.deepEqual([answer.status, answer.json.code], [412, 'version_mismatch']);
    const now: Change & User = { ...user.shown, password: user.password };
    const given = how === 'put' ? read(change) : patched(now, change, how);
    const isNew = (name: keyof Change) => given[name] !== undefined && !isDeepStrictEqual(given[name], now[name]);
    const isEnded = isNew('email') && given.email_verified_at === undefined && now.email_verified_at !== null;
    const changed = fieldNames.filter((name) => isNew(name) || (name === 'email_verified_at' && isEnded));
    const taken = this.#taken(Object.fromEntries(changed.map((name) => [name, given[name]])), id);
    if (taken.length > 0) return assertTaken(answer, taken);
    const { updated_at } = answer.json;
    if (changed.length === 0) assert.equal(updated_at, now.updated_at, 'no change moves no timestamp');
    else assert.ok(updated_at > now.updated_at, `updated_at grows: ${now.updated_at}, then ${updated_at}`);
    const version = now.version + (changed.length === 0 ? 0 : 1);
    const { password, ...shown } = { ...now, ...given, ...(isEnded && { email_verified_at: null }), version, updated_at };
    assert.deepEqual([answer.status, answer.json], [200, shown]);
    if (changed.length === 0) return;
    this.#users.set(id, { shown: shown as User, password: String(password) });
    this.#expect('updated', traceId, shown, { changed, user: stateOf(shown as User) });
  }

  async #delete(id: number, match: number | undefined): Promise<void> {
    const user = this.#users.get(id);
    const headers: Record<string, string> = match === undefined ? {} : { 'if-match': `"${(user?.shown.version ?? 1) + match}"` };
    const { traceId, ...answer } = await this.#call('DELETE', `/users/${id}`, undefined, headers);
    if (user === undefined) return assertNobody(answer, id);
    if (match === -1) return assert.deepEqual([answer.status, answer.json.code], [412, 'version_mismatch']);
    assert.deepEqual([answer.status, answer.json], [200, { message: `User with id ${id} has been deleted` }]);
    this.#users.delete(id);
    this.#expect('deleted', traceId, { id, version: user.shown.version + 1 }, {});
  }

  async #list(page: number, perPage: number): Promise<void> {
    const { status, json } = await this.#call('GET', `/users/?page=${page}&per_page=${perPage}`);
    const all = [...this.#users.values()].map(({ shown }) => shown);
    const users = all.slice((page - 1) * perPage, page * perPage);
    assert.deepEqual([status, json], [200, { users, total: all.length, page, per_page: perPage }]);
  }

  // Nothing in the model moves, so a change made in spite of the refusal would show in a later step.
  async #break(id: number, change: object): Promise<void> {
    for (const [method, path] of [
      ['POST', '/users/'],
      ['PUT', `/users/${id}`],
    ] as const) {
      const { status, json } = await this.#call(method, path, { name: 'Broken', ...change });
      assert.deepEqual([status, json.code], [400, 'validation_failed']);
    }
  }
}

/** Of a user who brings only what it must. */
const nothing = {
  ...{ email: null, username: null, external_id: null, status: 'active', attributes: {} },
  ...{ locale: null, time_zone: null, email_verified_at: null },
};
const stateOf = ({ last_login_at: _, ...state }: User) => state;
const emailKey = (text: string) => text.normalize('NFKC').toLowerCase();
/** Of the names that are used here. */
const usernameKey = (text: string) => text.toLowerCase().replaceAll('\u043e', 'o');

const typeOf: Readonly<Record<string, Record<string, string>>> = {
  put: {},
  merge: { 'content-type': 'application/merge-patch+json' },
  operations: { 'content-type': 'application/json-patch+json' },
};

/** As JSON Patch: each field gets its value. */
function operationsOf(change: Change): object[] {
  return Object.entries(change).map(([name, value]) =>
    value === null ? { op: 'replace', path: `/${name}`, value: null } : { op: 'add', path: `/${name}`, value },
  );
}

/** What a patch makes of the fields that it names. */
function patched(now: Change, change: Change, how: 'merge' | 'operations'): Change {
  const given = read(change);
  for (const [name, value] of Object.entries(change)) {
    if (value === null) Object.assign(given, { [name]: nothing[name as keyof typeof nothing] });
    else if (name === 'attributes' && how === 'merge') given.attributes = merged(now.attributes as object, value as object);
  }
  return given;
}

function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const base: Record<string, unknown> = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete base[name];
    else base[name] = merged(base[name], value);
  }
  return base;
}

function withoutNulls(change: Change, names: readonly string[]): Change {
  return Object.fromEntries(Object.entries(change).filter(([name, value]) => value !== null || !names.includes(name)));
}

// As the service is to read them: null is left out, text normalised, and trimmed but for passwords.
function read(fields: Change): Change {
  const normal = (key: string, text: string) => (key === 'password' ? text.normalize('NFC') : text.normalize('NFC').trim());
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [key, typeof value === 'string' ? normal(key, value) : value]));
}

function assertTaken({ status, json }: Pick<Answer, 'status' | 'json'>, taken: readonly string[]): void {
  assert.deepEqual([status, json.code, json.extra.map(({ key }: { key: string }) => key)], [409, 'already_taken', taken]);
}

function assertNobody({ status, json }: Answer, id: number): void {
  assert.deepEqual([status, json.code, json.detail], [404, 'user_not_found', `User with id ${id} not found`]);
}
