// Names on the broker. Other services hold the exchange and bind queues of their own to it, so it never changes.

export const exchange = 'user_events';
export const queue = 'rollcall.user_events';
export const deadLetterQueue = 'rollcall.user_events.dlq';

/** Where a failed delivery waits, by delay; it goes back to the queue when the time is over. */
export function retryQueue(delayMs: number): string {
  return `${queue}.retry.${delayMs}ms`;
}

/** Our own count of failed attempts; the broker's counts are not the same over its versions. */
export const attemptsHeader = 'rollcall_attempts';
/** Why the consumer gave a message up. */
export const reasonHeader = 'rollcall_reason';

/** The client refuses a property that is there and undefined. */
export function definedOnly<Fields extends object>(fields: Fields): { [Key in keyof Fields]?: NonNullable<Fields[Key]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Fields]?: NonNullable<Fields[Key]>;
  };
}
