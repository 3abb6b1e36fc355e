// What the relay and the consumer need of a message broker. Two keep this promise: RabbitMQ, and one inside the process;
// both pass the suite of test/integration/broker.test.ts.
import type { Delivery } from './contract/delivery.ts';
import type { Message } from './store/backlog.ts';

export type Publisher = AsyncDisposable & {
  /** False while the broker is away or takes no messages: publishing would only wait. */
  readonly ready: boolean;
  /**
   * Resolves once the broker has taken responsibility: 'routed' if at least one queue has it on disk, else the reason
   * why it came back. Rejects where neither is known: the event may or may not have arrived, and must be sent again.
   */
  publish(message: Message): Promise<'routed' | { readonly returned: string }>;
};

/** What becomes of a delivery: the consumer has it in its tables, or it counts as if it had not come. */
export type Verdict = 'settled' | 'give back';

export type Handle = (delivery: Delivery) => Promise<Verdict>;

export type Subscriber = {
  readonly handle: Handle;
  /** Keeps a delivery that the broker itself gave up. */
  readonly bury: Handle;
};

export type Broker = {
  /** Why the broker cannot be used as it is set up, in words for anybody; `isCertain` is false where it may be an outage as well. */
  readonly refusal: { readonly sentence: string; readonly isCertain: boolean } | undefined;
  startPublisher(): Publisher;
  /**
   * Hands over deliveries in the order in which they come. Disposal begins nothing new, waits for the deliveries under way, and gives
   * the others back: no other consumer is handed any before that.
   */
  startSubscription(subscriber: Subscriber): AsyncDisposable;
};
