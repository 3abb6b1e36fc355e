// argon2id and nothing else: as many hashes at once as there are cores, at the cost and the priority of the service's.
import { availableParallelism } from 'node:os';
import { hash, lowerPriority } from '../../src/platform/security/argon2.ts';
import { recommendedCost } from '../../src/platform/security/passwords.ts';
import { answerQuestions } from './questions.ts';

const plain = 'correct horse battery';
await hash(plain, recommendedCost);
// Other work on the machine then takes as much from this loop as from the service.
lowerPriority();

answerQuestions(async ({ seconds }: { seconds: number }) => {
  const startedAt = performance.now();
  let hashes = 0;
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => {
      for (; performance.now() - startedAt < seconds * 1000; hashes += 1) await hash(plain, recommendedCost);
    }),
  );
  return (hashes * 1000) / (performance.now() - startedAt);
});
