// Graceful shutdown of the HTTP server: fail readiness, then stop accepting connections, then answer what is under way.
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';

export type Drain = {
  readonly draining: boolean;
  /**
   * Readiness fails from now on, and each answer closes its connection; after `ms` nothing new is accepted, and the promise
   * settles when the last request under way has been answered, or cut off after 5 s.
   */
  close(ms: number): Promise<void>;
};

// Longer than any answer takes. A closing server of Node no longer looks for requests that are late, so without a limit one
// that never arrives would hold up the end for ever.
const answersMsMax = 5000;
/** What a request takes at most from a connection's acceptance to its first byte, on a machine that has much to do. */
const firstByteMs = 300;

export function addDrain(app: FastifyInstance): Drain {
  let draining = false;
  // Connections on which no request was ever sent, as clients and balancers keep them in store: Node does not count them as
  // idle, and would wait for them.
  const unused = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  app.server.on('request', ({ socket }) => unused.delete(socket));

  app.addHook('onSend', (_request, reply, payload, done) => {
    if (draining) reply.header('connection', 'close');
    done(null, payload);
  });
  return {
    get draining() {
      return draining;
    },
    async close(ms) {
      draining = true;
      await sleep(ms);
      const closed = app.close();
      const timers = [
        setTimeout(() => {
          for (const socket of unused) if (socket.bytesRead === 0) socket.destroy();
        }, firstByteMs),
        setTimeout(() => app.server.closeAllConnections(), answersMsMax),
      ];
      await closed;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
