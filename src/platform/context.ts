// What travels with one unit of work (a request, an event): its trace id. Kept in AsyncLocalStorage, so that no call
// hands it on and no log line can forget it.
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash, randomUUID } from 'node:crypto';

export type Context = {
  /** The caller's X-Request-Id or X-Trace-Id, the trace id of its traceparent, or a new UUID: at most 128 of [A-Za-z0-9._:-]. */
  readonly traceId: string;
  /** W3C Trace Context header value that continues the caller's trace. */
  readonly traceparent: string;
};

const storage = new AsyncLocalStorage<Context>();

export function run<T>(context: Context, work: () => T): T {
  return storage.run(context, work);
}

export function current(): Context | undefined {
  return storage.getStore();
}

export const traceIdPattern = /^[A-Za-z0-9._:-]{1,128}$/;
// W3C Trace Context, section 3.2: lower-case hex; version ff, and ids of zeros, are invalid.
const traceparentPattern = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?$/;

export function isTraceId(value: unknown): value is string {
  return typeof value === 'string' && traceIdPattern.test(value);
}

/** Never trusts what a client sends: an id that does not match its pattern counts as absent. */
export function createContext(requestId: string | undefined, traceparent: string | undefined): Context {
  const parent = traceparent === undefined ? undefined : readTraceparent(traceparent);
  const traceId = isTraceId(requestId) ? requestId : (parent?.traceId ?? randomUUID());
  let own: string | undefined;
  return {
    traceId,
    // Made when it is first asked for: most requests write nothing that carries it.
    get traceparent() {
      own ??= formatTraceparent(parent?.traceId ?? hexTraceId(traceId), parent?.sampled ?? true);
      return own;
    },
  };
}

function readTraceparent(value: string): { traceId: string; sampled: boolean } | undefined {
  const [, traceId, flags, rest] = traceparentPattern.exec(value) ?? [];
  // Version 00 has exactly four fields; only a later version may carry more.
  if (traceId === undefined || flags === undefined || (rest !== undefined && value.startsWith('00'))) return undefined;
  return { traceId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

// Of the flags only the lowest bit is handed on: version 00 has no other (section 3.2.2.5).
function formatTraceparent(traceId: string, sampled: boolean): string {
  // Of a random UUID, which costs a tenth of eight random bytes: its last 16 digits, of which the first is never 0.
  const parentId = randomUUID().replaceAll('-', '').slice(16);
  return `00-${traceId}-${parentId}-${sampled ? '01' : '00'}`;
}

// A trace id of W3C is 16 bytes: a UUID is that already, any other id is hashed to it, so that one id gives one trace.
function hexTraceId(traceId: string): string {
  const hex = traceId.replaceAll('-', '').toLowerCase();
  if (/^(?!0{32})[0-9a-f]{32}$/.test(hex)) return hex;
  return createHash('sha256').update(traceId).digest('hex').slice(0, 32);
}
