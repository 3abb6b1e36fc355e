// The subscriptions over HTTP: how far each is, what failed, what was given up, and giving it to them again.

import { redrive } from '../../platform/events/operations/redrive.ts';
import * as deadLetters from '../../platform/events/store/dead-letters.ts';
import { findByTrace } from '../../platform/events/store/failed-attempts.ts';
import { readStates } from '../../platform/events/subscriptions.ts';
import type { Platform } from '../../platform/feature.ts';
import { answer, bodyRefusals, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import { Problem, problems } from '../../platform/problem.ts';
import { problems as own } from './problems.ts';
import * as schemas from './schemas.ts';

type SubscriptionParts = Pick<Platform, 'db' | 'subscriptions' | 'intakes'>;

const tags = ['subscriptions'];
const config = { access: 'anyone' } as const;
const message = (text: string) => ({ message: text });

export function addSubscriptions(app: App, { db, subscriptions, intakes }: SubscriptionParts): void {
  const { SubscriptionState, SubscriptionList, DeadLetter, DeadLetterPage, Redrive, FailedAttempt, FailedAttemptList } = schemas;
  for (const schema of [SubscriptionState, SubscriptionList, DeadLetter, DeadLetterPage, Redrive, FailedAttempt, FailedAttemptList])
    app.addSchema(schema);

  /** @throws subscription_not_found */
  function require(name: string): void {
    if (!subscriptions.some((subscription) => subscription.name === name))
      throw new Problem(own.subscription_not_found, `Subscription ${name} not found`);
  }

  app.get(
    '/subscriptions/',
    {
      config,
      schema: {
        tags,
        operationId: 'listSubscriptions',
        summary: 'List subscriptions',
        description: 'What reacts to events inside the service, and how far each is. None holds up another.',
        response: {
          200: answer('Every subscription.', reference('SubscriptionList'), { subscriptions: [schemas.exampleState] }),
          ...refusals(problems.database_unavailable),
        },
      },
    },
    async (_request, reply) => {
      const states = await readStates(db, subscriptions);
      const shown = states.map(({ lagSeconds, deadLetters: dead, ...state }) => ({
        ...state,
        lag_seconds: lagSeconds,
        dead_letters: dead,
      }));
      return reply.send({ subscriptions: shown });
    },
  );

  app.get(
    '/subscriptions/:name/dead-letters',
    {
      config,
      schema: {
        tags,
        operationId: 'listDeadLetters',
        summary: 'List dead letters',
        description: 'Events that the subscription gave up, the oldest first, and messages that are no events of ours.',
        params: schemas.SubscriptionName,
        querystring: schemas.LettersQuery,
        response: {
          200: answer('A page of dead letters.', reference('DeadLetterPage'), { dead_letters: [schemas.exampleLetter] }),
          ...refusals(own.subscription_not_found, problems.not_found, problems.database_unavailable),
        },
      },
    },
    async ({ params: { name }, query: { after, limit = schemas.limitDefault } }, reply) => {
      require(name);
      const letters = await deadLetters.list(db, { subscription: name, after: after?.toString(), limit: limit + 1 });
      const page = letters.slice(0, limit).map(shownLetter);
      const last = page.at(-1);
      return reply.send({ dead_letters: page, ...(letters.length > limit && last !== undefined && { next: last.id }) });
    },
  );

  app.post(
    '/subscriptions/:name/dead-letters/:id/redrive',
    {
      config,
      schema: {
        tags,
        operationId: 'redriveDeadLetter',
        summary: 'Give a dead letter to its subscription again',
        description:
          'The letter waits for its turn with all attempts before it. If a later version of its subject was handled meanwhile, it comes back as a dead letter.',
        params: schemas.LetterPath,
        response: {
          202: answer('The letter is on its way again.', reference('Redrive'), message('Dead letter 1 is on its way again')),
          ...refusals(
            ...bodyRefusals,
            problems.cross_site_request,
            own.subscription_not_found,
            own.dead_letter_not_found,
            problems.not_found,
            own.dead_letter_refused,
            problems.database_unavailable,
          ),
        },
      },
    },
    async ({ params: { name, id } }, reply) => {
      require(name);
      const failed = await redrive(db, intakes, id, name);
      if (failed === 'not there') throw letterNotFound(id);
      if (failed !== undefined) throw new Problem(own.dead_letter_refused, `Dead letter ${id} stays: ${failed.refused}.`);
      return reply.code(202).send(message(`Dead letter ${id} is on its way again`));
    },
  );

  app.delete(
    '/subscriptions/:name/dead-letters/:id',
    {
      config,
      schema: {
        tags,
        operationId: 'deleteDeadLetter',
        summary: 'Delete a dead letter',
        description: 'The message is gone for good; its effect never comes.',
        params: schemas.LetterPath,
        response: {
          200: answer('The dead letter was deleted.', reference('Deletion'), message('Dead letter 1 has been deleted')),
          ...refusals(
            problems.cross_site_request,
            own.subscription_not_found,
            own.dead_letter_not_found,
            problems.not_found,
            problems.database_unavailable,
          ),
        },
      },
    },
    async ({ params: { name, id } }, reply) => {
      require(name);
      if (!(await deadLetters.eraseOne(db, name, id))) throw letterNotFound(id);
      return reply.send(message(`Dead letter ${id} has been deleted`));
    },
  );

  app.get(
    '/subscriptions/:name/failed-attempts',
    {
      config,
      schema: {
        tags,
        operationId: 'listFailedAttempts',
        summary: "List failed attempts of a request's events",
        description: 'What became of the events of one request, by its trace id; kept for seven days.',
        params: schemas.SubscriptionName,
        querystring: schemas.AttemptsQuery,
        response: {
          200: answer('The attempts that failed, the oldest first.', reference('FailedAttemptList'), {
            failed_attempts: [schemas.exampleAttempt],
          }),
          ...refusals(own.subscription_not_found, problems.not_found, problems.database_unavailable),
        },
      },
    },
    async ({ params: { name }, query: { trace_id, limit = schemas.limitDefault } }, reply) => {
      require(name);
      const attempts = await findByTrace(db, trace_id, { subscription: name, limit });
      return reply.send({ failed_attempts: attempts.map(({ subscription: _, ...attempt }) => attempt) });
    },
  );
}

function letterNotFound(id: string): Problem {
  return new Problem(own.dead_letter_not_found, `Dead letter ${id} not found`);
}

function shownLetter(letter: deadLetters.DeadLetter): schemas.DeadLetter {
  const { id, messageId, eventId, type, traceId, subject, version, attempts, reason, deadAt } = letter;
  return {
    id: Number(id),
    message_id: messageId,
    event_id: eventId,
    event_type: type,
    trace_id: traceId,
    subject,
    version: version === null ? null : Number(version),
    attempts,
    reason,
    dead_at: deadAt,
  };
}
