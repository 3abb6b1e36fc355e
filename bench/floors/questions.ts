// A floor is a process that the bench starts, asks and ends.

/** What the bench wrote on the command line. */
export function readInput<Input>(): Input {
  return JSON.parse(process.argv[2] ?? '{}') as Input;
}

/** An `answer` that rejects ends the process, and so tells the bench. */
export function answerQuestions<Question>(answer: (question: Question) => Promise<unknown>): void {
  process.on('message', async (question) => {
    const value = await answer(question as Question);
    process.send?.(value);
  });
  endWithBench();
}

/** However the bench ends, its floors do too. */
export function endWithBench(): void {
  process.on('disconnect', () => process.exit());
}
