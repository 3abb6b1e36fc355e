// What a caller may cost who was refused: its answer waits where the body was large, so that four of them in a loop change
// nothing for others, and what it still sends is read slowly, and not for long. To close at once would reset the connection, and
// the answer would be lost with it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';

/** No honest body comes near it. */
const largeBytes = 8192;
const largeRefusalMs = 20;
/** Between two pieces, which are up to 64 KiB. */
const pauseMs = 5;
const lingerMs = 1000;

export function addLeftover(app: FastifyInstance): void {
  app.addHook('onSend', ({ raw }, reply, payload, done) => {
    const bytes = raw.headers['transfer-encoding'] === undefined ? Number(raw.headers['content-length'] ?? 0) : Number.POSITIVE_INFINITY;
    if (!raw.complete && bytes > 0) readAway(raw, reply.raw);
    const isRefused = reply.statusCode >= 400 && reply.statusCode < 500;
    if (isRefused && bytes > largeBytes) setTimeout(done, largeRefusalMs, null, payload);
    else done(null, payload);
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
