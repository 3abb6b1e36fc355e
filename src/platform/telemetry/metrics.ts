// The registry of /metrics. What it shows is declared by its owners: a registry for each system, so that two in one process do not add up.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { droppedLines } from './output.ts';

export type { Registry };

export function createRegistry(build: { name: string; version: string }): Registry {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'rollcall_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['name', 'version', 'node'],
    registers,
  }).set({ name: build.name, version: build.version, node: process.version }, 1);
  const dropped = new Counter({
    name: 'rollcall_log_lines_dropped_total',
    help: 'Log lines that were not written, since nobody took them or stdout is closed; of the process.',
    registers,
    collect: () => {
      dropped.reset();
      dropped.inc(droppedLines());
    },
  });
  return registry;
}

export function createCounter(registry: Registry, name: string, help: string): Counter {
  return new Counter({ name, help, registers: [registry] });
}

/** @param read is called for each scrape; where it answers undefined, the last value stays */
export function addGauge(
  registry: Registry,
  name: string,
  help: string,
  read: () => number | undefined | Promise<number | undefined>,
): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    async collect() {
      const value = await read();
      if (value !== undefined) this.set(value);
    },
  });
}

/** @param buckets upper bounds, in the unit of the name */
export function createHistogram<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly Label[],
  buckets: readonly number[],
): Histogram<Label> {
  return new Histogram({ name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] });
}
