// The outbox: events committed with their change, until the active relay gives them their position in the log.
import { randomUUIDv7 } from 'node:crypto';
import * as context from '../../context.ts';
import type { EventDefinition } from '../contract/envelope.ts';

/** Formats a timestamptz as the API and the events show it. */
export function timestampSql(expression: string): string {
  return `to_char(${expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/**
 * The part of a writing statement that appends its event: `with changed as (update ... returning ...), event as (<this>)`.
 * It must read the RETURNING of the change in the same statement: then the row's lock is held when the position is
 * drawn, and positions follow the order of commits for each subject.
 * @param from the change's name in the `with` list; no row there, no event
 * @param columns SQL expressions over `from`: `id` is a bigint, `data` of type json. `kind` is what has that id, such as `user`
 * @param first the number of the first of the five parameters that `appendValues` gives
 */
export function appendSql(from: string, columns: { kind: string; id: string; occurredAt: string; data: string }, first: number): string {
  return `insert into outbox (event_id, event_type, trace_id, traceparent, internal, aggregate_id, subject, occurred_at, data)
    select $${first}::uuid, $${first + 1}, $${first + 2}, $${first + 3}, $${first + 4}::boolean, ${columns.id}, '${columns.kind}:' || ${columns.id}, ${columns.occurredAt}, ${columns.data}
    from ${from}`;
}

export function appendValues({ type, audience }: Pick<EventDefinition, 'type' | 'audience'>) {
  const { traceId, traceparent } = context.current() ?? context.createContext(undefined, undefined);
  return [randomUUIDv7(), type, traceId, traceparent, audience === 'internal'] as const;
}
