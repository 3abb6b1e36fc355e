// What a caller still sends of a request that has its answer: read slowly, so that it costs others nothing, and not for long.
// To close at once would reset the connection, and the answer would be lost with it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';

/** Between two pieces, which are up to 64 KiB. */
const pauseMs = 5;
const lingerMs = 1000;

export function addLeftover(app: FastifyInstance): void {
  app.addHook('onSend', ({ raw }, reply, payload, done) => {
    const { 'content-length': length, 'transfer-encoding': encoding } = raw.headers;
    if (!raw.complete && (length !== undefined || encoding !== undefined)) readAway(raw, reply.raw);
    done(null, payload);
  });
}

function readAway(request: IncomingMessage, response: ServerResponse): void {
  request.on('data', () => {
    request.pause();
    setTimeout(() => request.resume(), pauseMs);
  });
  response.once('finish', () => {
    const timer = setTimeout(() => request.destroy(), lingerMs);
    request.once('close', () => clearTimeout(timer));
  });
}
