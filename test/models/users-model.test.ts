// A model of the users table, and the real service, driven by the same random commands: they agree after every step, on the
// answers and on the events.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { createDatabase, keepAnnounced, type TestDatabase } from '../support/database.ts';
import type { Line } from '../support/log.ts';
import { type Answer, startService, type TestService } from '../support/service.ts';

const runs = Number(process.env['MODEL_RUNS'] ?? 200);

type User = { id: number; name: string; surname: string; created_at: string; updated_at: string };
type Fields = { name: string; surname: string; password: string };
type Known = { shown: User; password: string; version: number };
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
    arbitrary: fc.record({ do: fc.constant('create' as const), fields: fc.record({ name: names, surname: names, password: passwords }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), who }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      who,
      change: fc.record(
        { name: fc.option(names), surname: fc.option(names), password: fc.option(passwords, { freq: 3 }) },
        { requiredKeys: [], noNullPrototype: true },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), who }) },
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
      await database.query('truncate "user", announced');
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
        return this.#put(this.#idOf(step.who), step.change);
      case 'delete':
        return this.#delete(this.#idOf(step.who));
      case 'list':
        return this.#list(step.page, step.perPage);
      case 'break':
        return this.#break(this.#idOf(step.who), step.change);
    }
  }

  #idOf(place: number): number {
    return this.#idsEver[place % (this.#idsEver.length + 1)] ?? Number.MAX_SAFE_INTEGER;
  }

  async #call(method: string, path: string, body?: object): Promise<Answer & { traceId: string }> {
    const traceId = randomUUID();
    const answer = await this.#service.call(method, path, body, { 'x-request-id': traceId });
    assert.equal(answer.headers.get('x-trace-id'), traceId);
    return { ...answer, traceId };
  }

  #expect(event: string, traceId: string, { shown, version }: Known, more: object): void {
    this.#expected.push({ event_type: `user.${event}`, trace_id: traceId, data: { user_id: shown.id, version, ...more } });
  }

  async #create(fields: Fields): Promise<void> {
    const { status, json, headers, traceId } = await this.#call('POST', '/users/', fields);
    assert.equal(status, 201);
    const { id, created_at } = json;
    assert.ok(id > (this.#idsEver.at(-1) ?? 0), 'ids grow');
    assert.equal(headers.get('location'), `/users/${id}`);
    const { name, surname, password } = read(fields) as Fields;
    assert.deepEqual(json, { id, name, surname, created_at, updated_at: created_at });
    const user = { shown: json as User, password, version: 1 };
    this.#users.set(id, user);
    this.#idsEver.push(id);
    this.#expect('created', traceId, user, { changed: ['name', 'surname', 'password'], user: json });
  }

  async #get(id: number): Promise<void> {
    const answer = await this.#call('GET', `/users/${id}`);
    const user = this.#users.get(id);
    if (user === undefined) assertNobody(answer, id);
    else assert.deepEqual([answer.status, answer.json], [200, user.shown]);
  }

  async #put(id: number, change: Partial<Record<keyof Fields, string | null>>): Promise<void> {
    const { traceId, ...answer } = await this.#call('PUT', `/users/${id}`, change);
    const user = this.#users.get(id);
    if (user === undefined) return assertNobody(answer, id);
    const given = read(change);
    const now = { ...user.shown, password: user.password };
    const changed = (['name', 'surname', 'password'] as const).filter((field) => given[field] !== undefined && given[field] !== now[field]);
    const { name, surname, password } = { ...now, ...given };
    const { updated_at } = answer.json;
    if (changed.length === 0) assert.equal(updated_at, now.updated_at, 'no change moves no timestamp');
    else assert.ok(updated_at > now.updated_at, `updated_at grows: ${now.updated_at}, then ${updated_at}`);
    const shown = { id, name, surname, created_at: now.created_at, updated_at };
    assert.deepEqual([answer.status, answer.json], [200, shown]);
    if (changed.length === 0) return;
    const next = { shown, password, version: user.version + 1 };
    this.#users.set(id, next);
    this.#expect('updated', traceId, next, { changed, user: shown });
  }

  async #delete(id: number): Promise<void> {
    const { traceId, ...answer } = await this.#call('DELETE', `/users/${id}`);
    const user = this.#users.get(id);
    if (user === undefined) return assertNobody(answer, id);
    assert.deepEqual([answer.status, answer.json], [200, { message: `User with id ${id} has been deleted` }]);
    this.#users.delete(id);
    this.#expect('deleted', traceId, { ...user, version: user.version + 1 }, {});
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

// As the service is to read them: null is left out, text normalised, names trimmed.
function read(fields: Partial<Record<keyof Fields, string | null>>): Partial<Fields> {
  const given = Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== null && entry[1] !== undefined);
  return Object.fromEntries(given.map(([key, text]) => [key, key === 'password' ? text.normalize('NFC') : text.normalize('NFC').trim()]));
}

function assertNobody({ status, json }: Answer, id: number): void {
  assert.deepEqual([status, json.code, json.detail], [404, 'user_not_found', `User with id ${id} not found`]);
}
