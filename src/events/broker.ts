// What the relay and the consumer need of a message broker. Two keep this promise: RabbitMQ, and one inside the process;
// both pass the suite of test/integration/broker.test.ts.
import type { LoggedEvent } from './log.ts';

/** An event of the log on its way out. */
export type Message = LoggedEvent & {
  /** Deliveries that failed before, where the broker leaves counting to the sender. */
  readonly attempts: number;
};

export type Publisher = AsyncDisposable & {
  /** False while the broker is away or takes no messages: publishing would only wait. */
  readonly ready: boolean;
  /**
   * Resolves once the broker has taken responsibility: 'routed' if at least one queue has it on disk, else the reason
   * why it came back. Rejects where neither is known: the event may or may not have arrived, and must be sent again.
   */
  publish(message: Message): Promise<'routed' | { readonly returned: string }>;
};

/** A message on its way in. */
export type Delivery = {
  /** Parsed JSON, or bytes where the body is not JSON. */
  readonly body: unknown;
  readonly subject: string | undefined;
  readonly traceId: string | undefined;
  readonly traceparent: string | undefined;
  /** How often the consumer has tried and failed before. */
  readonly attempts: number;
};

/** What becomes of a delivery: settled, tried again after a delay, given up, or given back as if it had not come. */
export type Verdict = 'done' | { readonly retryInMs: number } | { readonly dead: string } | 'give back';

export type Broker = {
  startPublisher(): Publisher;
  /** Hands over one delivery of a subject at a time, in order. Disposal waits for the deliveries under way. */
  startSubscription(handle: (delivery: Delivery) => Promise<Verdict>): AsyncDisposable;
};
