// A patch of a user: what it makes of the user as answers show it is held against the rules, and written as a change.
import { applyPatch, isSame, mergePatch, type Operation } from '../../platform/http/patch.ts';
import { Problem, problems, type Violation } from '../../platform/problem.ts';
import type { Caller } from '../../platform/runtime/turns.ts';
import { type CommandParts, updateUser, versionMismatch } from './commands.ts';
import { type FieldName, fieldOf, writableNames } from './fields.ts';
import { problems as own } from './problems.ts';
import { findUser, userNotFound } from './queries.ts';
import { memberNames, type User, type UserChange } from './schemas.ts';

export type Patch =
  /** As it was sent. */
  { readonly kind: 'merge'; readonly body: unknown } | { readonly kind: 'operations'; readonly operations: readonly Operation[] };

export type PatchParts = CommandParts & {
  /** Throws where a change breaks a rule; may change the texts in it to their normal forms. */
  readonly check: (change: UserChange) => void;
};

/** How often a patch is made anew since the user was changed meanwhile: somebody else's change came through each time. */
const attemptsMax = 100;

/**
 * @param versions one of which the user must have; undefined for any
 * @throws as `updateUser`, and malformed_body, patch_conflict, validation_failed
 */
export async function patchUser(parts: PatchParts, id: string, patch: Patch, versions?: readonly number[], caller?: Caller): Promise<User> {
  if (patch.kind === 'merge') {
    const change = objectOf(patch.body);
    const { attributes, ...others } = change;
    // Members of attributes are merged with those of the user; all else is what it is to be.
    const isWhole = typeof attributes !== 'object' || attributes === null || Array.isArray(attributes);
    parts.check(isWhole ? change : others);
    if (isWhole) return updateUser(parts, id, withDefaults(change), versions, caller);
  }
  for (let attempt = 1; ; attempt += 1) {
    const user = await findUser(parts.db, id);
    if (user === undefined) throw userNotFound(id);
    if (versions !== undefined && !versions.includes(user.version)) throw versionMismatch(id);
    const result = patch.kind === 'merge' ? mergePatch(user, patch.body) : applyPatch(user, patch.operations);
    const change = changeOf(user, result, patch);
    parts.check(change);
    try {
      return await updateUser(parts, id, withDefaults(change), [user.version], caller);
    } catch (error) {
      const isStale = error instanceof Problem && error.kind === own.version_mismatch;
      if (!isStale || versions !== undefined) throw error;
      if (attempt === attemptsMax)
        throw new Problem(problems.overloaded, `User with id ${id} is changed all the time. Try again.`, {
          headers: { 'retry-after': '1' },
        });
    }
  }
}

/** @throws validation_failed */
function objectOf(value: unknown): UserChange {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  const violations: Violation[] = [{ key: '', message: 'must be of type object', source: 'body' }];
  throw new Problem(problems.validation_failed, 'What the patch makes is no user.', { violations });
}

/** The fields that a patch, which was applied, gives a value to. */
function namesIn(patch: Patch): readonly string[] {
  if (patch.kind === 'merge') return Object.keys(patch.body as object);
  return patch.operations.flatMap(({ op, path }) => (op === 'test' || op === 'remove' ? [] : (path[0] ?? [])));
}

/** Fields that the patch names are in the change even where they have their value already. @throws validation_failed */
function changeOf(user: User, result: unknown, patch: Patch): UserChange {
  const after = new Map<string, unknown>(Object.entries(objectOf(result)));
  const isWritable = (name: string) => (writableNames as readonly string[]).includes(name);
  const fixed = memberNames.filter((name) => !isWritable(name) && !isSame(user[name], after.get(name)));
  if (fixed.length > 0) {
    const violations = fixed.map((key): Violation => ({ key, message: 'is not changed by callers', source: 'body' }));
    throw new Problem(problems.validation_failed, 'The patch changes what only the service does.', { violations });
  }
  const before: Readonly<Record<string, unknown>> = user;
  const named = namesIn(patch);
  const unknown = [...after.keys()].filter((name) => !(memberNames as readonly string[]).includes(name));
  const names = new Set([...writableNames.filter((name) => name in user), ...unknown]);
  const changed = [...names].filter((name) => !isSame(before[name], after.get(name)) || (isWritable(name) && named.includes(name)));
  return Object.fromEntries(changed.map((name) => [name, after.get(name) ?? null]));
}

/** A field that every user has gets what a new user has, where it is taken away. */
function withDefaults(change: UserChange): UserChange {
  const value = ([name, given]: [string, unknown]) => [name, given ?? fieldOf(name as FieldName).byDefault ?? null];
  return Object.fromEntries(Object.entries(change).map(value));
}
