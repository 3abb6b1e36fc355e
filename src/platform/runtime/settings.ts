// What settings are made of: schemas, and what a schema cannot say. Each is declared by its owner; config.ts reads them all.
import { Type } from './schema.ts';

/** What a setting may have beside its schema. */
export type Rules = {
  /** What stands behind "must " in a message. */
  readonly form?: string;
  /** Of a text, before it is checked. */
  readonly normalise?: (text: string) => string;
  /** Of a text that the schema allows: whether it is one. */
  readonly accepts?: (text: string) => boolean;
  /** In place of every other check; for what must not be repeated in a message. */
  readonly issuesOf?: (text: string, name: string) => readonly string[];
};

/** A time in milliseconds. */
export const Ms = (byDefault: number, description: string, maximum = 3_600_000) =>
  Type.Integer({ minimum: 1, maximum, default: byDefault, description });

/** A text with a form that a pattern checks, and that `form` tells in words. */
export const Formed = (pattern: string, form: string, options: { description?: string; default?: string } & Rules = {}) =>
  Type.String({ pattern, form, ...options });
