// Every fault that can be injected.
import type { Fault } from './fault.ts';
import { postgresFaults } from './faults/postgres.ts';
import { processFaults } from './faults/processes.ts';
import { brokerFaults } from './faults/rabbitmq.ts';
import { readerFaults } from './faults/readers.ts';

export const faults: readonly Fault[] = [...processFaults, ...postgresFaults, ...brokerFaults, ...readerFaults];

/** @param names separated by commas, or `all` @throws TypeError naming what it does not know */
export function chooseFaults(names: string): Fault[] {
  if (names === 'all') return [...faults];
  const wanted = names.split(',').map((name) => name.trim());
  const unknown = wanted.filter((name) => !faults.some((fault) => fault.name === name));
  if (unknown.length > 0) throw new TypeError(`--faults does not know ${unknown.join(', ')}; --list shows what it knows`);
  return faults.filter(({ name }) => wanted.includes(name));
}
