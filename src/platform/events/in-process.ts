// The broker of a single process: a publisher hands the event straight to the subscription and confirms when it is
// settled, so nothing is held in memory that the database does not hold too.
import type { Broker, Handle } from './broker.ts';
import { messageOf } from './contract/envelope.ts';
import type { Message } from './store/backlog.ts';

export function createInProcessBroker(appName: string): Broker {
  let subscription: Handle | undefined;
  const underWay = new Set<Promise<unknown>>();

  async function deliver(handle: Handle, message: Message): Promise<'routed'> {
    // What arrives has been through JSON, as it would on a wire.
    const body = Buffer.from(JSON.stringify(message.event));
    const verdict = await handle({ ...messageOf(message, appName), body, isHeld: () => true });
    if (verdict === 'give back') throw new Error('the consumer is stopping');
    return 'routed';
  }

  return {
    refusal: undefined,
    startPublisher: () => ({
      get ready() {
        return subscription !== undefined;
      },
      async publish(message) {
        if (subscription === undefined) return { returned: 'nothing is subscribed' };
        const delivering = deliver(subscription, message);
        underWay.add(delivering);
        try {
          return await delivering;
        } finally {
          underWay.delete(delivering);
        }
      },
      async [Symbol.asyncDispose]() {},
    }),
    startSubscription({ handle }) {
      if (subscription !== undefined) throw new Error('the in-process broker has one subscription');
      subscription = handle;
      return {
        async [Symbol.asyncDispose]() {
          subscription = undefined;
          await Promise.allSettled(underWay);
        },
      };
    },
  };
}
