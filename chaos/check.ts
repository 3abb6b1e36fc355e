// The verdict over a history, in Jepsen's words: was anything lost, invented, done twice or out of order?
import type { Attempt, Delivery, History, UserRow } from './history.ts';

export type Verdict = {
  /** Changes that were asked for. */
  readonly attempted: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  /** Different events that reached the broker. */
  readonly published: number;
  /** Different events that took effect. */
  readonly read: number;
  /** Changes that were acknowledged or stand in the table, and whose event is missing on the wire or at the effect. */
  readonly lost: number;
  /** Events that nobody asked for, that a refusal forbids, or that tell something else than the table and the attempt. */
  readonly unexpected: number;
  /** Changes that were made, and announced, though the client got no answer or an error. */
  readonly recovered: number;
  readonly duplicatedOnWire: number;
  readonly duplicatedAtEffect: number;
  readonly orderViolationsOnWire: number;
  readonly orderViolationsAtEffect: number;
  /** Of one user: a change that began after another was acknowledged, and has the lower version. */
  readonly orderViolationsInTime: number;
  readonly outboxDepth: number;
  readonly queued: number;
  /** What is wrong, in words; not all of it where it is much. */
  readonly findings: readonly string[];
  readonly passed: boolean;
};

type Finding = 'lost' | 'unexpected' | 'duplicatedAtEffect' | 'orderViolationsOnWire' | 'orderViolationsAtEffect' | 'orderViolationsInTime';

const findingsMax = 20;
const eventTypes = { create: 'user.created', update: 'user.updated', delete: 'user.deleted' } as const;

class Report {
  readonly counts = new Map<Finding, number>();
  readonly words: string[] = [];

  add(finding: Finding, words: string, count = 1): void {
    if (count === 0) return;
    this.counts.set(finding, this.count(finding) + count);
    if (this.words.length < findingsMax) this.words.push(`${finding}: ${words}`);
  }

  count(finding: Finding): number {
    return this.counts.get(finding) ?? 0;
  }
}

export function check(history: History): Verdict {
  const report = new Report();
  const changes = history.attempts.filter(({ kind }) => kind !== 'read');
  const events = collectEvents(history.deliveries, report);
  const handled = collectEffects(history, events, report);
  const eventsOfAttempt = Map.groupBy(events.values(), ({ traceId }) => traceId);

  const lostOfUser = new Map<number | undefined, number>();
  let recovered = 0;
  for (const attempt of changes) {
    const own = eventsOfAttempt.get(attempt.id) ?? [];
    for (const event of own) checkContent(attempt, event, report);
    if (own.length > 1) report.add('duplicatedAtEffect', `${attempt.id} was done ${own.length} times`, own.length - 1);
    if (attempt.outcome === 'refused' && own.length > 0)
      report.add('unexpected', `${attempt.id} was refused (${attempt.answer}) and has an event`);
    if (attempt.outcome === 'unknown' && own.length > 0) recovered += 1;
    if (attempt.outcome !== 'acknowledged' || own.some(({ eventId }) => handled.has(eventId))) continue;
    lostOfUser.set(attempt.userId, (lostOfUser.get(attempt.userId) ?? 0) + 1);
    report.add(
      'lost',
      `${attempt.id} (${attempt.kind} of user ${attempt.userId}) was acknowledged, and ${own.length > 0 ? 'had no effect' : 'has no event'}`,
    );
  }
  const attemptIds = new Set(changes.map(({ id }) => id));
  for (const [traceId, own] of eventsOfAttempt) {
    if (!attemptIds.has(traceId)) report.add('unexpected', `nobody attempted ${traceId}, which has ${own.length} event(s)`, own.length);
  }

  const eventsOfUser = Map.groupBy(events.values(), ({ userId }) => userId);
  const rows = new Map(history.users.map((user) => [user.id, user]));
  for (const userId of new Set([...eventsOfUser.keys(), ...rows.keys()])) {
    const missing = checkUser(userId, eventsOfUser.get(userId) ?? [], handled, rows.get(userId), report);
    // A change that was acknowledged and has no event is missing among the versions too: it counts once.
    const further = missing.length - (lostOfUser.get(userId) ?? 0);
    if (further > 0) report.add('lost', `of user ${userId} version(s) ${missing.join(', ')} have no event or no effect`, further);
  }

  if (history.total !== history.users.length)
    report.add('unexpected', `the list has a total of ${history.total}, and the table ${history.users.length} users`);

  const duplicatedOnWire = checkWireOrder(history.deliveries, report);
  checkEffectOrder(history, events, report);
  checkTimeOrder(changes, eventsOfAttempt, report);

  const left = history.outboxDepth > 0 || history.queued > 0;
  if (left)
    report.words.unshift(
      `left: ${history.outboxDepth} event(s) in the outbox, ${history.queued} message(s) in the queues, waiting or given up`,
    );
  return {
    attempted: changes.length,
    acknowledged: changes.filter(({ outcome }) => outcome === 'acknowledged').length,
    refused: changes.filter(({ outcome }) => outcome === 'refused').length,
    unknown: changes.filter(({ outcome }) => outcome === 'unknown').length,
    published: events.size,
    read: handled.size,
    lost: report.count('lost'),
    unexpected: report.count('unexpected'),
    recovered,
    duplicatedOnWire,
    duplicatedAtEffect: report.count('duplicatedAtEffect'),
    orderViolationsOnWire: report.count('orderViolationsOnWire'),
    orderViolationsAtEffect: report.count('orderViolationsAtEffect'),
    orderViolationsInTime: report.count('orderViolationsInTime'),
    outboxDepth: history.outboxDepth,
    queued: history.queued,
    findings: report.words,
    passed: report.counts.size === 0 && !left,
  };
}

