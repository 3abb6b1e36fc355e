// What HTTP itself asks of a request, before anyone looks at what the request is for.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { Problem } from '../problem.ts';
import { isReadable } from './target.ts';

// RFC 9110, section 7.2: a name or an address, and perhaps a port; empty where the target has no authority.
const hostPattern = /^(\[[\da-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/i;

export function addProtocol(app: FastifyInstance): void {
  // Node would answer an Expect that is not 100-continue with an empty 417.
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => app.routing(request, response));

  app.addHook('onRequest', async ({ headers, raw, originalUrl }) => {
    if (!isReadable(originalUrl)) throw new Problem('malformed_request', 'The path is not valid percent-encoding.');
    // RFC 9112, section 3.2. Node keeps the first of several.
    const hosts = raw.headersDistinct['host'] ?? [];
    if (hosts.length > 1 || (hosts.length === 0 && raw.httpVersion === '1.1')) {
      throw new Problem('malformed_request', `The Host header is ${hosts.length > 1 ? 'there more than once' : 'missing'}.`);
    }
    if (headers.host !== undefined && !hostPattern.test(headers.host)) throw new Problem('malformed_request', 'The Host header is not valid.');
    // RFC 9110, section 10.1.1.
    if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
      throw new Problem('expectation_failed', 'Only the expectation 100-continue is known here.');
    }
  });
}
