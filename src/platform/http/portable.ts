// The OpenAPI document as clients in other languages are generated from it: patterns that ECMAScript, RE2, Java and Python read alike,
// ids as integers, lists as lists, and answers that may get further members and values. What the service checks does not change by it.
import { formats } from './formats.ts';

type Schema = Record<string, unknown>;

/** Look-around, back-references, properties of Unicode, and code points by number (RE2 syntax; ECMA-262, with and without the flag u). */
const unportable = /\(\?[=!<]|\\[pPu1-9]/;

const int32Max = 2 ** 31 - 1;

/** @param document OpenAPI or AsyncAPI; it is changed */
export function portable<Document extends { paths?: object }>(document: Document): Document {
  visit(document, (node) => {
    const { 'x-documented': documented } = node;
    if (documented === undefined) return;
    for (const name of ['pattern', 'x-documented']) delete node[name];
    Object.assign(node, documented);
  });
  // What callers send, and with it the schemas by name.
  const requests = new Set(['requestBody', 'parameters']);
  const isRequest = (path: readonly string[]) => path.some((part) => requests.has(part));
  visit(document.paths ?? {}, ({ $ref }, path) => {
    if (typeof $ref === 'string' && isRequest(path)) requests.add($ref.slice($ref.lastIndexOf('/') + 1));
  });
  visit(document, (node, path) => {
    // Nobody else knows them, or knows others by the same name.
    if (typeof node['format'] === 'string' && node['format'] in formats) delete node['format'];
    describePattern(node);
    if (Array.isArray(node['enum']) && node['enum'].every((value) => typeof value === 'string')) node['type'] ??= 'string';
    if (node['type'] === 'integer' && !(Math.abs(Number(node['maximum'] ?? Infinity)) <= int32Max)) node['format'] ??= 'int64';
    if (!isRequest(path)) open(node);
  });
  visit(document.paths ?? {}, (node) => {
    const { schema } = node as { schema?: Schema };
    if (node['in'] !== 'query' && node['in'] !== 'path') return;
    if (schema?.['type'] === 'array') Object.assign(node, { style: 'form', explode: false });
    if (schema?.['type'] === 'integer' && typeof node['example'] === 'string') node['example'] = Number(node['example']);
    if (schema?.['type'] === 'array' && typeof node['example'] === 'string') {
      const isOfNumbers = (schema['items'] as Schema | undefined)?.['type'] === 'integer';
      node['example'] = node['example'].split(',').map((item) => (isOfNumbers ? Number(item) : item));
    }
  });
  return document;
}

/** What a reader gets may have more members and other values in a later version, and a client that was made today must not fail then. */
function open(node: Schema): void {
  if (node['additionalProperties'] === false) delete node['additionalProperties'];
  delete node['uniqueItems'];
  const { enum: values, description } = node;
  if (!Array.isArray(values) || values.length < 2) return;
  delete node['enum'];
  const known = `${description === undefined ? '' : `${description} `}One of ${values.map((value) => `\`${value}\``).join(', ')}; later versions may add others.`;
  node['description'] = known;
}

/** A pattern that others cannot read is described in words. */
function describePattern(node: Schema): void {
  const { pattern, description, 'x-pattern-message': words } = node;
  delete node['x-pattern-message'];
  if (typeof pattern !== 'string' || !unportable.test(pattern)) return;
  delete node['pattern'];
  if (typeof words === 'string') node['description'] = `${description === undefined ? '' : `${description} `}It ${words}.`;
}

function visit(value: unknown, look: (node: Schema, path: readonly string[]) => void, path: readonly string[] = []): void {
  if (Array.isArray(value)) for (const part of value) visit(part, look, path);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
  look(value as Schema, path);
  for (const [name, part] of Object.entries(value)) if (name !== 'example' && name !== 'examples') visit(part, look, [...path, name]);
}
