// Gets a database ready for the code: role and database where they are missing, then the migrations.
import type { ConnectionSettings } from './client.ts';
import { type MigrateOptions, MigrationError, migrate } from './migrate.ts';
import { findRefusal, type Setting } from './refusal.ts';
import { createRoleAndDatabase } from './setup.ts';
import { codeOf, isMissingRoleOrDatabase } from './sqlstate.ts';

/**
 * @returns what was done, in words for the operator
 * @throws MigrationError where the operator has to act; any other error means that the server cannot be reached now
 */
export async function prepareDatabase(
  settings: ConnectionSettings,
  adminUrl: string | undefined,
  options: MigrateOptions = {},
): Promise<string[]> {
  try {
    return await migrate(settings, options);
  } catch (error) {
    if (!isMissingRoleOrDatabase(error)) throw asMistake(error, 'DATABASE_URL');
    if (adminUrl === undefined) {
      throw new MigrationError(
        `PostgreSQL does not let in the role, or does not have the database, that DATABASE_URL names (${(error as Error).message}; SQLSTATE ${codeOf(error)}): correct it, or set DATABASE_ADMIN_URL and run "npm run db:setup".`,
      );
    }
  }
  const created = await setUpDatabase(settings.url, adminUrl);
  try {
    return [...created, ...(await migrate(settings, options))];
  } catch (error) {
    if (!isMissingRoleOrDatabase(error)) throw asMistake(error, 'DATABASE_URL');
    throw new MigrationError(
      `PostgreSQL has the role and the database of DATABASE_URL, and still refuses (${(error as Error).message}; SQLSTATE ${codeOf(error)}): is its password right?`,
    );
  }
}

/** As `createRoleAndDatabase`. @throws MigrationError likewise */
export async function setUpDatabase(url: string, adminUrl: string): Promise<string[]> {
  try {
    return await createRoleAndDatabase(url, adminUrl);
  } catch (error) {
    throw asMistake(error, 'DATABASE_ADMIN_URL');
  }
}

/** A MigrationError in place of an error that is a mistake of the operator's. */
export function asMistake(error: unknown, setting: Setting): unknown {
  // A pool's problem has the driver's error as its cause.
  const sentence = error instanceof MigrationError ? undefined : findRefusal((error as Error).cause ?? error, setting);
  return sentence === undefined ? error : new MigrationError(sentence, { cause: error });
}
