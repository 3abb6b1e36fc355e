// The end of the HTTP server without a failed request: first new work is turned elsewhere, then the door is closed.
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';

export type Drain = {
  readonly draining: boolean;
  /**
   * Readiness fails from now on, and each answer closes its connection; after `ms` nothing new is accepted, and the promise
   * settles when the last request under way has been answered.
   */
  close(ms: number): Promise<void>;
};

export function addDrain(app: FastifyInstance): Drain {
  let draining = false;
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
      await app.close();
    },
  };
}
