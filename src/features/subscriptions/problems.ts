// What a caller of subscriptions may be refused for.
import { defineProblems } from '../../platform/problem.ts';

export const problems = defineProblems({
  subscription_not_found: { status: 404, title: 'Subscription not found', example: 'Subscription audit not found' },
  dead_letter_not_found: { status: 404, title: 'Dead letter not found', example: 'Dead letter 999 not found' },
  dead_letter_refused: {
    status: 409,
    title: 'Dead letter cannot be redriven',
    example: 'Dead letter 1 stays: it is no event of ours: the body is not a JSON object.',
  },
});
