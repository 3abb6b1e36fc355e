// What Node's HTTP parser and its timers refuse, most of it before there is a request that could be answered.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply } from 'fastify';
import * as context from '../context.ts';
import { Problem, type ProblemKind, problems } from '../problem.ts';
import type { Logger } from '../telemetry/logger.ts';
import { detailsOf, problemType, refuse } from './errors.ts';
import { fixedHeaders } from './headers.ts';
import { traceHeader } from './trace.ts';

/**
 * How long a caller who is refused may go on sending into the void: to close a connection with unread input resets it, and the
 * answer is lost with it.
 */
const lingerMs = 1000;
/** Between two pieces of what is not read, so that it costs others nothing. */
const lingerPauseMs = 5;

// Node's codes (Node.js, http: Event 'clientError').
const refusals: Readonly<Record<string, readonly [ProblemKind, detail: string, reason: string]>> = {
  HPE_HEADER_OVERFLOW: [problems.headers_too_large, 'The headers are larger than 16 KiB.', 'Request Header Fields Too Large'],
  HPE_INVALID_METHOD: [problems.malformed_request, 'The request does not begin with a method that is known here.', 'Bad Request'],
  ERR_HTTP_REQUEST_TIMEOUT: [problems.request_timeout, 'The request did not arrive in time.', 'Request Timeout'],
};
const malformed = [problems.malformed_request, 'The request is not valid HTTP/1.1.', 'Bad Request'] as const;

const replies = new WeakMap<IncomingMessage, FastifyReply>();

export function addReplies(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    replies.set(request.raw, reply);
    done();
  });
}

type HttpSocket = Socket & { readonly _httpMessage?: ServerResponse<IncomingMessage> | null };

export function createClientErrorHandler(log: Logger) {
  // What comes after an error is another error, piece by piece: one is enough.
  const waiting = new WeakSet<Socket>();

  function handle(error: NodeJS.ErrnoException, socket: HttpSocket): void {
    if (waiting.has(socket)) return;
    if (socket.writableEnded) {
      socket.pause();
      setTimeout(() => socket.resume(), lingerPauseMs);
      return;
    }
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const response = socket._httpMessage;
    // An earlier request of the connection is being answered, and its answer comes first.
    if (response?.req.complete === true) {
      waiting.add(socket);
      response.once('close', () => {
        waiting.delete(socket);
        handle(error, socket);
      });
      return;
    }
    const [kind, detail, reason] = refusals[error.code ?? ''] ?? malformed;
    const problem = new Problem(kind, detail, { cause: error });
    const reply = response && replies.get(response.req);
    if (reply === undefined || reply === null) answer(problem, reason, socket);
    else if (reply.sent) socket.destroy();
    else refuse(reply.header('connection', 'close'), problem);
  }

  function answer(problem: Problem, reason: string, socket: HttpSocket): void {
    const trace = context.createContext(undefined, undefined);
    context.run(trace, () => log.info({ code: problem.code, reason: (problem.cause as Error).message }, 'Request refused'));
    const body = JSON.stringify(detailsOf(problem, '', trace.traceId));
    const headers = {
      ...fixedHeaders,
      [traceHeader]: trace.traceId,
      'content-type': problemType,
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.end(`HTTP/1.1 ${problem.status} ${reason}\r\n${lines.join('')}\r\n${body}`);
    // The parser of a request that is late still works: what else comes must not be taken for the rest of it.
    if (problem.code === 'request_timeout') socket.destroySoon();
    else setTimeout(() => socket.destroy(), lingerMs).unref();
  }

  return handle;
}
