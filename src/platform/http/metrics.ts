// What /metrics shows of the HTTP server.
import { addGauge, createHistogram, type Registry } from '../telemetry/metrics.ts';

export type HttpMetrics = ReturnType<typeof createHttpMetrics>;

export function createHttpMetrics(registry: Registry) {
  const connections = { open: 0 };
  addGauge(registry, 'rollcall_http_connections', 'Open connections of callers.', () => connections.open);
  return {
    connections,
    requests: createHistogram(
      registry,
      'rollcall_http_request_duration_seconds',
      'Time from the headers of a request to the end of its answer, by route and status class.',
      ['method', 'route', 'status'],
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    ),
  };
}

export function addStreamMetrics(registry: Registry, streams: { readonly open: number }): void {
  addGauge(registry, 'rollcall_streams_open', 'Streams of events and of users that are open.', () => streams.open);
}
