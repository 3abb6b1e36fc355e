// Every failure on its way out: RFC 9457 problem details on every path, the framework's own failures included.
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import * as context from '../context.ts';
import { meaningOf } from '../db/sqlstate.ts';
import { DatabaseUnavailableError } from '../db/unavailable.ts';
import { Problem, problems, type Violation } from '../problem.ts';
import { Type } from '../runtime/schema.ts';
import type { Logger } from '../telemetry/logger.ts';
import { unsupportedType } from './negotiation.ts';
import { nothingAt } from './target.ts';
import { validationProblem } from './validation.ts';

export const problemType = 'application/problem+json';

const ViolationDetails = Type.Object(
  {
    key: Type.String({ description: 'The field or parameter, as a path.' }),
    message: Type.String({ description: 'The rule that it breaks.' }),
    source: Type.Enum(['body', 'query', 'path', 'header'], { description: 'The part of the request.' }),
  },
  { $id: 'Violation', additionalProperties: false, description: 'A rule that the request breaks.' },
);

export const ProblemDetails = Type.Object(
  {
    type: Type.String({ format: 'uri', description: 'Names the kind of problem; docs/problems.md explains each.' }),
    title: Type.String({ description: 'The kind of problem in words; the same each time.' }),
    status: Type.Integer({ minimum: 400, maximum: 599, description: 'The HTTP status.' }),
    detail: Type.String({ description: 'What went wrong this time.' }),
    instance: Type.String({ description: 'The path of the request.' }),
    code: Type.String({
      description: 'The last part of `type`, to compare with. Later versions may add codes; what an unknown one means, `status` says.',
    }),
    trace_id: Type.String({ description: 'Finds this request in the logs.' }),
    status_code: Type.Integer({ minimum: 400, maximum: 599, description: 'The same as `status`, for clients of the former service.' }),
    extra: Type.Array(Type.Unsafe<Violation>({ $ref: 'Violation#' }), {
      description: 'Each rule that was broken, where there are any.',
    }),
  },
  { $id: 'Problem', additionalProperties: false, description: 'Problem details (RFC 9457).' },
);
export type ProblemDetails = Static<typeof ProblemDetails>;

export function detailsOf(problem: Problem, path: string, traceId: string): ProblemDetails {
  const { status, title } = problem.kind;
  return {
    type: `urn:rollcall:problem:${problem.code}`,
    title,
    status,
    detail: problem.message,
    instance: path,
    code: problem.code,
    trace_id: traceId,
    status_code: status,
    extra: [...problem.violations],
  };
}

export function bodyTooLarge(bytesMax: number, cause?: unknown): Problem {
  const limit = bytesMax % 1024 === 0 ? `${bytesMax / 1024} KiB` : `${bytesMax} bytes`;
  return new Problem(problems.body_too_large, `The body is larger than ${limit}.`, { cause });
}

function asProblem(error: unknown, request: FastifyRequest): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof DatabaseUnavailableError || meaningOf(error) === 'unfit') {
    const headers = { 'retry-after': '1' };
    const cause = error instanceof DatabaseUnavailableError ? error.cause : error;
    return new Problem(problems.database_unavailable, 'The database cannot be reached right now. Try again later.', { headers, cause });
  }
  const refused = validationProblem(error, request.method, request.shownPath);
  if (refused !== undefined) return refused;
  // The connection broke off under the body: no error of ours, and nobody is left to answer.
  if (error === request.raw.errored) return new Problem(problems.malformed_request, 'The body ended early.', { cause: error });
  if ((error as FastifyError).code === 'FST_ERR_CTP_BODY_TOO_LARGE') return bodyTooLarge(request.routeOptions.bodyLimit, error);
  if ((error as FastifyError).code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return unsupportedType(request.method, error);
  const detail = 'Something went wrong on our side; the trace id finds it in our logs.';
  return new Problem(problems.internal_error, detail, { cause: error });
}

export function refuse(reply: FastifyReply, problem: Problem): FastifyReply {
  const { shownPath, trace } = reply.request;
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(problemType)
    .send(JSON.stringify(detailsOf(problem, shownPath, trace.traceId)));
}

export function addErrors(app: FastifyInstance, log: Logger): void {
  app.addSchema(ViolationDetails);
  app.addSchema(ProblemDetails);
  app.setErrorHandler((error, request, reply) => {
    const problem = asProblem(error, request);
    context.run(request.trace, () => {
      const fields = { method: request.method, path: request.shownPath, code: problem.code };
      if (problem.code === 'internal_error') log.error({ ...fields, error }, 'Request failed');
      else if (problem.status >= 500) log.warn({ ...fields, error: problem.cause ?? problem }, 'Request refused');
    });
    // The framework closes the connection where it stops reading a body, and a caller who still sends would lose the answer to
    // the reset that follows; leftover.ts reads what comes.
    reply.removeHeader('connection');
    return refuse(reply, problem);
  });
  // For a route that finds nothing, such as a file; a path without a route is refused before its body is read (methods.ts).
  app.setNotFoundHandler((request) => {
    throw nothingAt(request.shownPath);
  });
}
