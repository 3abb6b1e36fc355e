// Many clients change a few users at once. Whatever the interleaving, it is as if the changes had been made one after
// another in the order of their versions, and that is the order in which they are told.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import pg from 'pg';
import { createDatabase, keepAnnounced, type TestDatabase } from '../support/database.ts';
import type { Line } from '../support/log.ts';
import { type Answer, startService, type TestService } from '../support/service.ts';

const runs = Number(process.env['MODEL_RUNS'] ?? 60);
const clients = 8;
const users = 2;

type Fields = { name: string; surname: string; password: string };
type Snapshot = { id: number; name: string; surname: string; created_at: string; updated_at: string };
type Announced = {
  event_id: string;
  event_type: string;
  trace_id: string;
  occurred_at: string;
  data: { version: number; changed?: (keyof Fields)[]; user?: Snapshot };
};
/** A request, in the order in which its client sent it. */
type Sent = { readonly traceId: string; readonly id: number; readonly step: Step; readonly answer: Answer };

// So few values that clients often ask for the same, or for what is there already.
const field = fc.constantFrom('Ann', 'Bob');
const password = fc.constantFrom('correct horse', 'battery staple');
const change = fc.record({ name: field, surname: field, password }, { requiredKeys: [], noNullPrototype: true });
const user = fc.nat({ max: users - 1 });
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ method: fc.constant('PUT' as const), user, change }) },
  { weight: 1, arbitrary: fc.record({ method: fc.constant('DELETE' as const), user }) },
);
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never;
const interleaving = fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { minLength: clients, maxLength: clients });

const atFirst: Fields = { name: 'Ann', surname: 'Ann', password: 'correct horse' };
const fields = ['name', 'surname', 'password'] as const;

