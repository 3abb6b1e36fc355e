// What /metrics shows of the way of an event.
import { coalesce } from '../runtime/coalesce.ts';
import { addGauge, createCounter, type Registry } from '../telemetry/metrics.ts';
import type { Backlog } from './store/backlog.ts';

export type EventMetrics = ReturnType<typeof createEventMetrics>;

/** One measurement answers every scrape of this time, and all its gauges. */
const backlogKeptMs = 250;

export function createEventMetrics(registry: Registry) {
  const counter = (name: string, help: string) => createCounter(registry, `rollcall_events_${name}_total`, help);
  return {
    published: counter('published', 'Events that the broker confirmed and routed.'),
    unroutable: counter('unroutable', 'Events that the broker gave back, since no queue is bound for them; each attempt counts.'),
    handled: counter('handled', 'Events whose effect a subscription committed.'),
    duplicate: counter('duplicate', 'Deliveries of an event that had been handled before.'),
    caughtUp: counter(
      'caught_up',
      'Of the handled events, those that the consumer took from the log, since a later one of their subject was delivered first.',
    ),
    stale: counter('stale', 'Events that came after a later version of their subject whose effect contains theirs, and were dropped.'),
    retried: counter('retried', 'Deliveries that failed and were put off.'),
    parked: counter('parked', 'Events of a type that this version does not know, kept for one that does.'),
    deadLettered: counter('dead_lettered', 'Events that a subscription gave up on.'),
  };
}

/** @param read may fail or be slow where PostgreSQL is away: then the gauges keep their last value */
export function addBacklogMetrics(registry: Registry, read: () => Promise<Backlog>): void {
  const measure = coalesce(read, backlogKeptMs);
  const gauge = (name: string, help: string, of: (backlog: Backlog) => number) =>
    addGauge(registry, `rollcall_outbox_${name}`, help, () => measure().then(of, () => undefined));
  gauge('depth', 'Events that were committed and are not yet published.', ({ depth }) => depth);
  gauge(
    'oldest_age_seconds',
    'Age of the event that has waited longest to be published; 0 if none waits.',
    ({ oldestSeconds }) => oldestSeconds,
  );
  gauge('dead_rows', 'Dead rows of the tables that events pass through; autovacuum keeps them few.', ({ deadRows }) => deadRows);
}

export function addBrokerMetrics(registry: Registry, isConnected: () => boolean): void {
  addGauge(registry, 'rollcall_broker_connected', '1 while the relay can publish.', () => (isConnected() ? 1 : 0));
}
