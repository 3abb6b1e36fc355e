// Makes the role and the database that DATABASE_URL names, where they are missing, with the rights of an administrator.
import pg from 'pg';
import { connect } from './client.ts';
import { MigrationError } from './migrate.ts';
import { mayPass } from './refusal.ts';
import { codeOf, sqlstate } from './sqlstate.ts';
import { readDatabaseUrl } from './url.ts';

const connectTimeoutMs = 5000;

/**
 * Leaves what exists as it is: neither the password of a role nor the owner of a database is changed.
 * @returns what was created, in words for the operator
 * @throws MigrationError where PostgreSQL creates no such role or database
 */
export async function createRoleAndDatabase(url: string, adminUrl: string): Promise<string[]> {
  const { user, password, database = user } = readDatabaseUrl(url);
  if (user === undefined || database === undefined) throw new MigrationError('DATABASE_URL must name a role and a database.');
  const admin = await connect({ url: adminUrl, applicationName: 'rollcall db:setup', connectTimeoutMs, statementTimeoutMs: 0 });
  const created: string[] = [];
  try {
    const role = pg.escapeIdentifier(user);
    const { rowCount: roles } = await admin.query('select from pg_roles where rolname = $1', [user]);
    if (roles === 0) {
      const secret = password === undefined ? '' : ` password ${pg.escapeLiteral(password)}`;
      await unlessThere(`role ${user}`, admin.query(`create role ${role} login${secret}`), sqlstate.duplicateObject);
      created.push(`role ${user}`);
    }
    const { rowCount: databases } = await admin.query('select from pg_database where datname = $1', [database]);
    if (databases === 0) {
      await createUtf8Database(admin, database, `create database ${pg.escapeIdentifier(database)} owner ${role}`);
      created.push(`database ${database}`);
    }
  } finally {
    await admin.end().catch(() => {});
  }
  return created;
}

// From template0, the only one from which the encoding may differ. Where the server's own locale is of another encoding, one that
// knows letters is tried, and then the one that every server has.
async function createUtf8Database(admin: pg.Client, database: string, statement: string): Promise<void> {
  const locales = ['', " locale 'C.UTF-8'", " locale 'C'"];
  for (const [n, locale] of locales.entries()) {
    try {
      const creating = admin.query(`${statement} template template0 encoding 'UTF8'${locale}`);
      return await unlessThere(`database ${database}`, creating, sqlstate.duplicateDatabase);
    } catch (error) {
      const isLocale = [sqlstate.invalidParameterValue, sqlstate.wrongObjectType].some((code) => code === codeOf((error as Error).cause));
      if (!isLocale || n === locales.length - 1) throw error;
    }
  }
}

// Another instance may do the same at the same moment; unique_violation is what the loser of that race sees.
async function unlessThere(what: string, statement: Promise<unknown>, duplicate: string): Promise<void> {
  try {
    await statement;
  } catch (error) {
    const code = codeOf(error);
    if (code === duplicate || code === sqlstate.uniqueViolation) return;
    if (mayPass(error)) throw error;
    throw new MigrationError(
      `PostgreSQL does not create the ${what} of DATABASE_URL for the role of DATABASE_ADMIN_URL (${(error as Error).message}; SQLSTATE ${code}): choose another name, or a role with the right to create it.`,
      { cause: error },
    );
  }
}
