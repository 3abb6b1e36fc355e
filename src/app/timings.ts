// Times that are kept in different places and must stand in a relation to each other.
import { idleInTransactionMs } from '../platform/db/client.ts';
import { batchMs } from '../platform/events/relay.ts';
import { inboxDays, retryMinutesMax, sinceDays } from '../platform/events/store/inbox.ts';

export type Timings = {
  readonly batchMs: number;
  readonly confirmTimeoutMs: number;
  readonly idleInTransactionMs: number;
  readonly retryDelaysMs: readonly number[];
  readonly retryMinutesMax: number;
  readonly inboxDays: number;
  readonly sinceDays: number;
};

export const own = { batchMs, idleInTransactionMs, retryMinutesMax, inboxDays, sinceDays };

/** What a relay needs beside the waits: the statements around its batch, on a machine that has much to do. */
const statementsMs = 1000;

/** @returns what does not fit, in words; the service does not start on it */
export function timingIssues(times: Timings): string[] {
  const { confirmTimeoutMs, retryDelaysMs } = times;
  const issues: string[] = [];
  const batchInAllMs = times.batchMs + confirmTimeoutMs + statementsMs;
  if (batchInAllMs >= times.idleInTransactionMs)
    issues.push(
      `RABBITMQ_CONFIRM_TIMEOUT_MS (${confirmTimeoutMs}) is too long: with a batch of ${times.batchMs} ms it reaches the ${times.idleInTransactionMs} ms after which PostgreSQL ends the relay's transaction.`,
    );
  const longestMs = Math.max(...retryDelaysMs);
  if (longestMs >= times.retryMinutesMax * 60_000)
    issues.push(
      `A delivery is retried after ${longestMs} ms, and one that is due in more than ${times.retryMinutesMax} minutes counts as due now.`,
    );
  if (retryDelaysMs.some((delayMs, n) => delayMs < (retryDelaysMs[n - 1] ?? 0))) issues.push('The waits between retries get shorter.');
  if (times.sinceDays >= times.inboxDays)
    issues.push(`The inbox forgets after ${times.inboxDays} days, and is asked for ${times.sinceDays}: an event would take effect twice.`);
  return issues;
}
