// The OpenAPI document as clients in other languages are generated from it: patterns that ECMAScript, RE2, Java and Python read alike,
// ids as integers, lists as lists, and answers that may get further members. What the service checks does not change by it.
type Schema = Record<string, unknown>;

/** Look-around, back-references, properties of Unicode, and code points by number (RE2 syntax; ECMA-262, with and without the flag u). */
const unportable = /\(\?[=!<]|\\[pPu1-9]/;

/** @param document is changed */
export function portable<Document extends { paths?: object }>(document: Document): Document {
  const requests = new Set<string>();
  const note = (ref: string) => requests.add(ref.slice(ref.lastIndexOf('/') + 1));
  visit(document.paths ?? {}, (node, path) => {
    if (typeof node['$ref'] === 'string' && path.includes('requestBody')) note(node['$ref']);
  });
  visit(document, (node, path) => {
    describePattern(node);
    const { 'x-documented': documented } = node;
    if (documented !== undefined) {
      for (const name of ['pattern', 'x-documented']) delete node[name];
      Object.assign(node, documented);
    }
    const isRequest = path.some((part) => part === 'requestBody' || part === 'parameters' || requests.has(part));
    if (!isRequest && node['additionalProperties'] === false) delete node['additionalProperties'];
  });
  visit(document.paths ?? {}, (node) => {
    const { schema } = node as { schema?: Schema };
    if (node['in'] !== 'query' && node['in'] !== 'path') return;
    if (schema?.['type'] === 'array') Object.assign(node, { style: 'form', explode: false });
    if (schema?.['type'] === 'integer' && typeof node['example'] === 'string') node['example'] = Number(node['example']);
    if (schema?.['type'] === 'array' && typeof node['example'] === 'string') node['example'] = node['example'].split(',');
  });
  return document;
}

/** A pattern that others cannot read is told in words. */
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
