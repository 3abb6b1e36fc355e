// A table of another service, made ready by the migrations.
import { type MigrateOptions, migrate } from '../../src/platform/db/migrate.ts';
import type { TestDatabase } from './database.ts';

export const settings = ({ url }: TestDatabase) => ({ url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 });

/** Migrates a database with such a table. @returns what the operator is told */
export async function adopt(database: TestDatabase, options: MigrateOptions = {}): Promise<string[]> {
  const warnings: string[] = [];
  await migrate(settings(database), { onWarning: (text) => warnings.push(text), ...options });
  return warnings;
}
