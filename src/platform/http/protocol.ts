// What HTTP itself asks of a request, before anyone looks at what the request is for.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { Problem, problems } from '../problem.ts';
import { bodyTooLarge } from './errors.ts';
import { authorityOf, isReadable, pathOf } from './target.ts';

// RFC 9110, section 7.2: a name or an address, perhaps a port; empty where the target has no authority.
const hostPattern = /^(\[[\da-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/i;

export function addProtocol(app: FastifyInstance): void {
  // Node would answer an Expect that is not 100-continue with an empty 417, and 100-continue before anyone has looked at the
  // request.
  for (const event of ['checkExpectation', 'checkContinue']) {
    app.server.on(event, (request: IncomingMessage, response: ServerResponse) => app.routing(request, response));
  }

  app.addHook('onRequest', ({ headers: { host, expect }, raw, originalUrl }, _reply, done) => {
    if (!isReadable(originalUrl)) {
      const part = isReadable(pathOf(originalUrl)) ? 'query' : 'path';
      throw new Problem(problems.malformed_request, `The ${part} is not valid percent-encoding.`);
    }
    // RFC 9112, section 3.2. HTTP/1.0 knows no Host.
    if (host === undefined && raw.httpVersion !== '1.0') throw new Problem(problems.malformed_request, 'The Host header is missing.');
    if (host !== undefined && (!hostPattern.test(host) || isRepeated(raw.rawHeaders, 'host'))) {
      throw new Problem(problems.malformed_request, 'The Host header is not one host.');
    }
    if (!hostPattern.test(authorityOf(originalUrl) ?? ''))
      throw new Problem(problems.malformed_request, 'The target does not name one host.');
    // RFC 9110, section 10.1.1.
    if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
      throw new Problem(problems.expectation_failed, 'Only the expectation 100-continue is known here.');
    }
    done();
  });

  // Only now is the body wanted: a refusal above spares the caller the sending of it. HTTP/1.0 knows no 100.
  app.addHook('preParsing', ({ headers, raw, routeOptions }, reply, payload, done) => {
    if (headers.expect !== undefined && raw.httpVersion !== '1.0') {
      if (Number(headers['content-length']) > routeOptions.bodyLimit) throw bodyTooLarge(routeOptions.bodyLimit);
      reply.raw.writeContinue();
    }
    done(null, payload);
  });
}

// Node itself keeps the first of several. Names and values take turns in `rawHeaders`.
function isRepeated(rawHeaders: readonly string[], wanted: string): boolean {
  return rawHeaders.filter((name, index) => index % 2 === 0 && name.length === wanted.length && name.toLowerCase() === wanted).length > 1;
}
