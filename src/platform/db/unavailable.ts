// A database that is away, full or locked: the one failure that everybody waits for. What else goes wrong with a statement is a refusal
// or a defect, and waiting does not cure it.
import { codeOf, isFromServer, meaningOf } from './sqlstate.ts';

/** The statement may well succeed later. `cause` is what the server, the driver or the system said. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError';
  constructor(cause: unknown) {
    super((cause as Error).message, { cause });
  }
}

/** Errors of making a connection, whatever they are: no statement was sent. */
const ofConnecting = new WeakSet<object>();

export function noteOfConnecting(error: Error): void {
  ofConnecting.add(error);
}

// Of the driver, which has no codes: a connection that was lost or closed, that did not answer in time, or that no pool had free.
const lostConnection =
  /^(Connection terminated|Query read timeout|timeout exceeded|timeout expired|Client (was closed|has encountered)|Cannot use a pool)/;
/** Of the system and of TLS: ECONNRESET, EPIPE, ERR_SSL_... */
const systemCode = /^(E[A-Z]+|ERR_(SSL|TLS|SOCKET|STREAM)_.*)$/;

/** Whether the same statement may succeed later. An error that nobody knows is a defect. */
export function isUnavailable(error: unknown): boolean {
  if (isFromServer(error)) {
    const meaning = meaningOf(error);
    return meaning === 'later' || meaning === 'again';
  }
  if (!(error instanceof Error)) return false;
  const isKnown = ofConnecting.has(error) || lostConnection.test(error.message) || systemCode.test(codeOf(error) ?? '');
  // A pool that gave up in time has the failure as its cause.
  return isKnown || (error.cause instanceof Error && ofConnecting.has(error.cause));
}
