// What the table itself refuses. Ours has next to no rules; one that was adopted may have brought constraints, triggers and types of
// its own. The caller gets the rule by name, never a value.

import type { Db, Pool } from '../../platform/db/client.ts';
import { brokenRuleOf, codeOf, meaningOf, sqlstate } from '../../platform/db/sqlstate.ts';
import { Problem, type ProblemKind, type Violation } from '../../platform/problem.ts';
import { fieldNames, fields, requiredNames } from './fields.ts';
import { problems as own } from './problems.ts';
import { idMax } from './schemas.ts';

/** The problem that an error of a writing statement is, or the error where it is none. `id` is that of a user who was there before. */
export async function refusalOf(db: Db, error: unknown, id?: string): Promise<unknown> {
  if (meaningOf(error) !== 'refused') return error;
  const { table, constraint } = brokenRuleOf(error);
  const code = codeOf(error);
  const rule = constraint === undefined ? `SQLSTATE ${code}` : `constraint "${constraint}"`;
  const isReference = code === sqlstate.foreignKeyViolation || code === sqlstate.restrictViolation;
  if (isReference && table !== undefined && id !== undefined) {
    return new Problem(own.user_referenced, `User with id ${id} is referenced by the table "${table}" (${rule}).`, { cause: error });
  }
  const columns = await columnsOf(db, error);
  const broken = columns.filter((column) => (fieldNames as readonly string[]).includes(column));
  const told = (kind: ProblemKind, detail: string, message: string) => {
    const violations = broken.map((key): Violation => ({ key, message, source: 'body' }));
    return new Problem(kind, detail, { violations, cause: error });
  };
  if (code === sqlstate.uniqueViolation && broken.length > 0) {
    return told(own.user_conflict, `Another user has the same ${broken.join(' and ')} (${rule}).`, 'is that of another user');
  }
  return told(own.user_rejected, `The table "user" does not take these values (${rule}).`, 'is refused by a rule of the table');
}

/** Whether the id that was drawn for a new user is taken: somebody wrote users past the sequence. */
export async function isIdTaken(db: Db, error: unknown): Promise<boolean> {
  if (codeOf(error) !== sqlstate.uniqueViolation) return false;
  const columns = await columnsOf(db, error);
  return columns.length === 1 && columns[0] === 'id';
}

// The columns of "user" that a constraint or a unique index rests on, those within an expression too.
async function columnsOf(db: Db, error: unknown): Promise<string[]> {
  const { table, constraint, column } = brokenRuleOf(error);
  if (table !== 'user') return [];
  if (column !== undefined) return [column];
  if (constraint === undefined) return [];
  const rows = await db.query<{ name: string }>(
    `select attname as name from pg_attribute
     where attrelid = '"user"'::regclass and attnum in (
       select refobjsubid from pg_depend
       where refclassid = 'pg_class'::regclass and refobjid = '"user"'::regclass and (
         classid = 'pg_constraint'::regclass and objid in (select oid from pg_constraint where conrelid = '"user"'::regclass and conname = $1)
         or classid = 'pg_class'::regclass and objid in
           (select indexrelid from pg_index join pg_class on pg_class.oid = indexrelid where indrelid = '"user"'::regclass and relname = $1)
       )
     )
     order by attnum`,
    [constraint],
  );
  return rows.map(({ name }) => name);
}

const ownConstraints = [
  'user_id_safe_integer',
  'user_timestamps_range',
  'user_status_known',
  'user_attributes_object',
  'user_keys_complete',
];

class Undone extends Error {}

/** Of every hash that the service makes. */
const hashLength = 97;

/**
 * Tries to write a user, and undoes it, where the table has rules that are not of this service.
 * @returns what refuses every new user, in words for the operator
 */
export async function findContradiction(pool: Pool): Promise<string | undefined> {
  const [table] = await pool.query<{ ruled: boolean }>(
    `select exists (
         select from pg_constraint
         where conrelid = '"user"'::regclass and contype not in ('n', 'p') and conname <> all($2)
       )
       or exists (select from pg_trigger where tgrelid = '"user"'::regclass and not tgisinternal)
       or exists (select from pg_rewrite where ev_class = '"user"'::regclass)
       or exists (select from pg_index where indrelid = '"user"'::regclass and indisunique and not indisprimary)
       or exists (
         select from pg_attribute
         where attrelid = '"user"'::regclass and attnum > 0 and not attisdropped and attnotnull and not atthasdef and attidentity = ''
           and attname <> all($1)
       ) as ruled`,
    [fieldNames, ownConstraints],
  );
  if (table?.ruled !== true) return undefined;
  try {
    return await pool.inTransaction(async (tx) => {
      // Under an id that no sequence gives out.
      const values = requiredNames.map((name) => (name === 'password' ? 'x'.repeat(hashLength) : String(fields[name].example)));
      const rows = await tx.query(
        `insert into "user" (id, ${requiredNames.join(', ')}) overriding system value
         values ($1, ${requiredNames.map((_, n) => `$${n + 2}`).join(', ')}) returning id`,
        [idMax, ...values],
      );
      if (rows.length === 0) return 'a trigger or rule takes it away';
      await tx.query('set constraints all immediate');
      throw new Undone();
    });
  } catch (error) {
    if (error instanceof Undone || (await isIdTaken(pool, error))) return undefined;
    const refusal = await refusalOf(pool, error);
    // Who has the name already is no contradiction.
    return refusal instanceof Problem && refusal.code === 'user_rejected' ? refusal.message : undefined;
  }
}
