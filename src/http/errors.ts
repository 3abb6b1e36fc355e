// Every failure on its way out: RFC 9457 problem details on every path, the framework's and Node's own failures included.

import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import * as context from '../context.ts';
import { Problem, type ProblemCode, problems } from '../problem.ts';
import type { Logger } from '../telemetry/logger.ts';
import { pathOf, traceHeader } from './trace.ts';
import { validationProblem } from './validation.ts';

const mediaType = 'application/problem+json';

export const ProblemDetails = Type.Object(
  {
    type: Type.String({ format: 'uri', description: 'Names the kind of problem; docs/problems.md explains each.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What went wrong this time.' }),
    instance: Type.String({ description: 'The path of the request.' }),
    code: Type.String({ description: 'The last part of `type`, to compare with.' }),
    trace_id: Type.String({ description: 'Finds this request in the logs.' }),
    status_code: Type.Integer({ description: 'The same as `status`, for clients of the former service.' }),
    extra: Type.Array(
      Type.Object(
        { key: Type.String(), message: Type.String(), source: Type.Enum(['body', 'query', 'path', 'header']) },
        { additionalProperties: false },
      ),
      { description: 'Each rule that was broken, where there are any.' },
    ),
  },
  { $id: 'Problem', additionalProperties: false, description: 'Problem details (RFC 9457).' },
);
export type ProblemDetails = Static<typeof ProblemDetails>;

export function detailsOf(problem: Problem, path: string, traceId: string): ProblemDetails {
  const { status, title } = problems[problem.code];
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

// What the framework refuses, by its code, and how the caller is told.
const frameworkProblems: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'The body is larger than 1 MiB.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported_media_type',
    'The Content-Type must be application/json, application/msgpack, application/x-msgpack or application/vnd.msgpack.',
  ],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['malformed_request', 'The body is not as long as Content-Length says.'],
  FST_ERR_BAD_URL: ['malformed_request', 'The path is not valid percent-encoding.'],
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'Nothing is here.'],
  FST_ERR_ROUTE_MISSING_CONTENT_TYPE: ['unsupported_media_type', 'The Content-Type is missing.'],
};

function asProblem(error: unknown, request: FastifyRequest): Problem {
  if (error instanceof Problem) return error;
  const refused = validationProblem(error, request.method, request.url);
  if (refused !== undefined) return refused;
  const [code, detail] = frameworkProblems[(error as FastifyError).code] ?? [
    'internal_error',
    'Something went wrong on our side; the trace id finds it in our logs.',
  ];
  return new Problem(code, detail, { cause: error });
}

function send(reply: FastifyReply, request: FastifyRequest, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(mediaType)
    .send(JSON.stringify(detailsOf(problem, pathOf(request.url), request.trace.traceId)));
}

export function addErrors(app: FastifyInstance, log: Logger): void {
  app.addSchema(ProblemDetails);
  app.setErrorHandler((error, request, reply) =>
    context.run(request.trace, () => {
      const problem = asProblem(error, request);
      const fields = { method: request.method, path: pathOf(request.url), code: problem.code };
      if (problem.code === 'internal_error') log.error({ ...fields, error }, 'Request failed');
      else if (problem.status >= 500) log.warn({ ...fields, reason: (problem.cause as Error | undefined)?.message }, 'Request refused');
      return send(reply, request, problem);
    }),
  );
  app.setNotFoundHandler((request, reply) => send(reply, request, new Problem('not_found', `Nothing is at ${pathOf(request.url)}`)));
}

/** For what the router refuses before any hook has run, such as a path that cannot be decoded. */
export function frameworkErrors(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  request.trace = context.createContext(undefined, undefined);
  reply.header(traceHeader, request.trace.traceId);
  send(reply, request, asProblem(error, request));
}

// Node's codes for what its HTTP parser and its timers refuse (Node.js, http: Event 'clientError').
const clientProblems: Readonly<Record<string, readonly [ProblemCode, string, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'The headers are larger than 16 KiB.', 'Request Header Fields Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'The request did not arrive in time.', 'Request Timeout'],
};

/** Answers on the bare socket: there is no request yet. */
export function handleClientError(error: Error & { code?: string }, socket: Socket): void {
  // An answer that has begun, or a socket that is gone, cannot take another.
  const { _httpMessage: begun } = socket as Socket & { _httpMessage?: { headersSent: boolean } };
  if (error.code === 'ECONNRESET' || !socket.writable || begun?.headersSent === true) {
    socket.destroy();
    return;
  }
  const [code, detail, reason] = clientProblems[error.code ?? ''] ?? [
    'malformed_request',
    'The request is not valid HTTP/1.1.',
    'Bad Request',
  ];
  const { traceId } = context.createContext(undefined, undefined);
  const problem = new Problem(code, detail);
  const body = JSON.stringify(detailsOf(problem, '', traceId));
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${reason}`,
      'Connection: close',
      `Content-Type: ${mediaType}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      'X-Content-Type-Options: nosniff',
      `X-Trace-Id: ${traceId}`,
      '',
      body,
    ].join('\r\n'),
  );
}
