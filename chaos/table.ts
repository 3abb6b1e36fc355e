// The results, for a person to read.
import { longestOutageMs, type Verdict } from './check.ts';
import type { Attempt } from './history.ts';
import type { Outcome, Window } from './run.ts';

export type Result = { readonly name: string; readonly outcome: Outcome; readonly verdict: Verdict };

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const number = (count: number) => (Number.isFinite(count) ? count.toLocaleString('en-US') : 'not known');

/** Of the clients that ask all the time; a fault's own attempts (chaos/faults) come when it comes. */
const outage = (attempts: readonly Attempt[]) => seconds(longestOutageMs(attempts.filter(({ client }) => /^c\d+$/.test(client))));

/** Whether everything held: the verdict, and what no history shows. */
export function passes({ outcome, verdict }: Result): boolean {
  return verdict.passed && outcome.incidents.length === 0;
}

/** Everything about one run. */
export function formatRun({ outcome, verdict }: Result): string {
  const { history, windows, drainMs } = outcome;
  const rows: readonly (readonly [string, string, string?])[] = [
    ['attempted', number(verdict.attempted), 'changes that the clients asked for'],
    ['acknowledged', number(verdict.acknowledged)],
    ['refused', number(verdict.refused), 'the service said that it did nothing'],
    ['unknown', number(verdict.unknown), 'no answer, or an error that says neither'],
    ['events in total', number(verdict.published), 'different ones that reached the broker'],
    ['read', number(verdict.read), 'events that took effect'],
    ['lost', number(verdict.lost), 'must be 0'],
    ['unexpected', number(verdict.unexpected), 'must be 0'],
    ['recovered', number(verdict.recovered), 'unknown to the client, made and announced'],
    ['duplicated on the wire', number(verdict.duplicatedOnWire), 'at least once is promised'],
    ['duplicated at the effect', number(verdict.duplicatedAtEffect), 'must be 0'],
    ['order violations on the wire', number(verdict.orderViolationsOnWire), 'must be 0: first deliveries of one user'],
    ['order violations at the effect', number(verdict.orderViolationsAtEffect), 'must be 0'],
    ['order violations in time', number(verdict.orderViolationsInTime), 'must be 0: acknowledged before the other was asked for'],
    ['longest outage of a client', outage(history.attempts)],
    ['time to drain', seconds(drainMs)],
    ['left in the outbox', number(verdict.outboxDepth), 'must be 0'],
    ['left in the queues', number(verdict.queued), 'must be 0, dead letters and deliveries that wait included'],
    ['faults injected', number(windows.length)],
  ];
  return [...align(rows, [1]), '', ...remarks(outcome, verdict)].join('\n');
}

const eachHeader = [
  'fault',
  'attempted',
  'acked',
  'unknown',
  'events',
  'lost',
  'unexp.',
  'recov.',
  'dup wire',
  'dup effect',
  'order',
  'outage',
  'drain',
  'p99 calm',
  'p99 fault',
  'log/s',
  '',
];

/** A line for each fault alone. */
export function formatEach(results: readonly Result[]): string {
  const rows = results.map((result) => {
    const { name, outcome, verdict } = result;
    const { attempts } = outcome.history;
    const order = verdict.orderViolationsOnWire + verdict.orderViolationsAtEffect + verdict.orderViolationsInTime;
    const skipped = outcome.skipped.get(name);
    if (skipped !== undefined) return [name, ...eachHeader.slice(2).map(() => ''), `SKIPPED: ${skipped}`];
    return [
      name,
      ...[verdict.attempted, verdict.acknowledged, verdict.unknown, verdict.published].map(number),
      ...[verdict.lost, verdict.unexpected, verdict.recovered, verdict.duplicatedOnWire, verdict.duplicatedAtEffect, order].map(number),
      outage(attempts),
      seconds(outcome.drainMs),
      ...p99(attempts, outcome.windows),
      number(outcome.loudest.lines),
      passes(result) ? 'ok' : 'FAILED',
    ];
  });
  const remarksOf = ({ name, outcome, verdict }: Result) => [
    ...[...outcome.incidents, ...verdict.findings].map((words) => `${name}: ${words}`),
    ...outcome.late.map((words) => `late: ${words}`),
  ];
  const columns = eachHeader.map((_, at) => at).slice(1, -1);
  return [...align([eachHeader, ...rows], columns), '', ...results.flatMap(remarksOf)].join('\n');
}

function remarks({ history, windows, skipped, incidents, late, loudest }: Outcome, verdict: Verdict): string[] {
  const answers = Map.groupBy(history.attempts, ({ answer }) => answer);
  const counts = Map.groupBy(windows, ({ fault }) => fault);
  const list = (groups: ReadonlyMap<string, readonly unknown[]>) =>
    [...groups]
      .sort(([, a], [, b]) => b.length - a.length)
      .map(([name, group]) => `${name} ${number(group.length)}`)
      .join(', ');
  return [
    `answers: ${list(answers)}`,
    `faults: ${list(counts)}`,
    `most log lines about one connection of one instance in a second: ${loudest.lines} (${loudest.component})`,
    ...[...skipped].map(([name, reason]) => `SKIPPED ${name}: ${reason}`),
    ...verdict.findings,
    ...incidents.map((words) => `incident: ${words}`),
    ...late.map((words) => `late: ${words}`),
  ];
}

/** Of the answered requests: before the first fault, and during all of them. */
function p99(attempts: readonly Attempt[], windows: readonly Window[]): string[] {
  const first = Math.min(...windows.map(({ startedAt }) => startedAt));
  const times = (chosen: (attempt: Attempt) => boolean) => {
    const sorted = attempts
      .filter((attempt) => attempt.outcome === 'acknowledged' && chosen(attempt))
      .map(({ startedAt, endedAt }) => endedAt - startedAt)
      .sort((a, b) => a - b);
    const at = sorted[Math.floor(sorted.length * 0.99)];
    return at === undefined ? '-' : `${at.toFixed(0)} ms`;
  };
  // The first second or so warms the instances up.
  const calm = times(({ startedAt, endedAt }) => endedAt < first && startedAt > first - 11_000);
  return [calm, times(({ startedAt }) => windows.some((window) => startedAt >= window.startedAt && startedAt <= window.endedAt))];
}

function align(rows: readonly (readonly (string | undefined)[])[], rightAligned: readonly number[]): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [at, cell = ''] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  // The last cell of a row may be long, and pushes nothing.
  return rows.map((row) =>
    row
      .map((cell = '', at) => (rightAligned.includes(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
