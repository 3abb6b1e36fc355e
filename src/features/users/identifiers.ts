// What names one user and no other: rows of their own, whose key decides, by a form in which the same is spelt the same. The user's row
// has these forms beside what was typed.
import type { Db } from '../../platform/db/client.ts';
import { brokenRuleOf, codeOf, sqlstate } from '../../platform/db/sqlstate.ts';
import { Problem, type Violation } from '../../platform/problem.ts';
import { emailKey } from '../../platform/runtime/email.ts';
import { fold, skeleton } from '../../platform/runtime/folding.ts';
import type { FieldName } from './fields.ts';
import { problems as own } from './problems.ts';
import type { UserChange } from './schemas.ts';

/** By kind, as `identifier` has it: the column of the user's row with the form, and the field that it is made from. */
export const identifiers = {
  email: { column: 'email_key', field: 'email', keyOf: (text: string) => emailKey(text) ?? fold(text), words: 'is already taken' },
  // Of another system, which may tell ids apart by their case.
  external_id: { column: 'external_id', field: 'external_id', keyOf: (text: string) => text, words: 'is already taken' },
  username: { column: 'username_key', field: 'username', keyOf: fold, words: 'is already taken' },
  username_skeleton: {
    column: 'username_skeleton',
    field: 'username',
    keyOf: skeleton,
    words: 'looks like the username of another user',
  },
} as const satisfies Readonly<Record<string, { column: string; field: FieldName; keyOf: (text: string) => string; words: string }>>;
export type IdentifierKind = keyof typeof identifiers;
export const identifierKinds = Object.keys(identifiers) as readonly IdentifierKind[];

export type Confusables = 'refuse' | 'allow';
/** Of the user's row, beside its fields. */
export const keyColumns: readonly string[] = identifierKinds
  .filter((kind) => identifiers[kind].column !== identifiers[kind].field)
  .map((kind) => identifiers[kind].column);

/** In the order of `keyColumns`. */
export function keyValues(keys: Keys): (string | null)[] {
  return identifierKinds.filter((kind) => keyColumns.includes(identifiers[kind].column)).map((kind) => keys[kind]);
}

/** By kind; null where the user has none. */
export type Keys = Readonly<Record<IdentifierKind, string | null>>;

export function keysOf(given: UserChange, confusables: Confusables): Keys {
  const keyOf = (kind: IdentifierKind) => {
    const { field, keyOf: make } = identifiers[kind];
    const typed = given[field] ?? null;
    return typed === null || (kind === 'username_skeleton' && confusables === 'allow') ? null : make(typed);
  };
  return Object.fromEntries(identifierKinds.map((kind) => [kind, keyOf(kind)])) as Keys;
}

/** Whether the error says that another user has one of the identifiers. */
function isIdentifierTaken(error: unknown): boolean {
  return codeOf(error) === sqlstate.uniqueViolation && brokenRuleOf(error).constraint === 'identifier_pkey';
}

/** Which of these another user has. Those of nobody, which a change past this service left behind, are removed. */
async function findTaken(db: Db, keys: Keys, id: string | undefined): Promise<IdentifierKind[]> {
  const wanted = identifierKinds.filter((kind) => keys[kind] !== null);
  const values = [wanted, wanted.map((kind) => keys[kind])];
  const rows = await db.query<{ kind: IdentifierKind; user_id: string }>(
    'select kind, user_id from identifier where (kind, value) in (select kind, value from unnest($1::text[], $2::text[]) as wanted (kind, value))',
    values,
  );
  const others = rows.filter(({ user_id }) => user_id !== id);
  if (others.length === 0) return [];
  const users = await db.query<{ id: string }>('select id from "user" where id = any($1::bigint[])', [
    others.map(({ user_id }) => user_id),
  ]);
  const isThere = new Set(users.map((user) => user.id));
  const [left, taken] = [others.filter(({ user_id }) => !isThere.has(user_id)), others.filter(({ user_id }) => isThere.has(user_id))];
  for (const { kind, user_id } of left) {
    await db.query(
      'delete from identifier where kind = $1 and value = $2 and user_id = $3 and (select id from "user" where id = $3) is null',
      [kind, keys[kind], user_id],
    );
  }
  return taken.map(({ kind }) => kind);
}

/** @param kinds at least one */
function alreadyTaken(kinds: readonly IdentifierKind[], cause: unknown): Problem {
  // A username that is taken looks like it, too.
  const told = kinds.filter((kind) => kind !== 'username_skeleton' || !kinds.includes('username')).toSorted();
  const violations = told.map((kind): Violation => ({ key: identifiers[kind].field, message: identifiers[kind].words, source: 'body' }));
  return new Problem(own.already_taken, `Already taken: ${told.map((kind) => identifiers[kind].field).join(', ')}.`, { violations, cause });
}

/** How often a change is tried whose identifiers were taken, and free when looked at. */
const attemptsMax = 3;

/**
 * Runs a change; where the constraint refuses an identifier, says which are another user's.
 * @param id of the user who is changed, if not new
 * @throws already_taken
 */
export async function claiming<Result>(db: Db, keys: Keys, id: string | undefined, change: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await change();
    } catch (error) {
      if (!isIdentifierTaken(error)) throw error;
      const taken = await findTaken(db, keys, id);
      if (taken.length > 0) throw alreadyTaken(taken, error);
      if (attempt === attemptsMax)
        throw alreadyTaken(
          identifierKinds.filter((kind) => keys[kind] !== null),
          error,
        );
    }
  }
}