/** One delivery of each event. Two that say different things under one id are a fault. */
function collectEvents(deliveries: readonly Delivery[], report: Report): Map<string, Delivery> {
  const events = new Map<string, Delivery>();
  for (const delivery of deliveries) {
    const first = events.get(delivery.eventId);
    if (first === undefined) events.set(delivery.eventId, delivery);
    else if (!(['eventType', 'traceId', 'userId', 'version', 'name'] as const).every((key) => first[key] === delivery[key])) {
      report.add('unexpected', `event ${delivery.eventId} came with two contents`);
    }
  }
  return events;
}

function collectEffects(history: History, events: ReadonlyMap<string, Delivery>, report: Report): Set<string> {
  const handled = new Set<string>();
  for (const { eventId, traceId } of history.effects) {
    if (handled.has(eventId)) report.add('duplicatedAtEffect', `event ${eventId} took effect again`);
    handled.add(eventId);
    const event = events.get(eventId);
    if (event === undefined) report.add('unexpected', `event ${eventId} of ${traceId} took effect and was never on the wire`);
    else if (event.traceId !== traceId)
      report.add('unexpected', `event ${eventId} took effect under trace id ${traceId}, not ${event.traceId}`);
  }
  return handled;
}

function checkContent(attempt: Attempt, event: Delivery, report: Report): void {
  const { id, kind, userId, name } = attempt;
  const faults = [
    kind !== 'read' && event.eventType !== eventTypes[kind] && `is a ${event.eventType}`,
    userId !== undefined && event.userId !== userId && `tells of user ${event.userId}, not ${userId}`,
    event.name !== undefined && event.name !== name && `tells the name "${event.name}", not "${name}"`,
  ].filter((fault) => fault !== false);
  if (faults.length > 0) report.add('unexpected', `the event of ${id} (${kind}) ${faults.join(' and ')}`);
}

