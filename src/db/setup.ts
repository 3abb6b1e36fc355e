// Makes the role and the database that DATABASE_URL names, where they are missing, with the rights of an administrator.
import pg from 'pg';
import { codeOf, sqlstate } from './sqlstate.ts';

/**
 * Leaves what exists as it is: neither the password of a role nor the owner of a database is changed.
 * @returns what was created, in words for the operator
 */
export async function createRoleAndDatabase(url: string, adminUrl: string): Promise<string[]> {
  const { user, password, database } = new pg.Client({ connectionString: url });
  if (user === undefined || database === undefined) throw new Error('DATABASE_URL must name a role and a database.');
  const admin = new pg.Client({ connectionString: adminUrl, connectionTimeoutMillis: 5000 });
  admin.on('error', () => {});
  await admin.connect();
  const created: string[] = [];
  try {
    const role = pg.escapeIdentifier(user);
    const { rowCount: roles } = await admin.query('select from pg_roles where rolname = $1', [user]);
    if (roles === 0) {
      const secret = typeof password === 'string' && password !== '' ? ` password ${pg.escapeLiteral(password)}` : '';
      await unlessThere(admin.query(`create role ${role} login${secret}`), sqlstate.duplicateObject);
      created.push(`role ${user}`);
    }
    const { rowCount: databases } = await admin.query('select from pg_database where datname = $1', [database]);
    if (databases === 0) {
      await createUtf8Database(admin, `create database ${pg.escapeIdentifier(database)} owner ${role}`);
      created.push(`database ${database}`);
    }
  } finally {
    await admin.end().catch(() => {});
  }
  return created;
}

// From template0, the only one from which the encoding may differ. Where the server's own locale is of another encoding, one that
// knows letters is tried, and then the one that every server has.
async function createUtf8Database(admin: pg.Client, statement: string): Promise<void> {
  const locales = ['', " locale 'C.UTF-8'", " locale 'C'"];
  for (const [n, locale] of locales.entries()) {
    try {
      return await unlessThere(admin.query(`${statement} template template0 encoding 'UTF8'${locale}`), sqlstate.duplicateDatabase);
    } catch (error) {
      const isLocale = [sqlstate.invalidParameterValue, sqlstate.wrongObjectType].some((code) => code === codeOf(error));
      if (!isLocale || n === locales.length - 1) throw error;
    }
  }
}

// Another instance may do the same at the same moment; unique_violation is what the loser of that race sees.
async function unlessThere(statement: Promise<unknown>, duplicate: string): Promise<void> {
  try {
    await statement;
  } catch (error) {
    const code = codeOf(error);
    if (code !== duplicate && code !== sqlstate.uniqueViolation) throw error;
  }
}
