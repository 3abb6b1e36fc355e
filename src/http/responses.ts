// How routes document and serialise what they answer: one schema in both media types, and the problems by status.
import { type TSchema, Type } from 'typebox';
import { Problem, type ProblemCode, problems } from '../problem.ts';
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

const exampleDetails: Partial<Record<ProblemCode, string>> = {
  validation_failed: 'Validation failed for POST /users/',
  malformed_body: 'The body is not valid JSON.',
  malformed_request: 'The path is not valid percent-encoding.',
  user_not_found: 'User with id 999 not found',
  user_referenced: 'User with id 1 is referenced by the table "invoice" (constraint "invoice_user_id_fkey").',
  user_conflict: 'Another user has the same name (constraint "user_name_key").',
  user_rejected: 'The table "user" does not take these values (constraint "user_name_check").',
  subscription_not_found: 'Subscription audit not found',
  dead_letter_not_found: 'Dead letter 999 not found',
  dead_letter_refused: 'Dead letter 1 stays: it is no event of ours: the body is not a JSON object.',
  body_too_large: 'The body is larger than 32 KiB.',
};

/** What any request may meet, whatever it asks for. */
const anywhere: readonly ProblemCode[] = [
  'malformed_request',
  'validation_failed',
  'request_timeout',
  'expectation_failed',
  'rate_limited',
  'headers_too_large',
  'internal_error',
];
/** What a body may meet. */
export const bodyRefusals = ['malformed_body', 'body_too_large', 'unsupported_media_type'] as const;

/** The problems that a route may answer with, by status, those that every route may answer with included. */
export function refusals(...codes: ProblemCode[]) {
  return described([...anywhere, 'misdirected_request', ...codes]);
}

/** Those of a route that is asked under any host. */
export function probeRefusals() {
  return described(anywhere);
}

function described(codes: readonly ProblemCode[]) {
  const byStatus = Map.groupBy(codes, (code) => problems[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, sameStatus]) => {
      const description = sameStatus.map((code) => `\`${code}\`: ${problems[code].title}.`).join(' ');
      const examples = Object.fromEntries(sameStatus.map((code) => [code, { value: exampleOf(code) }]));
      const headers = status === 429 || status === 503 ? { ...anyAnswerHeaders, ...laterHeaders } : anyAnswerHeaders;
      return [status, { description, headers, content: { 'application/problem+json': { schema: reference('Problem'), examples } } }];
    }),
  );
}

function exampleOf(code: ProblemCode): ProblemDetails {
  const violations = code === 'validation_failed' ? [{ key: 'name', message: 'must be of type string', source: 'body' as const }] : [];
  const problem = new Problem(code, exampleDetails[code] ?? `${problems[code].title}.`, { violations });
  return detailsOf(problem, '/users/', '0b9a3ad4-7f0e-4a1c-9d2f-6f3c1c2b7a10');
}
