// The attributes that lists filter by: those that the schema of the attributes marks with `"x-indexed": true`, each with an index.
import { createHash } from 'node:crypto';
import type { WantedIndex } from '../../platform/db/indexes.ts';

const namePattern = /^[A-Za-z0-9_-]{1,50}$/;
const pathsMax = 10;
/** Characters of a value that the index has. */
const valueMax = 200;

type Node = { readonly 'x-indexed'?: unknown; readonly properties?: Readonly<Record<string, Node>> };

/** By dots, such as `address.city`. @throws where one cannot have an index, in words for the operator */
export function indexedPaths(schema: object | undefined): readonly string[] {
  const paths = schema === undefined ? [] : pathsIn(schema, []);
  if (paths.length > pathsMax) throw new Error(`it marks ${paths.length} attributes as indexed, and ${pathsMax} is the most`);
  return paths;
}

function pathsIn({ properties }: Node, above: readonly string[]): string[] {
  if (typeof properties !== 'object' || properties === null) return [];
  return Object.entries(properties).flatMap(([name, node]) => {
    if (typeof node !== 'object' || node === null) return [];
    const path = [...above, name];
    if (node['x-indexed'] !== true) return pathsIn(node, path);
    const odd = path.find((part) => !namePattern.test(part));
    if (odd !== undefined) throw new Error('it marks an attribute as indexed whose name is not of 1 to 50 of A-Z a-z 0-9 _ -');
    return [path.join('.'), ...pathsIn(node, path)];
  });
}

/** The value of an attribute as a text, and its first characters as the index has them. @param table with a dot, such as `u.` */
export function attributeSql(path: string, table = 'u.'): { readonly cut: string; readonly whole: string; readonly max: number } {
  const whole = `(${table}attributes #>> '{${path.replaceAll('.', ',')}}'::text[])`;
  return { whole, cut: `left(${whole}, ${valueMax})`, max: valueMax };
}

const prefix = 'user_attribute_';

export function attributeIndexes(paths: readonly string[]): { readonly prefix: string; readonly indexes: readonly WantedIndex[] } {
  const indexes = paths.map((path) => ({
    name: `${prefix}${createHash('sha256').update(path).digest('hex').slice(0, 16)}`,
    on: `"user" ((${attributeSql(path, '').cut}), status, id)`,
  }));
  return { prefix, indexes };
}
