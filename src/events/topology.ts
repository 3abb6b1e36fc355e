// Names on the broker. Other services hold the exchange and bind queues of their own to it, so it never changes.

export const exchange = 'user_events';
export const queue = 'rollcall.user_events';
export const deadLetterQueue = 'rollcall.user_events.dlq';

/** Where a failed delivery waits, by delay; it goes back to the queue when the time is over. */
export function retryQueue(delayMs: number): string {
  return `${queue}.retry.${delayMs}ms`;
}
