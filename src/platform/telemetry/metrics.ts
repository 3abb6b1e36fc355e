// Every metric that /metrics shows, by name. A registry for each system, so that two in one process do not add up.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { coalesce } from '../runtime/coalesce.ts';
import { droppedLines } from './output.ts';

/** One measurement answers every scrape of this time, and all its gauges. */
const backlogKeptMs = 250;

export type Metrics = ReturnType<typeof createMetrics>;

/** What is read when /metrics is asked, not counted as it happens. */
export type Gauges = {
  pool(): { total: number; idle: number; waiting: number };
  passwordsWaiting(): number;
  /** May fail or be slow where PostgreSQL is away: then the two gauges keep their last value. */
  backlog(): Promise<{ depth: number; oldestSeconds: number; deadRows: number }>;
  brokerConnected(): boolean;
  streamsOpen(): number;
};

export function createMetrics(build: { name: string; version: string }) {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  new Gauge({
    name: 'rollcall_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['name', 'version', 'node'],
    registers,
  }).set({ name: build.name, version: build.version, node: process.version }, 1);

  const requests = new Histogram({
    name: 'rollcall_http_request_duration_seconds',
    help: 'Time from the headers of a request to the end of its answer, by route and status class.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  const counter = (name: string, help: string) => new Counter({ name, help, registers });

  const dropped = new Counter({
    name: 'rollcall_log_lines_dropped_total',
    help: 'Log lines that were not written, since nobody took them or stdout is closed; of the process.',
    registers,
    collect: () => {
      dropped.reset();
      dropped.inc(droppedLines());
    },
  });

  return {
    registry,
    requests,
    connections: new Gauge({ name: 'rollcall_http_connections', help: 'Open connections of callers.', registers }),
    published: counter('rollcall_events_published_total', 'Events that the broker confirmed and routed.'),
    unroutable: counter(
      'rollcall_events_unroutable_total',
      'Events that the broker gave back, since no queue is bound for them; each attempt counts.',
    ),
    handled: counter('rollcall_events_handled_total', 'Events whose effect a subscription committed.'),
    duplicate: counter('rollcall_events_duplicate_total', 'Deliveries of an event that had been handled before.'),
    caughtUp: counter(
      'rollcall_events_caught_up_total',
      'Of the handled events, those that the consumer took from the log, since a later one of their subject was delivered first.',
    ),
    stale: counter(
      'rollcall_events_stale_total',
      'Events that came after a later version of their subject whose effect contains theirs, and were dropped.',
    ),
    retried: counter('rollcall_events_retried_total', 'Deliveries that failed and were put off.'),
    parked: counter('rollcall_events_parked_total', 'Events of a type that this version does not know, kept for one that does.'),
    deadLettered: counter('rollcall_events_dead_lettered_total', 'Events that a subscription gave up on.'),

    /** Ties the gauges to what they read, once it runs. */
    watch(gauges: Gauges): void {
      const gauge = (name: string, help: string, read: () => number) =>
        new Gauge({
          name,
          help,
          registers,
          collect() {
            this.set(read());
          },
        });
      const measure = coalesce(() => gauges.backlog(), backlogKeptMs);
      const backlogGauge = (name: string, help: string, read: (backlog: Awaited<ReturnType<Gauges['backlog']>>) => number) =>
        new Gauge({
          name,
          help,
          registers,
          async collect() {
            const backlog = await measure().catch(() => undefined);
            if (backlog !== undefined) this.set(read(backlog));
          },
        });
      gauge('rollcall_database_connections', 'Open connections of the pool for lists and writes.', () => gauges.pool().total);
      gauge('rollcall_database_connections_idle', 'Connections of that pool that nobody uses.', () => gauges.pool().idle);
      gauge('rollcall_database_waiting', 'Requests that wait for a connection of that pool.', () => gauges.pool().waiting);
      gauge('rollcall_password_hash_waiting', 'Passwords that wait for a hashing thread.', () => gauges.passwordsWaiting());
      gauge('rollcall_streams_open', 'Streams of events and of users that are open.', () => gauges.streamsOpen());
      gauge('rollcall_broker_connected', '1 while the relay can publish.', () => (gauges.brokerConnected() ? 1 : 0));
      backlogGauge('rollcall_outbox_depth', 'Events that were committed and are not yet published.', ({ depth }) => depth);
      backlogGauge(
        'rollcall_outbox_oldest_age_seconds',
        'Age of the event that has waited longest to be published; 0 if none waits.',
        ({ oldestSeconds }) => oldestSeconds,
      );
      backlogGauge(
        'rollcall_outbox_dead_rows',
        'Dead rows of the tables that events pass through; autovacuum keeps them few.',
        ({ deadRows }) => deadRows,
      );
    },
  };
}
