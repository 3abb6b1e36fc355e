// What the API shows of subscriptions, their dead letters and failed attempts.
import type { Static } from 'typebox';
import { traceIdPattern } from '../../platform/context.ts';
import { Timestamp } from '../../platform/events/contract/envelope.ts';
import { reference } from '../../platform/http/responses.ts';
import { Type } from '../../platform/runtime/schema.ts';

const Name = Type.String({ description: 'Name of the subscription.', examples: ['rollcall.user_events'] });
const count = (description: string) => Type.Integer({ minimum: 0, description });
const orNull = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], description });

export const SubscriptionState = Type.Object(
  {
    name: Name,
    source: Type.Enum(['queue', 'log'], {
      description: '`queue`: fed by RabbitMQ, or by the relay inside the process. `log`: reads the event log.',
    }),
    backlog: count('Committed events that it has yet to settle, without retries; above 10,000 an estimate from above.'),
    lag_seconds: Type.Number({ minimum: 0, description: 'Age of the oldest event in the backlog; 0 if there is none.' }),
    retries: count('Events that failed and wait for their next attempt, and those behind them; counted up to 10,000.'),
    parked: count('Events of a type that no running version knows yet; counted up to 10,000.'),
    dead_letters: count('Events that it gave up; counted up to 10,000.'),
  },
  { $id: 'Subscription', additionalProperties: false },
);
export const SubscriptionList = Type.Object(
  { subscriptions: Type.Array(reference<Static<typeof SubscriptionState>>('Subscription')) },
  { $id: 'SubscriptionList', additionalProperties: false },
);
export const exampleState = {
  name: 'rollcall.user_events',
  source: 'queue' as const,
  backlog: 0,
  lag_seconds: 0,
  retries: 0,
  parked: 0,
  dead_letters: 1,
};

export const DeadLetter = Type.Object(
  {
    id: Type.Integer({ minimum: 1, description: 'Id of the dead letter.' }),
    message_id: orNull('What the sender called the message.'),
    event_id: orNull('Null where the message is no event of ours.'),
    event_type: orNull('The type, as far as the message names one.'),
    trace_id: orNull('The trace id, as far as the message has one.'),
    subject: orNull('What the event is about, such as `user:7`.'),
    version: Type.Unsafe<number | null>({ type: ['integer', 'null'], description: 'The version that the event made.' }),
    attempts: count('Attempts that failed.'),
    reason: Type.String({ description: 'Why it was given up.' }),
    dead_at: Timestamp,
  },
  { $id: 'DeadLetter', additionalProperties: false },
);
export type DeadLetter = Static<typeof DeadLetter>;
export const DeadLetterPage = Type.Object(
  {
    dead_letters: Type.Array(reference<DeadLetter>('DeadLetter')),
    next: Type.Optional(Type.Integer({ minimum: 1, description: '`after` of the next page; left out on the last.' })),
  },
  { $id: 'DeadLetterPage', additionalProperties: false },
);
export const exampleLetter: DeadLetter = {
  id: 1,
  message_id: '01940a3e-5c00-7c48-9f25-e0b39a08fcaa',
  event_id: '01940a3e-5c00-7c48-9f25-e0b39a08fcaa',
  event_type: 'user.updated',
  trace_id: '0b9a3ad4-7f0e-4a1c-9d2f-6f3c1c2b7a10',
  subject: 'user:1',
  version: 2,
  attempts: 5,
  reason: 'version 3 was handled before it',
  dead_at: '2025-01-01T10:00:00.000000Z',
};

export const Redrive = Type.Object(
  { message: Type.String({ description: 'Says which dead letter is on its way again.' }) },
  { $id: 'Redrive', additionalProperties: false },
);

export const FailedAttempt = Type.Object(
  {
    event_id: Type.String({ format: 'uuid' }),
    event_type: Type.String({ examples: ['user.updated'] }),
    trace_id: Type.String(),
    attempt: Type.Integer({ minimum: 1, description: '1 for the first.' }),
    reason: Type.String({ description: 'What the attempt failed on.' }),
    failed_at: Timestamp,
  },
  { $id: 'FailedAttempt', additionalProperties: false },
);
export type FailedAttempt = Static<typeof FailedAttempt>;
export const FailedAttemptList = Type.Object(
  { failed_attempts: Type.Array(reference<FailedAttempt>('FailedAttempt')) },
  { $id: 'FailedAttemptList', additionalProperties: false },
);
export const exampleAttempt: FailedAttempt = {
  event_id: '01940a3e-5c00-7c48-9f25-e0b39a08fcaa',
  event_type: 'user.updated',
  trace_id: '0b9a3ad4-7f0e-4a1c-9d2f-6f3c1c2b7a10',
  attempt: 1,
  reason: 'the ledger is closed',
  failed_at: '2025-01-01T10:00:00.000000Z',
};

export const SubscriptionName = Type.Object({
  name: Type.String({ pattern: '^[a-z][a-z0-9._-]{0,99}$', description: 'Name of the subscription.', examples: ['rollcall.user_events'] }),
});
export const LetterPath = Type.Object({
  ...SubscriptionName.properties,
  id: Type.String({
    pattern: '^[1-9][0-9]{0,15}$',
    'x-documented': { type: 'integer', format: 'int64', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    description: 'Id of the dead letter.',
    examples: ['1'],
  }),
});

export const limitDefault = 100;
const limitMax = 1000;
const limit = Type.Optional(
  Type.Integer({ minimum: 1, maximum: limitMax, default: limitDefault, description: 'Most entries of an answer.', examples: [100] }),
);
export const LettersQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'The `next` of the page before.', examples: [100] }),
    ),
    limit,
  },
  { additionalProperties: false },
);
export const AttemptsQuery = Type.Object(
  {
    trace_id: Type.String({
      pattern: traceIdPattern.source,
      description: 'Trace id of the request whose events are asked for.',
      examples: [exampleAttempt.trace_id],
    }),
    limit,
  },
  { additionalProperties: false },
);
