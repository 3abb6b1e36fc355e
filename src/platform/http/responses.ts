// How routes document and serialise what they answer: one schema in both media types, and the problems by status.
import type { TSchema } from 'typebox';
import { Problem, type ProblemKind, problems } from '../problem.ts';
import { Type } from '../runtime/schema.ts';
import { detailsOf, type ProblemDetails } from './errors.ts';
import { mediaTypes } from './negotiation.ts';

/** Names a schema that was added to the application, so that the document holds it once. */
export function reference<Value>(id: string) {
  return Type.Unsafe<Value>({ $ref: `${id}#` });
}

const anyAnswerHeaders = { 'x-trace-id': { type: 'string', description: 'Finds this request in logs, rows and events.' } };
const laterHeaders = { 'retry-after': { type: 'integer', description: 'Seconds to wait before the next try.' } };

/** A success. Only what the schema names is sent. */
export function answer(description: string, schema: TSchema, example: unknown, headers: Record<string, object> = {}) {
  const content = Object.fromEntries(mediaTypes.map((type) => [type, { schema, example }]));
  return { description, headers: { ...anyAnswerHeaders, ...headers }, content };
}

/** What any request may meet, whatever it asks for. */
const anywhere: readonly ProblemKind[] = [
  problems.malformed_request,
  problems.validation_failed,
  problems.request_timeout,
  problems.expectation_failed,
  problems.rate_limited,
  problems.headers_too_large,
  problems.internal_error,
];
/** What a body may meet. */
export const bodyRefusals = [problems.malformed_body, problems.body_too_large, problems.unsupported_media_type] as const;

/** The problems that a route may answer with, by status, those that every route may answer with included. */
export function refusals(...kinds: ProblemKind[]) {
  return described([...anywhere, problems.misdirected_request, ...kinds]);
}

/** Those of a route that is asked under any host. */
export function probeRefusals() {
  return described(anywhere);
}

function described(kinds: readonly ProblemKind[]) {
  const byStatus = Map.groupBy(kinds, ({ status }) => status);
  return Object.fromEntries(
    [...byStatus].map(([status, sameStatus]) => {
      const description = sameStatus.map(({ code, title }) => `\`${code}\`: ${title}.`).join(' ');
      const examples = Object.fromEntries(sameStatus.map((kind) => [kind.code, { value: exampleOf(kind) }]));
      const headers = status === 429 || status === 503 ? { ...anyAnswerHeaders, ...laterHeaders } : anyAnswerHeaders;
      return [status, { description, headers, content: { 'application/problem+json': { schema: reference('Problem'), examples } } }];
    }),
  );
}

function exampleOf(kind: ProblemKind): ProblemDetails {
  const isViolation = kind === problems.validation_failed;
  const violations = isViolation ? [{ key: 'name', message: 'must be of type string', source: 'body' as const }] : [];
  const problem = new Problem(kind, kind.example ?? `${kind.title}.`, { violations });
  return detailsOf(problem, '/users/', '0b9a3ad4-7f0e-4a1c-9d2f-6f3c1c2b7a10');
}
