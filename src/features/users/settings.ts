// Settings of the users.
import { readFileSync } from 'node:fs';
import { compileSchema } from '../../platform/http/document-values.ts';
import { Type } from '../../platform/runtime/schema.ts';
import type { Rules } from '../../platform/runtime/settings.ts';
import { attributeIndexes, indexedPaths } from './indexed-attributes.ts';

/** @throws where the file is none, in words for the operator that repeat nothing of it */
export function readAttributesSchema(path: string): object {
  const schema = readJson(path);
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) throw new Error('it holds no object');
  try {
    compileSchema(schema);
    indexedPaths(schema);
  } catch (error) {
    throw new Error((error as Error).message.replaceAll(/\p{Cc}+/gu, ' ').slice(0, 200), { cause: error });
  }
  return schema;
}

/** The indexes of the attributes that the schema in the file marks. */
export const readIndexes = (path: string | undefined) =>
  attributeIndexes(path === undefined ? [] : indexedPaths(readAttributesSchema(path)));

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(code === undefined ? 'it holds no JSON' : `it cannot be read (${code})`, { cause: error });
  }
}

export const settings = {
  EVENT_PAYLOAD: Type.Enum(['full', 'id'], {
    default: 'full',
    description: '`full` puts the user into events, `id` only its id and version.',
  }),
  USERNAME_CONFUSABLES: Type.Enum(['refuse', 'allow'], {
    default: 'refuse',
    description: 'Whether a username may look like that of another user (UTS #39).',
  }),
  USER_ATTRIBUTES_SCHEMA: Type.Optional(
    Type.String({
      description:
        'File with a JSON Schema (2020-12) that new `attributes` of users must keep. Lists filter by those that it marks with `"x-indexed": true`.',
      issuesOf(path: string, name: string) {
        try {
          readAttributesSchema(path);
          return [];
        } catch (error) {
          return [`${name} must name a file with a JSON Schema of an object: ${(error as Error).message}.`];
        }
      },
    } satisfies Rules & { description: string }),
  ),
  REQUIRE_IF_MATCH: Type.Boolean({ default: false, description: 'Whether changes of a user without `If-Match` are refused.' }),
  PASSWORD_LENGTH_MIN: Type.Integer({ minimum: 8, maximum: 128, default: 8, description: 'Shortest password, in code points.' }),
};
