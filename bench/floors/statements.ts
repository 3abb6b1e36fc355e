// The statements of one operation, and nothing else.
import type { operations } from '../operations.ts';
import { createCallers } from './callers.ts';
import { answerQuestions, readInput } from './questions.ts';

const { url, operation } = readInput<{ url: string; operation: keyof typeof operations }>();
const callers = createCallers(url, operation);

/** Statements a second. */
async function run(seconds: number): Promise<number> {
  const startedAt = performance.now();
  const calls = await callers.call(seconds);
  return (calls * 1000) / (performance.now() - startedAt);
}

answerQuestions(({ seconds }: { seconds: number }) => run(seconds));
