// Sends a request as it is, and says whether the document has its answer.
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { decode } from '@msgpack/msgpack';
import { ajv, type Call, closedValidatorOf, document, type Operation, type Reply, type Schema } from './document.ts';

export function createSender(url: string): Disposable & { send(call: Call): Promise<Reply> } {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true });
  return {
    // Not fetch: it rewrites paths, and refuses methods and headers that a stranger may well send.
    send: ({ method, target, headers, body }) =>
      new Promise((resolve, reject) => {
        const length = body !== undefined && headers['transfer-encoding'] === undefined ? { 'content-length': String(body.length) } : {};
        const outgoing = request({ agent, hostname, port, method, path: target, headers: { ...headers, ...length } }, (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const { statusCode = 0, headers: received } = incoming;
            resolve({ status: statusCode, headers: received as Record<string, string>, bytes: Buffer.concat(chunks) });
          });
        });
        outgoing.on('error', reject);
        outgoing.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

export function essence(contentType: string | undefined): string {
  return (contentType ?? '').replace(/;.*/s, '').trim().toLowerCase();
}

function decodeBody({ headers, bytes }: Reply): unknown {
  const type = essence(headers['content-type']);
  if (type.includes('msgpack')) return decode(bytes);
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  return type === 'application/json' || type.endsWith('+json') ? JSON.parse(text) : text;
}

/** Fails unless the document has this answer: status, content type, headers, body and code of the problem. @returns the body */
export function assertDocumented({ operationId, responses }: Operation, reply: Reply): unknown {
  const { status, headers } = reply;
  assert.ok(status < 500, `${operationId} answered ${status}`);
  const response = responses[status];
  assert.ok(response, `${operationId} does not document ${status}`);
  const type = essence(headers['content-type']);
  const media = response.content?.[type];
  assert.ok(media, `${operationId} does not document "${type}" for ${status}`);
  for (const [name, { schema }] of Object.entries(response.headers ?? {}))
    assert.ok(headers[name] ?? schema['x-optional'], `${operationId} promises the header ${name} with ${status}`);
  const body = decodeBody(reply);
  assertMatches(media.schema, body);
  if (type === 'application/problem+json') {
    const { status: inBody, code } = body as { status: number; code: string };
    assert.equal(inBody, status, 'the problem says the status of its answer');
    assert.ok(Object.hasOwn(media.examples ?? {}, code), `${operationId} does not document the problem ${code} for ${status}`);
  }
  return body;
}

/** Fails unless this is a problem as the document describes them. @returns it */
export function assertProblem(reply: Reply): { readonly status: number; readonly code: string } {
  assert.equal(essence(reply.headers['content-type']), 'application/problem+json');
  const body = decodeBody(reply);
  assertMatches(document.components.schemas['Problem'] ?? {}, body);
  return body as { status: number; code: string };
}

function assertMatches(schema: Schema, body: unknown): void {
  const validate = closedValidatorOf(schema);
  assert.ok(validate(body), `the body breaks its schema: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(body)}`);
}
