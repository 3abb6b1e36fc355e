// What a caller of users may be refused for.
import { defineProblems } from '../../platform/problem.ts';

export const problems = defineProblems({
  user_not_found: { status: 404, title: 'User not found', example: 'User with id 999 not found' },
  user_referenced: {
    status: 409,
    title: 'User is referenced by other data',
    example: 'User with id 1 is referenced by the table "invoice" (constraint "invoice_user_id_fkey").',
  },
  user_conflict: { status: 409, title: 'Value already taken', example: 'Another user has the same name (constraint "user_name_key").' },
  user_rejected: {
    status: 409,
    title: 'Rejected by a database constraint',
    example: 'The table "user" does not take these values (constraint "user_name_check").',
  },
});
