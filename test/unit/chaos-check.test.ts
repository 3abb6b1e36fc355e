// The checker of the chaos run: a history in which all is well passes, and each kind of wrong fails under its own name.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { check, longestOutageMs, type Verdict } from '../../chaos/check.ts';
import type { Attempt, Delivery, Effect, History, UserRow } from '../../chaos/history.ts';

type Story = {
  attempts: Attempt[];
  deliveries: Delivery[];
  effects: Effect[];
  users: UserRow[];
  total?: number;
  outboxDepth: number;
  queued: number;
};
type Kind = 'create' | 'update' | 'delete';

/** Tells a history change by change; a test then takes something away, adds something or swaps something. */
class Teller {
  readonly story: Story = { attempts: [], deliveries: [], effects: [], users: [], outboxDepth: 0, queued: 0 };
  #clock = 0;

  attempt(id: string, kind: Kind, userId: number | undefined, fields: Partial<Attempt> = {}): this {
    this.#clock += 10;
    this.story.attempts.push({
      id,
      client: 'c1',
      instance: 'rollcall-1',
      kind,
      userId,
      ...(kind !== 'delete' && { name: id }),
      startedAt: this.#clock,
      endedAt: this.#clock + 5,
      outcome: 'acknowledged',
      answer: '200',
      ...fields,
    });
    return this;
  }

  event(id: string, kind: Kind, userId: number, version: number, fields: Partial<Delivery> = {}): this {
    const eventType = { create: 'user.created', update: 'user.updated', delete: 'user.deleted' }[kind];
    this.story.deliveries.push({
      eventId: `event of ${id}`,
      eventType,
      traceId: id,
      userId,
      version,
      ...(kind !== 'delete' && { name: id }),
      receivedAt: this.#clock,
      source: 'queue',
      redelivered: false,
      ...fields,
    });
    this.story.effects.push({ eventId: fields.eventId ?? `event of ${id}`, traceId: fields.traceId ?? id });
    return this;
  }

  change(id: string, kind: Kind, userId: number, version: number): this {
    return this.attempt(id, kind, userId).event(id, kind, userId, version);
  }
}

/** The total of the list is that of the table, where the story says nothing else. */
const judge = (story: Story): Verdict => check({ total: story.users.length, ...story } satisfies History);

/** User 1 is made, changed twice and stays; user 2 is made and deleted. */
function good(): Story {
  const teller = new Teller()
    .change('a', 'create', 1, 1)
    .change('b', 'update', 1, 2)
    .change('c', 'create', 2, 1)
    .change('d', 'update', 1, 3)
    .change('e', 'delete', 2, 2);
  teller.story.users.push({ id: 1, version: 3, name: 'd' });
  return teller.story;
}

function told(change: (story: Story) => void): Verdict {
  const story = good();
  change(story);
  return judge(story);
}

function tell(change: (teller: Teller) => void): Verdict {
  const teller = new Teller();
  Object.assign(teller.story, good());
  change(teller);
  return judge(teller.story);
}

const without = <Item>(items: Item[], matches: (item: Item) => boolean) => {
  const at = items.findIndex(matches);
  assert.notEqual(at, -1);
  items.splice(at, 1);
};

function swap<Item>(items: Item[], one: number, other: number): void {
  [items[one], items[other]] = [items[other] as Item, items[one] as Item];
}

