// What /metrics shows of the pool for lists and writes.
import { addGauge, type Registry } from '../telemetry/metrics.ts';
import type { Pool } from './client.ts';

export function addPoolMetrics(registry: Registry, pool: Pick<Pool, 'size' | 'idle' | 'waiting'>): void {
  addGauge(registry, 'rollcall_database_connections', 'Open connections of the pool for lists and writes.', () => pool.size);
  addGauge(registry, 'rollcall_database_connections_idle', 'Connections of that pool that nobody uses.', () => pool.idle);
  addGauge(registry, 'rollcall_database_waiting', 'Requests that wait for a connection of that pool.', () => pool.waiting);
}
