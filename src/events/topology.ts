// Names on the broker. Other services hold the exchange and bind queues of their own to it, so it never changes.

export const exchange = 'user_events';
export const queue = 'rollcall.user_events';
export const deadLetterQueue = 'rollcall.user_events.dlq';

/** Headers that versions before 0.2 gave to messages of the dead-letter queue: failed attempts, and why it was given up. */
export const attemptsHeader = 'rollcall_attempts';
export const reasonHeader = 'rollcall_reason';
