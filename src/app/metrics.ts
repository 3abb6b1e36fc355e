// Every metric of the service, by its owners.
import { addPoolMetrics } from '../platform/db/metrics.ts';
import { addBacklogMetrics, addBrokerMetrics, createEventMetrics } from '../platform/events/metrics.ts';
import { addStreamMetrics, createHttpMetrics } from '../platform/http/metrics.ts';
import { addGauge, createRegistry } from '../platform/telemetry/metrics.ts';

/** What is read when /metrics is asked, not counted as it happens. */
export type Sources = {
  readonly pool: Parameters<typeof addPoolMetrics>[1];
  readonly passwords: { readonly waiting: number };
  readonly streams: Parameters<typeof addStreamMetrics>[1];
  readonly backlog: Parameters<typeof addBacklogMetrics>[1];
  readonly isBrokerConnected: () => boolean;
};

export function createMetrics(build: { name: string; version: string }) {
  const registry = createRegistry(build);
  return {
    registry,
    http: createHttpMetrics(registry),
    events: createEventMetrics(registry),
    /** Adds what is read at each scrape, once its source runs. */
    watch({ pool, passwords, streams, backlog, isBrokerConnected }: Sources): void {
      addPoolMetrics(registry, pool);
      addGauge(registry, 'rollcall_password_hash_waiting', 'Passwords that wait for a hashing thread.', () => passwords.waiting);
      addStreamMetrics(registry, streams);
      addBacklogMetrics(registry, backlog);
      addBrokerMetrics(registry, isBrokerConnected);
    },
  };
}
