// A publisher in memory, for what only the relay and PostgreSQL take part in.
import type { Publisher } from '../../src/platform/events/broker.ts';
import type { Message } from '../../src/platform/events/store/backlog.ts';

export type Fate = 'routed' | 'returned' | 'lost';

/** Keeps what it was given, in order. @param fateOf what becomes of each: `lost` is a confirm that does not come */
export function createPublisher(fateOf: (message: Message) => Fate): Publisher & { readonly sent: readonly Message[] } {
  const sent: Message[] = [];
  return {
    ready: true,
    sent,
    async publish(message) {
      sent.push(message);
      const fate = fateOf(message);
      if (fate === 'lost') throw new Error('no confirm');
      return fate === 'routed' ? 'routed' : { returned: 'NO_ROUTE' };
    },
    async [Symbol.asyncDispose]() {},
  };
}
