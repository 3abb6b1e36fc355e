// What a reader of the event log asks and gets.
import type { Static } from 'typebox';
import type { Event } from '../../platform/events/contract/envelope.ts';
import { cursorRules } from '../../platform/http/cursor.ts';
import { reference } from '../../platform/http/responses.ts';
import { Type } from '../../platform/runtime/schema.ts';

export const limitDefault = 100;
const limitMax = 1000;
const waitSecondsMax = 30;
export const cursorExample = 'NEAyMDI2LTAxLTAxVDAwOjAwOjAwLjAwMDAwMFpANWYzYzlhMWI3ZTI0';

/** @param types of the events that there are */
export function FeedQuery(types: readonly string[]) {
  return Type.Object(
    {
      after: Type.Optional(
        Type.String({
          ...cursorRules,
          description: 'Cursor: the `next` of the answer before. Left out: from the oldest event that is kept.',
          examples: [cursorExample],
        }),
      ),
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: limitMax, default: limitDefault, description: 'Most events of an answer.', examples: [100] }),
      ),
      user_id: Type.Optional(
        Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Only events of this user.', examples: [1] }),
      ),
      types: Type.Optional(
        Type.String({
          pattern: `^(${types.map((type) => type.replaceAll('.', '\\.')).join('|')})(,(?:${types.map((type) => type.replaceAll('.', '\\.')).join('|')})){0,9}$`,
          'x-pattern-message': `must be event types by comma, at most ten, of ${types.join(', ')}`,
          'x-documented': { type: 'array', items: { $ref: '#/components/schemas/EventType' }, minItems: 1, maxItems: 10 },
          description: 'Only events of these types, by comma. Later versions may know more.',
          examples: [types.slice(0, 2).join(',')],
        }),
      ),
      wait: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: waitSecondsMax,
          default: 0,
          description: 'Seconds to wait for an event if there is none yet.',
          examples: [30],
        }),
      ),
    },
    { additionalProperties: false },
  );
}
export type FeedQuery = Static<ReturnType<typeof FeedQuery>>;

/** @param types of the events that there are */
export function EventType(types: readonly string[]) {
  return Type.Enum([...types], { $id: 'EventType', description: 'A type of event that this version publishes.' });
}

export const FeedPage = Type.Object(
  {
    events: Type.Array(reference<Event>('Event')),
    next: Type.String({
      pattern: cursorRules.pattern,
      description: 'Cursor after the last event of this answer, or after all there are: the `after` of the next request.',
      examples: [cursorExample],
    }),
  },
  { $id: 'FeedPage', additionalProperties: false, description: 'Events of the log, oldest first.' },
);

export const EventStream = Type.String({
  $id: 'EventStream',
  description: 'Server-sent events: `id` is the cursor after the event, `event` its type, `data` the event as JSON.',
});
