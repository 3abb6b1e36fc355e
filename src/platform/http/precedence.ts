// Who waits for an answer goes before the streams that catch up: these could use a whole core for seconds, and nobody would see it
// but in the times of everybody else.
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';

export type Precedence = {
  /** Resolves when no request waits for its answer any more; soon anyway, so that streams go on under any load. */
  giveWay(): Promise<void>;
  /** The answer is a stream itself. */
  exempt(response: ServerResponse): void;
};

/** An answer that takes longer waits for something else than the processor. */
const answerMsMax = 20;
const restMsMax = 10;
/** Between two rests: of a processor that is never free, streams get about a tenth. */
const workMs = 1;

export function createPrecedence(): Precedence & { addTo(app: Pick<FastifyInstance, 'server'>): void } {
  /** With the time at which each came, oldest first. */
  const waiting = new Map<ServerResponse, number>();
  let restedAt = 0;
  let rest: { readonly over: Promise<void>; readonly end: () => void } | undefined;

  function isAnyoneWaiting(): boolean {
    const now = performance.now();
    for (const [response, since] of waiting) {
      if (now - since < answerMsMax) return true;
      waiting.delete(response);
    }
    return false;
  }

  function startRest(): Promise<void> {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const end = () => {
      clearTimeout(timer);
      rest = undefined;
      restedAt = performance.now();
      resolve();
    };
    const timer = setTimeout(end, restMsMax);
    rest = { over, end };
    return over;
  }

  function exempt(response: ServerResponse): void {
    if (waiting.delete(response) && waiting.size === 0) rest?.end();
  }

  return {
    async giveWay() {
      if (rest !== undefined) return rest.over;
      if (performance.now() - restedAt < workMs || !isAnyoneWaiting()) return;
      await startRest();
    },
    exempt,
    addTo({ server }) {
      server.on('request', (_request, response: ServerResponse) => {
        waiting.set(response, performance.now());
        response.once('close', () => exempt(response));
      });
    },
  };
}