suite('changes made at once', () => {
  let database: TestDatabase;
  let service: TestService;
  before(async () => {
    database = await createDatabase();
    await keepAnnounced(database);
    service = await startService({}, { database });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('by 8 clients have versions and events as if made one after another', async () => {
    const property = fc.asyncProperty(interleaving, async (plans) => {
      const ids = await Promise.all(Array.from({ length: users }, async () => (await service.createUser(atFirst)).id));
      const histories = await Promise.all(plans.map((plan) => play(plan, ids)));
      for (const id of ids) {
        const events = await announcedOf(id);
        const sent = histories.map((history) => history.filter((one) => one.id === id));
        const states = assertOneAfterAnother(events, sent.flat());
        for (const history of sent) assertNeverBack(history, states);
        assert.equal(await versionOf(id), events.at(-1)?.event_type === 'user.deleted' ? undefined : events.length);
      }
    });
    await fc.assert(property, { numRuns: runs });
  });

  test('have their events handled once, those of each user in that order', async () => {
    const isReceived = ({ event }: Line) => event.startsWith('Received event ') && !event.endsWith(' again');
    const told = await database.query<{ user_id: number; event_ids: string[] }>(
      `select split_part(subject, ':', 2)::int as user_id, array_agg(event_id::text order by position) as event_ids from announced group by subject order by 1`,
    );
    for (const { event_ids } of told) {
      await service.line((line) => isReceived(line) && line['event_id'] === event_ids.at(-1), 'the last event of a user');
    }
    const received = Map.groupBy(service.lines.filter(isReceived), (line) => line['user_id'] as number);
    const handled = told.map(({ user_id }) => ({ user_id, event_ids: received.get(user_id)?.map((line) => line['event_id']) }));
    assert.deepEqual(handled, told);
  });

  test('wait for each other: a PUT is compared with the result of the writer before it', async () => {
    const { id } = await service.createUser(atFirst);
    await using stack = new AsyncDisposableStack();
    const writer = new pg.Client({ connectionString: database.url });
    await writer.connect();
    stack.defer(() => writer.end());
    await writer.query('begin');
    await writer.query(`update "user" set name = 'Bob' where id = $1`, [id]);
    const putting = service.call('PUT', `/users/${id}`, { name: atFirst.name });
    while (
      (await database.query(`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`)).length === 0
    );
    await writer.query('commit');
    assert.equal((await putting).json.name, atFirst.name);
    assert.equal((await service.call('GET', `/users/${id}`)).json.name, atFirst.name);
  });

  async function play(plan: readonly Step[], ids: readonly number[]): Promise<Sent[]> {
    const history: Sent[] = [];
    for (const one of plan) {
      const traceId = randomUUID();
      const id = ids[one.user] as number;
      const body = one.method === 'PUT' ? one.change : undefined;
      const answer = await service.call(one.method, `/users/${id}`, body, { 'x-request-id': traceId });
      history.push({ traceId, id, step: one, answer });
    }
    return history;
  }

  /** In the order of their positions, which is that in which the relay takes them. */
  async function announcedOf(id: number): Promise<Announced[]> {
    return database.query(
      `select event_id, event_type, trace_id, data, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred_at
       from announced where subject = $1 order by position`,
      [`user:${id}`],
    );
  }

  async function versionOf(id: number): Promise<number | undefined> {
    const [row] = await database.query<{ version: string }>('select version from "user" where id = $1', [id]);
    return row && Number(row.version);
  }
});

type State = Fields & { readonly version: number; readonly shown?: Snapshot };

/** Replays the events of one user with the requests that made them. @returns the states, by version */
function assertOneAfterAnother(events: readonly Announced[], sent: readonly Sent[]): State[] {
  assert.deepEqual(
    events.map(({ data }) => data.version),
    events.map((_, n) => n + 1),
    'versions are counted without a gap, in the order of positions',
  );
  assert.ok(
    events.every(({ occurred_at }, n) => occurred_at > (events[n - 1]?.occurred_at ?? '')),
    `time runs with the versions: ${events.map(({ occurred_at }) => occurred_at).join(', ')}`,
  );
  const states: State[] = [];
  for (const { event_type, trace_id, data } of events) {
    const { version, changed, user: shown } = data;
    const before = states.at(-1);
    const request = sent.find(({ traceId }) => traceId === trace_id);
    if (before === undefined) {
      assert.equal(event_type, 'user.created');
      states.push({ ...atFirst, version, ...(shown && { shown }) });
    } else if (request?.step.method === 'PUT') {
      const after = { ...before, ...request.step.change, version, ...(shown && { shown }) };
      const asked = request.step.change;
      const differing = fields.filter(
        // Clients who set the same new password at once each make a hash of it, and so a change.
        (name) => after[name] !== before[name] || (name === 'password' && asked.password !== undefined && changed?.includes(name)),
      );
      assert.deepEqual([event_type, changed], ['user.updated', differing], `version ${version} changes what its request asked for`);
      assert.deepEqual([shown?.name, shown?.surname], [after.name, after.surname]);
      assert.deepEqual(
        fields.filter((name) => name !== 'password' && shown?.[name] !== before.shown?.[name]),
        differing.filter((name) => name !== 'password'),
        'what changed is the difference of one snapshot from the next',
      );
      assert.equal(shown?.created_at, before.shown?.created_at);
      const { last_login_at: _, ...answered } = request.answer.json;
      assert.deepEqual([request.answer.status, answered], [200, shown], 'the answer is the snapshot of its event');
      states.push(after);
    } else {
      assert.deepEqual([event_type, request?.step.method, request?.answer.status], ['user.deleted', 'DELETE', 200]);
      assert.equal(version, events.length, 'nothing comes after a deletion');
    }
  }
  return states;
}

/** Holds what one client saw of a user against the states there were. */
function assertNeverBack(history: readonly Sent[], states: readonly State[]): void {
  let seen = 0;
  for (const {
    step: { method, ...asked },
    answer: { status, json: answered },
  } of history) {
    const { last_login_at: _, ...json } = answered ?? {};
    if (status === 404) seen = Number.POSITIVE_INFINITY;
    else if (method === 'DELETE') seen = states.length + 1;
    else {
      const state = states.find(({ shown }) => shown?.updated_at === json.updated_at);
      assert.deepEqual(json, state?.shown, 'an answer is a state that there was');
      assert.ok(state !== undefined && state.version >= seen, 'a client never sees an earlier version than before');
      const { change: wanted = {} } = asked as { change?: Partial<Fields> };
      assert.deepEqual({ ...state, ...wanted }, state, 'what was asked for is in the answer');
      seen = state.version;
    }
  }
}
