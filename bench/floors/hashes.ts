// argon2id and nothing else: a thread for each core hashes in a loop, at the cost and the priority of the service's.
import { once } from 'node:events';
import { availableParallelism, getPriority, setPriority } from 'node:os';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { hash } from '../../src/platform/security/hash-worker.ts';
import { recommendedCost } from '../../src/platform/security/passwords.ts';
import { answerQuestions } from './questions.ts';

/** Hashes a second of this thread. */
function run(seconds: number): number {
  const startedAt = performance.now();
  let hashes = 0;
  for (; performance.now() - startedAt < seconds * 1000; hashes += 1) hash({ plain: 'correct horse battery', cost: recommendedCost });
  return (hashes * 1000) / (performance.now() - startedAt);
}

if (isMainThread) {
  // Threads inherit it. Other work on the machine then takes as much from this loop as from the service.
  setPriority(Math.min(19, getPriority() + 10));
  const threads = Array.from({ length: availableParallelism() }, () => new Worker(new URL(import.meta.url)));
  answerQuestions(async ({ seconds }: { seconds: number }) => {
    const rates = threads.map(async (thread) => {
      const answer = once(thread, 'message');
      thread.postMessage(seconds);
      const [rate] = await answer;
      return rate as number;
    });
    return (await Promise.all(rates)).reduce((sum, rate) => sum + rate);
  });
} else {
  parentPort?.on('message', (seconds: number) => parentPort?.postMessage(run(seconds)));
}
