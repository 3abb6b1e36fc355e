// Changes of a JSON value, as callers send them: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902).
import { Problem, problems } from '../problem.ts';

export const patchTypes = { merge: 'application/merge-patch+json', operations: 'application/json-patch+json' } as const;

type Members = Record<string, unknown>;
const isObject = (value: unknown): value is Members => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The target is left as it is. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, mergePatch(merged.get(name), value));
  }
  return Object.fromEntries(merged);
}

/** JSON that operations may add or copy, in UTF-16 units: a few of them can double a value as often as they like. */
const addedMax = 256 * 1024;
const operationsMax = 1000;

/** @param body a JSON Patch, as it was sent @throws malformed_body */
export function readPatch(body: unknown): readonly Operation[] {
  if (!Array.isArray(body)) throw malformed('it must be an array of operations');
  if (body.length > operationsMax) throw malformed(`it has more than ${operationsMax} operations`);
  return body.map(readOperation);
}

/**
 * @returns the value after all of them; `document` is left as it is
 * @throws patch_conflict where an operation does not fit the document; malformed_body where they add too much
 */
export function applyPatch(document: unknown, operations: readonly Operation[]): unknown {
  let root: unknown = structuredClone(document);
  let added = 0;
  for (const [n, operation] of operations.entries()) {
    const value = newValueOf(operation, root, n);
    if (operation.op === 'test') {
      if (!isSame(find(root, operation.path, n), value)) throw conflict(n, 'the value is another');
      continue;
    }
    if (operation.op === 'add' || operation.op === 'replace' || operation.op === 'copy') added += JSON.stringify(value).length;
    if (added > addedMax) throw malformed(`its operations add more than ${addedMax / 1024} KiB`);
    if (operation.op === 'move') root = removed(root, operation.from, n);
    if (operation.op === 'remove' || (operation.op === 'replace' && operation.path.length > 0)) root = removed(root, operation.path, n);
    if (operation.op !== 'remove') root = withValue(root, operation.path, value, n);
  }
  return root;
}

export type Operation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: Pointer; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: Pointer }
  | { readonly op: 'move' | 'copy'; readonly path: Pointer; readonly from: Pointer };
type Pointer = readonly string[];

function malformed(reason: string): Problem {
  return new Problem(problems.malformed_body, `The body is not a JSON Patch (RFC 6902): ${reason}.`);
}

/** @param n of the operation, from 0 on */
function conflict(n: number, reason: string): Problem {
  return new Problem(problems.patch_conflict, `Operation ${n + 1} does not fit: ${reason}.`);
}

function readOperation(given: unknown, n: number): Operation {
  const refuse = (reason: string) => malformed(`operation ${n + 1} ${reason}`);
  if (!isObject(given)) throw refuse('is not an object');
  const pointer = (name: 'path' | 'from'): Pointer => {
    const text = given[name];
    // RFC 6901: "~" only as ~0 and ~1.
    if (typeof text !== 'string' || !/^(?:\/(?:[^~/]|~[01])*)*$/s.test(text))
      throw refuse(`must have a JSON Pointer (RFC 6901) as "${name}"`);
    const tokens = text
      .split('/')
      .slice(1)
      .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
    if (tokens.includes('__proto__')) throw refuse('names "__proto__"');
    return tokens;
  };
  const { op } = given;
  switch (op) {
    case 'add':
    case 'replace':
    case 'test':
      if (!Object.hasOwn(given, 'value')) throw refuse('must have a "value"');
      return { op, path: pointer('path'), value: given['value'] };
    case 'remove':
      return { op, path: pointer('path') };
    case 'move':
    case 'copy': {
      const operation = { op, path: pointer('path'), from: pointer('from') } as const;
      const { path, from } = operation;
      if (op === 'move' && path.length > from.length && from.every((token, at) => token === path[at]))
        throw refuse('moves a value into itself');
      return operation;
    }
    default:
      throw refuse('must have an "op" of add, remove, replace, move, copy, test');
  }
}

function newValueOf(operation: Operation, root: unknown, n: number): unknown {
  // A copy, also of what was sent: two places of the document never are one object.
  if ('value' in operation) return structuredClone(operation.value);
  if ('from' in operation) return structuredClone(find(root, operation.from, n));
  return undefined;
}

const indexPattern = /^(?:0|[1-9]\d{0,8})$/;

function member(parent: unknown, token: string, n: number): unknown {
  if (Array.isArray(parent) && indexPattern.test(token) && Number(token) < parent.length) return parent[Number(token)];
  if (isObject(parent) && Object.hasOwn(parent, token)) return parent[token];
  throw conflict(n, 'there is nothing at its path');
}

function find(root: unknown, pointer: Pointer, n: number): unknown {
  return pointer.reduce((parent, token) => member(parent, token, n), root);
}

/** @returns the document, changed in place */
function withValue(root: unknown, pointer: Pointer, value: unknown, n: number): unknown {
  const token = pointer.at(-1);
  if (token === undefined) return value;
  const parent = find(root, pointer.slice(0, -1), n);
  if (isObject(parent)) parent[token] = value;
  else if (Array.isArray(parent)) {
    const index = token === '-' ? parent.length : indexPattern.test(token) ? Number(token) : Number.NaN;
    if (!(index <= parent.length)) throw conflict(n, 'the list has no such place');
    parent.splice(index, 0, value);
  } else throw conflict(n, 'its path leads into a value that has no members');
  return root;
}

/** @returns the document, changed in place; undefined without its root */
function removed(root: unknown, pointer: Pointer, n: number): unknown {
  const token = pointer.at(-1);
  find(root, pointer, n);
  if (token === undefined) return undefined;
  const parent = find(root, pointer.slice(0, -1), n);
  if (Array.isArray(parent)) parent.splice(Number(token), 1);
  else delete (parent as Members)[token];
  return root;
}

/** Whether two JSON values are equal (RFC 6902, section 4.6), whatever the order of members. */
export function isSame(one: unknown, other: unknown): boolean {
  if (Array.isArray(one)) return Array.isArray(other) && one.length === other.length && one.every((item, at) => isSame(item, other[at]));
  if (!isObject(one) || !isObject(other)) return one === other;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]));
}
