// Checks events against the schemas of their definitions: the same values that the AsyncAPI document shows.
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { EventDefinition } from './envelope.ts';

/** @returns a function that says in a few words why a value is no event of these definitions, or undefined if it is one */
export function createEventCheck(definitions: readonly EventDefinition[]): (event: unknown) => string | undefined {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  addFormats.default(ajv);
  const checks = new Map(definitions.map(({ type, schema }) => [type, ajv.compile(schema)]));
  return (event) => {
    if (typeof event !== 'object' || event === null || event instanceof Uint8Array) return 'the body is not a JSON object';
    const { event_type: type } = event as { event_type?: unknown };
    const check = typeof type === 'string' ? checks.get(type) : undefined;
    if (check === undefined) return 'the event_type is unknown';
    return check(event) ? undefined : ajv.errorsText(check.errors, { dataVar: 'event' });
  };
}
