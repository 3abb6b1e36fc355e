// Gets a database ready for the code: role and database where they are missing, then the migrations.
import type { ConnectionSettings } from './client.ts';
import { type MigrateOptions, MigrationError, migrate } from './migrate.ts';
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
    if (!isMissingRoleOrDatabase(error)) throw error;
    if (adminUrl === undefined) {
      throw new MigrationError(
        `PostgreSQL does not let in the role, or does not have the database, that DATABASE_URL names (SQLSTATE ${codeOf(error)}): set DATABASE_ADMIN_URL and run "npm run db:setup".`,
      );
    }
  }
  const created = await createRoleAndDatabase(settings.url, adminUrl);
  try {
    return [...created, ...(await migrate(settings, options))];
  } catch (error) {
    if (!isMissingRoleOrDatabase(error)) throw error;
    throw new MigrationError(
      `PostgreSQL has the role and the database of DATABASE_URL, and still refuses (SQLSTATE ${codeOf(error)}): is its password right?`,
    );
  }
}
