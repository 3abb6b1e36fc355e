// What was attempted and what was seen: the truth that check.ts judges. Times are milliseconds since the run began.

/** `refused`: the service said that it did nothing. `unknown`: nobody said, so both may be true. */
export type Outcome = 'acknowledged' | 'refused' | 'unknown';

export type Attempt = {
  /** Its X-Request-Id, and so the trace id of its event. */
  readonly id: string;
  readonly client: string;
  readonly instance: string;
  readonly kind: 'create' | 'update' | 'delete' | 'read';
  /** Of a creation that was not acknowledged nobody knows it. */
  readonly userId?: number | undefined;
  /** What was to become the user's name; no two attempts have the same. */
  readonly name?: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly outcome: Outcome;
  /** A status and code, or what the connection ended with: `200`, `503 database_unavailable`, `ECONNRESET`. */
  readonly answer: string;
};

/** An event as the harness received it from the broker. */
export type Delivery = {
  readonly eventId: string;
  readonly eventType: string;
  readonly traceId: string;
  readonly userId: number;
  readonly version: number;
  readonly name?: string | undefined;
  /** Which instance published it. */
  readonly appId?: string | undefined;
  readonly receivedAt: number;
  /**
   * `queue`: through the exchange, as any other service gets it. `trace`: the broker's own record of what was published, kept while
   * no queue is bound; of each attempt to publish, so it tells what an event says, and nothing about duplicates.
   */
  readonly source: 'queue' | 'trace';
  /** The broker gave it to the harness before, as far as it knows. */
  readonly redelivered: boolean;
};

/** A row that the consumer committed. They come in the order in which they were written. */
export type Effect = { readonly eventId: string; readonly traceId: string };

export type UserRow = { readonly id: number; readonly version: number; readonly name: string };

export type History = {
  readonly attempts: readonly Attempt[];
  readonly deliveries: readonly Delivery[];
  readonly effects: readonly Effect[];
  /** The table at the end. */
  readonly users: readonly UserRow[];
  /** The `total` of the list at the end. */
  readonly total: number;
  readonly outboxDepth: number;
  /** Messages in all of the service's queues, and rows of deliveries that wait or were given up. */
  readonly queued: number;
};
