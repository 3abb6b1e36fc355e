// The broker of a single process: a publisher hands the event straight to the subscription and confirms when it is
// settled, so nothing is held in memory that the outbox does not hold too.
import type { Db } from '../db/client.ts';
import type { Broker, Delivery, Message, Publisher, Verdict } from './broker.ts';

export function createInProcessBroker(db: Db): Broker {
  let subscription: ((delivery: Delivery) => Promise<Verdict>) | undefined;
  const underWay = new Set<Promise<unknown>>();

  async function deliver(handle: (delivery: Delivery) => Promise<Verdict>, message: Message): ReturnType<Publisher['publish']> {
    // What arrives has been through JSON, as it would on a wire.
    const body: unknown = JSON.parse(JSON.stringify(message.event));
    const { subject, traceparent, attempts } = message;
    const verdict = await handle({ body, subject, traceparent, attempts, traceId: message.event.trace_id });
    if (verdict === 'done') return 'routed';
    if (verdict === 'give back') throw new Error('the consumer is stopping');
    // The outbox keeps the event and tries again: it is the delay queue here, and counts the attempts.
    if ('retryInMs' in verdict) return { returned: 'the consumer failed' };
    await bury(message, verdict.dead);
    return 'routed';
  }

  async function bury({ event, attempts, position, loggedAt, subject }: Message, reason: string): Promise<void> {
    await db.query(
      `insert into dead_letter (event_id, event_type, trace_id, attempts, reason, body, position, logged_at, subject)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
       on conflict (event_id) do update set attempts = excluded.attempts, reason = excluded.reason, dead_at = now()`,
      [event.event_id, event.event_type, event.trace_id, attempts + 1, reason, JSON.stringify(event), position, loggedAt, subject],
    );
  }

  return {
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
    startSubscription(handle) {
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
