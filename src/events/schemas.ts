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
    if (check?.(event)) return undefined;
    if (isOfPredecessor(event)) return predecessorFault;
    return check === undefined ? 'the event_type is unknown' : ajv.errorsText(check.errors, { dataVar: 'event' });
  };

  // It says what happened to a user, and neither which event this is nor which version it made.
  function isOfPredecessor(event: object): boolean {
    const { event_id: id, data } = event as { event_id?: unknown; data?: unknown };
    const type = ['event_type', 'event', 'type'].map((key) => (event as Record<string, unknown>)[key]).find((value) => value !== undefined);
    const hasVersion = 'version' in event || (typeof data === 'object' && data !== null && 'version' in data);
    return typeof type === 'string' && checks.has(type) && id === undefined && !hasVersion;
  }
}

const predecessorFault = 'it has no event_id and no version, as the messages of the LiteStar service that Rollcall replaces';
