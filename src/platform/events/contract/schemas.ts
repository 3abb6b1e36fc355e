// Checks events against the schemas of their definitions: the same values that the AsyncAPI document shows.
import { Ajv2020, type Options, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { lazily } from '../../runtime/lazily.ts';
import { Type } from '../../runtime/schema.ts';
import { Envelope, type Event, type EventDefinition, EventTypeName } from './envelope.ts';

/**
 * For who publishes: everything that is in an event stands in its schema.
 * @returns a function that says in a few words why a value is no event of these definitions, or undefined if it is one
 */
export function createEventCheck(definitions: readonly EventDefinition[]): (event: unknown) => string | undefined {
  const ajv = createAjv();
  const checks = checksOf(ajv, definitions);
  return (event) => {
    const check = checks.get(typeOf(event) ?? '')?.();
    if (check === undefined) return 'the event_type is unknown';
    return check(event) ? undefined : ajv.errorsText(check.errors, { dataVar: 'event' });
  };
}

/** `unknown`: an event by its envelope, of a type that stands in none of the definitions. */
export type Read = { readonly event: Event } | { readonly unknown: Event } | { readonly violation: string };

/**
 * For who consumes, beside newer versions that publish: fields that its schema does not have are taken out of an event.
 * @returns a function that tells events from what is none
 */
export function createEventReader(definitions: readonly EventDefinition[]): (value: unknown) => Read {
  const ajv = createAjv({ removeAdditional: true });
  const checks = checksOf(ajv, definitions);
  const envelope = lazily(() => ajv.compile(Envelope(EventTypeName, Type.Object({}))));
  return (value) => {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return { violation: 'the body is not a JSON object' };
    // Before the checks, which take fields out.
    if (isOfPredecessor(value)) return { violation: predecessorViolation };
    const known = checks.get(typeOf(value) ?? '');
    const check = (known ?? envelope)();
    if (check(value)) return known === undefined ? { unknown: value as Event } : { event: value as Event };
    return { violation: ajv.errorsText(check.errors, { dataVar: 'event' }) };
  };

  // It says what happened to a user, and neither which event this is nor which version it made.
  function isOfPredecessor(event: object): boolean {
    const { event_id: id, data } = event as { event_id?: unknown; data?: unknown };
    const type = ['event_type', 'event', 'type'].map((key) => (event as Record<string, unknown>)[key]).find((value) => value !== undefined);
    const hasVersion = 'version' in event || (typeof data === 'object' && data !== null && 'version' in data);
    return typeof type === 'string' && checks.has(type) && id === undefined && !hasVersion;
  }
}

/** By type; each is compiled when it is first used, and not before the start is done. */
function checksOf(ajv: Ajv2020, definitions: readonly EventDefinition[]): ReadonlyMap<string, () => ValidateFunction> {
  return new Map(definitions.map(({ type, schema }) => [type, lazily(() => ajv.compile(schema))]));
}

function createAjv(options: Options = {}): Ajv2020 {
  // The schemas are ours: tests hold them against the meta-schema, which takes long to compile.
  const ajv = new Ajv2020({ strict: true, validateSchema: false, allowUnionTypes: true, ...options });
  addFormats.default(ajv);
  return ajv;
}

function typeOf(event: unknown): string | undefined {
  const { event_type: type } = (event ?? {}) as { event_type?: unknown };
  return typeof type === 'string' ? type : undefined;
}

const predecessorViolation = 'it has no event_id and no version, as the messages of the LiteStar service that Rollcall replaces';
