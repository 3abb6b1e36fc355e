// What every command does: read the settings, work, and end with a sentence and exit code 1 where it cannot.

import { explain } from '../app/explanations.ts';
import { type Config, loadEnvFile, readConfig } from '../config.ts';

/** What was asked for cannot be done, and why, in a sentence. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

export async function runCommand(work: (config: Config) => Promise<void>): Promise<void> {
  try {
    loadEnvFile();
    await work(readConfig());
  } catch (error) {
    console.error(error instanceof CommandError ? error.message : explain(error));
    process.exitCode = 1;
  }
}