/** @returns the versions from 1 to the last that are missing on the wire or at the effect */
function checkUser(
  userId: number,
  events: readonly Delivery[],
  handled: ReadonlySet<string>,
  row: UserRow | undefined,
  report: Report,
): number[] {
  const versions = Map.groupBy(events, ({ version }) => version);
  for (const [version, own] of versions) {
    if (own.length > 1) report.add('unexpected', `version ${version} of user ${userId} has ${own.length} different events`);
    const wrongPlace = own.some(({ eventType }) => (eventType === eventTypes.create) !== (version === 1));
    if (wrongPlace) report.add('unexpected', `version ${version} of user ${userId} is a ${own[0]?.eventType}`);
  }
  const lastVersion = Math.max(0, ...versions.keys());
  const last = versions.get(lastVersion)?.[0];
  const deletion = events.find(({ eventType }) => eventType === eventTypes.delete);
  if (deletion !== undefined && deletion.version !== lastVersion) {
    report.add('unexpected', `user ${userId} was deleted as version ${deletion.version} and goes on to ${lastVersion}`);
  }
  const missing = Array.from({ length: Math.max(lastVersion, row?.version ?? 0) }, (_, at) => at + 1).filter(
    (version) => !versions.get(version)?.some(({ eventId }) => handled.has(eventId)),
  );
  if (row === undefined) {
    // The user is gone, and nobody was told.
    return deletion === undefined ? [...missing, lastVersion + 1] : missing;
  }
  if (deletion !== undefined) report.add('unexpected', `user ${userId} was announced as deleted and is in the table`);
  else if (lastVersion > row.version)
    report.add('unexpected', `user ${userId} is at version ${row.version}, and version ${lastVersion} was announced`);
  else if (last?.version === row.version && last.name !== undefined && last.name !== row.name) {
    report.add('unexpected', `user ${userId} is called "${row.name}" in the table and "${last.name}" in its last event`);
  }
  return missing;
}

/** @returns how many deliveries were not the first of their event */
function checkWireOrder(deliveries: readonly Delivery[], report: Report): number {
  // Published while the harness's queue was not bound, and perhaps the service's was: what that queue gets of them later was sent again.
  const traced = new Set(deliveries.filter(({ source }) => source === 'trace').map(({ eventId }) => eventId));
  const seen = new Set<string>();
  const latest = new Map<number, number>();
  let duplicates = 0;
  for (const { eventId, userId, version, source, redelivered } of deliveries) {
    if (source !== 'queue') continue;
    if (seen.has(eventId)) {
      // The broker may give the harness again what it had not acknowledged: that was published once.
      if (!redelivered) duplicates += 1;
      continue;
    }
    seen.add(eventId);
    if (traced.has(eventId)) continue;
    const before = latest.get(userId) ?? 0;
    if (version < before) report.add('orderViolationsOnWire', `version ${version} of user ${userId} came after ${before}`);
    latest.set(userId, Math.max(version, before));
  }
  return duplicates;
}

function checkEffectOrder(history: History, events: ReadonlyMap<string, Delivery>, report: Report): void {
  const latest = new Map<number, number>();
  for (const { eventId } of history.effects) {
    const event = events.get(eventId);
    if (event === undefined) continue;
    const before = latest.get(event.userId) ?? 0;
    if (event.version < before)
      report.add('orderViolationsAtEffect', `version ${event.version} of user ${event.userId} took effect after ${before}`);
    latest.set(event.userId, Math.max(event.version, before));
  }
}

function checkTimeOrder(changes: readonly Attempt[], eventsOfAttempt: ReadonlyMap<string, readonly Delivery[]>, report: Report): void {
  const made = changes.flatMap((attempt) =>
    (eventsOfAttempt.get(attempt.id) ?? []).map(({ userId, version }) => ({ attempt, userId, version })),
  );
  for (const [userId, own] of Map.groupBy(made, (change) => change.userId)) {
    let latestStart = -Infinity;
    for (const { attempt, version } of own.sort((a, b) => a.version - b.version)) {
      if (attempt.outcome === 'acknowledged' && attempt.endedAt < latestStart) {
        report.add(
          'orderViolationsInTime',
          `version ${version} of user ${userId} was acknowledged before an earlier version was asked for`,
        );
      }
      latestStart = Math.max(latestStart, attempt.startedAt);
    }
  }
}

/** The longest time that a client went without an answer that told it the truth: a success, or a refusal that is none of the service's fault. */
export function longestOutageMs(attempts: readonly Attempt[]): number {
  let longest = 0;
  for (const own of Map.groupBy(attempts, ({ client }) => client).values()) {
    let answeredAt: number | undefined;
    for (const { outcome, answer, endedAt } of own.sort((a, b) => a.endedAt - b.endedAt)) {
      const served = outcome === 'acknowledged' || /^4\d\d/.test(answer);
      if (answeredAt !== undefined) longest = Math.max(longest, endedAt - answeredAt);
      if (served || answeredAt === undefined) answeredAt = endedAt;
    }
  }
  return longest;
}