/** Of a verdict that failed, the counts that are not 0, among those that must be. */
function faults(verdict: Verdict): Partial<Verdict> {
  assert.equal(verdict.passed, false);
  const {
    lost,
    unexpected,
    duplicatedAtEffect,
    orderViolationsOnWire,
    orderViolationsAtEffect,
    orderViolationsInTime,
    outboxDepth,
    queued,
  } = verdict;
  const counts = {
    lost,
    unexpected,
    duplicatedAtEffect,
    orderViolationsOnWire,
    orderViolationsAtEffect,
    orderViolationsInTime,
    outboxDepth,
    queued,
  };
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

suite('the chaos checker passes', () => {
  test('a history in which every change was acknowledged, announced and handled, in order', () => {
    const verdict = judge(good());
    assert.deepEqual(verdict.findings, []);
    assert.equal(verdict.passed, true);
    assert.deepEqual(
      [verdict.attempted, verdict.acknowledged, verdict.published, verdict.read, verdict.recovered, verdict.duplicatedOnWire],
      [5, 5, 5, 5, 0, 0],
    );
  });

  test('a history in which nothing happened', () => {
    assert.equal(judge(new Teller().story).passed, true);
  });

  test('a change without an answer, committed or not, and counts those committed', () => {
    const verdict = tell((teller) => {
      teller.attempt('f', 'update', 1, { outcome: 'unknown' }).event('f', 'update', 1, 4);
      teller.attempt('g', 'update', 1, { outcome: 'unknown' });
      teller.attempt('h', 'create', undefined, { outcome: 'unknown' }).event('h', 'create', 3, 1);
      teller.story.users.splice(0, 1, { id: 1, version: 4, name: 'f' }, { id: 3, version: 1, name: 'h' });
    });
    assert.deepEqual(verdict.findings, []);
    assert.deepEqual([verdict.passed, verdict.unknown, verdict.recovered], [true, 3, 2]);
  });

  test('a refusal without an event', () => {
    const verdict = tell((teller) => teller.attempt('f', 'update', 9, { outcome: 'refused', answer: '404 user_not_found' }));
    assert.deepEqual([verdict.passed, verdict.refused], [true, 1]);
  });

  test('an event that came twice on the wire, also late, and counts it unless the broker only gave it to the harness again', () => {
    const verdict = told(({ deliveries }) => {
      const [first, second] = deliveries as [Delivery, Delivery];
      deliveries.push(first, { ...second, redelivered: true });
    });
    assert.deepEqual([verdict.passed, verdict.duplicatedOnWire], [true, 1]);
  });

  test("where the harness's queue was not bound at first, and gets the event when it is sent again", () => {
    const verdict = told(({ deliveries }) => {
      const first = { ...(deliveries[1] as Delivery), source: 'trace' } as const;
      swap(deliveries, 1, 3);
      deliveries.unshift(first);
    });
    assert.equal(verdict.passed, true);
  });

  test('an event that is known from the trace only', () => {
    const verdict = told(({ deliveries }) => {
      const seen = { ...(deliveries[1] as Delivery), source: 'trace' } as const;
      deliveries.splice(1, 1, seen, seen, seen);
    });
    assert.deepEqual([verdict.passed, verdict.duplicatedOnWire, verdict.published], [true, 0, 5]);
  });

  test('events of EVENT_PAYLOAD=id, which have no names', () => {
    const verdict = told((story) => {
      story.deliveries = story.deliveries.map(({ name: _, ...rest }) => rest);
    });
    assert.equal(verdict.passed, true);
  });
});

suite('the chaos checker fails', () => {
  test('where the total of the list is not the number of rows', () => {
    const verdict = told((story) => {
      story.total = 2;
    });
    assert.deepEqual(faults(verdict), { unexpected: 1 });
    assert.match(verdict.findings.join(), /the list has a total of 2, and the table 1 users/);
  });

  test('where an acknowledged change has no event', () => {
    const verdict = told(({ deliveries, effects }) => {
      without(deliveries, ({ traceId }) => traceId === 'b');
      without(effects, ({ traceId }) => traceId === 'b');
    });
    assert.deepEqual(faults(verdict), { lost: 1 });
    assert.match(verdict.findings.join(), /b \(update of user 1\) was acknowledged, and has no event/);
  });

  test('where the last change of a user has no event, though no gap shows it', () => {
    const verdict = told(({ deliveries, effects }) => {
      without(deliveries, ({ traceId }) => traceId === 'd');
      without(effects, ({ traceId }) => traceId === 'd');
    });
    assert.deepEqual(faults(verdict), { lost: 1 });
  });

  test('where an event reached the wire and never took effect', () => {
    const verdict = told(({ effects }) => without(effects, ({ traceId }) => traceId === 'c'));
    assert.deepEqual(faults(verdict), { lost: 1 });
  });

  test('where an event took effect and was never on the wire', () => {
    const verdict = told(({ deliveries }) => without(deliveries, ({ traceId }) => traceId === 'b'));
    assert.deepEqual(faults(verdict), { lost: 1, unexpected: 1 });
  });

  test('where a change without an answer was committed and not published', () => {
    const verdict = tell((teller) => {
      teller.attempt('f', 'update', 1, { outcome: 'unknown' });
      teller.story.users = [{ id: 1, version: 4, name: 'f' }];
    });
    assert.deepEqual(faults(verdict), { lost: 1 });
  });

  test('where a user in the table was never announced', () => {
    const verdict = tell((teller) => {
      teller.attempt('f', 'create', undefined, { outcome: 'unknown' });
      teller.story.users.push({ id: 3, version: 1, name: 'f' });
    });
    assert.deepEqual(faults(verdict), { lost: 1 });
  });

  test('where a user is gone and its deletion was not announced', () => {
    const verdict = told((story) => {
      story.users = [];
    });
    assert.deepEqual(faults(verdict), { lost: 1 });
  });

  test('where a user without acknowledged changes lacks a version in the middle', () => {
    const verdict = tell((teller) => {
      for (const [at, id] of ['f', 'g', 'h'].entries()) {
        teller.attempt(id, at === 0 ? 'create' : 'update', at === 0 ? undefined : 3, { outcome: 'unknown' });
        if (id !== 'g') teller.event(id, at === 0 ? 'create' : 'update', 3, at + 1);
      }
      teller.story.users.push({ id: 3, version: 3, name: 'h' });
    });
    assert.deepEqual(faults(verdict), { lost: 1 });
    assert.match(verdict.findings.join(), /of user 3 version\(s\) 2/);
  });

  test('where an event has a trace id that no attempt had', () => {
    const verdict = tell((teller) => {
      teller.event('nobody', 'update', 1, 4);
      teller.story.users = [{ id: 1, version: 4, name: 'nobody' }];
    });
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  test('where a refused attempt has an event', () => {
    const verdict = told((story) => {
      story.attempts = story.attempts.map((attempt) =>
        attempt.id === 'b' ? { ...attempt, outcome: 'refused', answer: '503 overloaded' } : attempt,
      );
    });
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  test('where an announced change is not in the table', () => {
    const verdict = told((story) => {
      story.users = [{ id: 1, version: 2, name: 'b' }];
    });
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  test('where a user was announced as deleted and is in the table', () => {
    const verdict = told(({ users }) => users.push({ id: 2, version: 2, name: 'c' }));
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  test('where the last event and the table differ', () => {
    const verdict = told((story) => {
      story.users = [{ id: 1, version: 3, name: 'somebody else' }];
    });
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  for (const [what, wrong] of [
    ['name', { name: 'somebody else' }],
    ['type', { eventType: 'user.deleted' }],
  ] as const) {
    test(`where an event has a wrong ${what}`, () => {
      const verdict = told(({ deliveries }) => deliveries.splice(1, 1, { ...(deliveries[1] as Delivery), ...wrong }));
      assert.ok((faults(verdict).unexpected ?? 0) > 0);
    });
  }

  test('where an event has another user than its attempt', () => {
    const verdict = tell((teller) => {
      teller.attempt('f', 'update', 1).event('f', 'update', 7, 1);
    });
    assert.ok((faults(verdict).unexpected ?? 0) > 0);
  });

  test('where one event id comes with two contents', () => {
    const verdict = told(({ deliveries }) => deliveries.push({ ...(deliveries[1] as Delivery), version: 3 }));
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  test('where two events have one version', () => {
    const verdict = tell((teller) => {
      teller.attempt('f', 'update', 1, { outcome: 'unknown' }).event('f', 'update', 1, 3);
    });
    assert.ok((faults(verdict).unexpected ?? 0) > 0);
  });

  test('where an effect carries a trace id that its event does not', () => {
    const verdict = told(({ effects }) => effects.splice(1, 1, { eventId: 'event of b', traceId: 'c' }));
    assert.deepEqual(faults(verdict), { unexpected: 1 });
  });

  test('where an event took effect twice', () => {
    const verdict = told(({ effects }) => effects.push({ eventId: 'event of b', traceId: 'b' }));
    assert.equal(faults(verdict).duplicatedAtEffect, 1);
  });

  test('where one attempt was committed twice', () => {
    const verdict = tell((teller) => {
      teller.attempt('f', 'create', 3).event('f', 'create', 3, 1).event('f', 'create', 4, 1, { eventId: 'event of f again' });
      teller.story.users.push({ id: 3, version: 1, name: 'f' }, { id: 4, version: 1, name: 'f' });
    });
    assert.equal(faults(verdict).duplicatedAtEffect, 1);
  });

  test('where a later version of a user came first on the wire', () => {
    const verdict = told(({ deliveries }) => swap(deliveries, 1, 3));
    assert.deepEqual(faults(verdict), { orderViolationsOnWire: 1 });
  });

  test('where a later version of a user took effect first', () => {
    const verdict = told(({ effects }) => swap(effects, 1, 3));
    assert.deepEqual(faults(verdict), { orderViolationsAtEffect: 1 });
  });

  test('where a change that was acknowledged before another was asked for has the higher version', () => {
    const verdict = told(({ attempts }) => {
      const [b, d] = [attempts[1] as Attempt, attempts[3] as Attempt];
      attempts.splice(1, 1, { ...b, startedAt: d.startedAt, endedAt: d.endedAt });
      attempts.splice(3, 1, { ...d, startedAt: b.startedAt, endedAt: b.endedAt });
    });
    assert.deepEqual(faults(verdict), { orderViolationsInTime: 1 });
  });

  test('where the outbox or a queue is not empty, or unknown', () => {
    for (const depth of [3, Number.POSITIVE_INFINITY]) {
      assert.deepEqual(faults(told((story) => Object.assign(story, { outboxDepth: depth }))), { outboxDepth: depth });
    }
    assert.deepEqual(faults(told((story) => Object.assign(story, { queued: 1 }))), { queued: 1 });
  });
});

test('the longest outage is that of one client, from its last answer to its next', () => {
  const at = (client: string, endedAt: number, answer = '200'): Attempt => ({
    id: `${client}-${endedAt}`,
    client,
    instance: 'rollcall-1',
    kind: 'read',
    startedAt: endedAt - 5,
    endedAt,
    outcome: answer === '200' ? 'acknowledged' : 'unknown',
    answer,
  });
  assert.equal(longestOutageMs([]), 0);
  assert.equal(longestOutageMs([at('c1', 0), at('c2', 500), at('c1', 1000)]), 1000);
  assert.equal(longestOutageMs([at('c1', 0), at('c1', 100, 'ECONNRESET'), at('c1', 300, '503 database_unavailable'), at('c1', 700)]), 700);
  assert.equal(longestOutageMs([at('c1', 0), at('c1', 100, '404 user_not_found'), at('c1', 300)]), 200);
  // Still away when the load ended.
  assert.equal(longestOutageMs([at('c1', 0), at('c1', 900, 'ECONNRESET')]), 900);
});
