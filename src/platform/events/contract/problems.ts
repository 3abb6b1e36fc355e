// What a reader of the log may be refused for.
import { defineProblems } from '../../problem.ts';

export const problems = defineProblems({
  cursor_expired: { status: 410, title: 'Cursor expired' },
});
