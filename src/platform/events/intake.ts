// What reaches a subscription, as a delivery or as an event of the log, and what it is to it.

import { type Delivery, readBody, textOf } from './contract/delivery.ts';
import { type Event, type EventDefinition, messageOf } from './contract/envelope.ts';
import { createEventReader } from './contract/schemas.ts';
import type { Subjected } from './store/inbox.ts';
import type { LoggedEvent } from './store/log.ts';
import type { Reaction, Subscription } from './subscriptions.ts';

/** An event that the subscription reacts to. */
export type Given = Subjected & { readonly delivery: Delivery; readonly reaction: Reaction; readonly name: string };
/** An event of a type that this version does not know, with what its envelope says of it. */
export type Unknown = Subjected & { readonly delivery: Delivery };

export type Taken =
  | { readonly given: Given }
  | { readonly unknown: Unknown }
  /** An event of a type that the subscription leaves alone. */
  | { readonly ignored: Event }
  /** No event of ours. */
  | { readonly violation: string; readonly value?: unknown; readonly delivery: Delivery };

export type Intake = {
  /** The types that this version knows. */
  readonly types: readonly string[];
  read(delivery: Delivery): Taken;
  /** An event of the log, as it would have been delivered. */
  fromLog(logged: LoggedEvent): Taken;
};

export function createIntake(
  { name: subscription, source, reactions }: Subscription,
  definitions: readonly EventDefinition[],
  appName: string,
): Intake {
  const readEvent = createEventReader(definitions);
  const types = definitions.map(({ type }) => type);
  const leftAlone = new Set(types.filter((type) => reactions[type] === undefined));

  function read(delivery: Delivery): Taken {
    const body = readBody(delivery.body);
    if ('unreadable' in body) return { violation: body.unreadable, delivery };
    const result = readEvent(body.value);
    if ('violation' in result) return { violation: result.violation, value: body.value, delivery };
    if ('unknown' in result)
      return { unknown: { subscription, event: result.unknown, ...envelopeSubject(result.unknown, delivery), delivery } };
    const { event } = result;
    const reaction = reactions[event.event_type];
    if (reaction === undefined) return { ignored: event };
    const { kind, name, id, version } = reaction.about(event);
    return { given: { subscription, event, subject: `${kind}:${id}`, version, delivery, reaction, name } };
  }

  return {
    types,
    read,
    fromLog(logged) {
      // An internal one is in no queue. What is left alone need not be read.
      if ((logged.internal && source === 'queue') || leftAlone.has(logged.event.event_type)) return { ignored: logged.event };
      return read({ ...messageOf(logged, appName), body: Buffer.from(JSON.stringify(logged.event)), isHeld: () => true });
    },
  };
}

export function createIntakes(
  subscriptions: readonly Subscription[],
  definitions: readonly EventDefinition[],
  appName: string,
): ReadonlyMap<string, Intake> {
  return new Map(subscriptions.map((subscription) => [subscription.name, createIntake(subscription, definitions, appName)]));
}

/** As far as an envelope tells: without a subject the event is one of its own. */
function envelopeSubject({ event_id, event_type, data }: Event, { headers }: Delivery): { subject: string; version: number } {
  const [kind = ''] = event_type.split('.');
  const { version } = data;
  return {
    subject: `${kind}:${textOf(headers['cloudEvents_subject']) ?? event_id}`,
    version: Number.isSafeInteger(version) && Number(version) > 0 ? Number(version) : 1,
  };
}
