// What a reader of the event log asks and gets.
import { type Static, type TSchema, Type } from 'typebox';

export const limitDefault = 100;
const limitMax = 1000;
const waitSecondsMax = 30;

export const FeedQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        description: 'Cursor: the `next` of the answer before. Left out: from the oldest event that is kept.',
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
        pattern: '^[a-z.]{1,50}(,[a-z.]{1,50}){0,9}$',
        description: 'Only events of these types, by comma.',
        examples: ['user.created,user.deleted'],
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
export type FeedQuery = Static<typeof FeedQuery>;

/** @param events the schema of each type of event */
export function FeedPage(events: readonly TSchema[]) {
  return Type.Object(
    {
      events: Type.Array(Type.Union([...events])),
      next: Type.String({
        description: 'Cursor after the last event of this answer, or after all there are: the `after` of the next request.',
      }),
    },
    { $id: 'FeedPage', additionalProperties: false },
  );
}
