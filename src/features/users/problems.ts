// What a caller of users may be refused for.
import { defineProblems } from '../../platform/problem.ts';

export const problems = defineProblems({
  unsupported_query: {
    status: 400,
    title: 'Combination not supported',
    example: 'No index serves this list: sort must be created_at or -created_at with created_after or created_before.',
  },
  user_not_found: { status: 404, title: 'User not found', example: 'User with id 999 not found' },
  user_referenced: {
    status: 409,
    title: 'User is referenced by other data',
    example: 'User with id 1 is referenced by the table "invoice" (constraint "invoice_user_id_fkey").',
  },
  already_taken: { status: 409, title: 'Identifier already taken', example: 'Already taken: email.' },
  version_mismatch: {
    status: 412,
    title: 'Changed since it was read',
    example: 'User with id 1 has been changed since, and has another version than If-Match asks for.',
  },
  if_match_required: { status: 428, title: 'If-Match required', example: 'PUT /users/1 needs If-Match with the ETag that was read.' },
  user_conflict: { status: 409, title: 'Value already taken', example: 'Another user has the same name (constraint "user_name_key").' },
  user_rejected: {
    status: 409,
    title: 'Rejected by a database constraint',
    example: 'The table "user" does not take these values (constraint "user_name_check").',
  },
});
