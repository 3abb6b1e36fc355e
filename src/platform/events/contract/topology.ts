// Names on the broker, and what is bound to them. Other services hold the exchange and bind queues of their own to it, so it never changes.
import type { EventDefinition } from './envelope.ts';

export const exchange = 'user_events';
export const queue = 'rollcall.user_events';
export const deadLetterQueue = 'rollcall.user_events.dlq';

/** Headers that versions before 0.2 gave to messages of the dead-letter queue: failed attempts, and why it was given up. */
export const attemptsHeader = 'rollcall_attempts';
export const reasonHeader = 'rollcall_reason';

/**
 * The routing keys that the service's own queue is bound with: every type of each kind of event, so that types of a newer version reach
 * it too.
 * @throws where a type names no kind, and so would reach no queue
 */
export function bindingsOf(definitions: readonly EventDefinition[]): string[] {
  const kinds = definitions.map(({ type }) => {
    const [, kind] = /^([a-z][a-z_-]*)\.[a-z][a-z_-]*$/.exec(type) ?? [];
    if (kind === undefined) throw new Error(`The type of event "${type}" is not of the form <kind>.<change>, and no queue would take it.`);
    return kind;
  });
  return [...new Set(kinds)].map((kind) => `${kind}.*`);
}
