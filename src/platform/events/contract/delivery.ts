// A message on its way in: as it came, as it is read, and as a row keeps it.
import { exceeded } from '../../runtime/json-bounds.ts';

/** `body` is what the sender sent, byte for byte; properties and headers are those of AMQP. */
export type Delivery = {
  readonly body: Buffer;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
  /** False once the broker may have given it to another consumer. */
  isHeld(): boolean;
};

const bodyBytesMax = 1 << 20;
/** No event of ours comes near; what is made of a message later walks down every level. */
const bounds = { depthMax: 32, membersMax: 10_000 };

/** What the body says, if it is JSON that an event of ours could be. */
export function readBody(body: Buffer): { readonly value: unknown } | { readonly unreadable: string } {
  if (body.length > bodyBytesMax) return { unreadable: `the body is larger than ${bodyBytesMax} bytes` };
  const bound = exceeded(body, bounds);
  if (bound === 'depth') return { unreadable: `the body is nested more than ${bounds.depthMax} levels deep` };
  if (bound === 'members') return { unreadable: `the body has more than ${bounds.membersMax} members` };
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) };
  } catch {
    return { unreadable: 'the body is not JSON in UTF-8' };
  }
}

/**
 * Properties or headers as JSON for a column of type json. What JSON cannot say becomes an object with one key: `$bytes` (base64) or
 * `$number`.
 */
export function toJson(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(plain(fields, 0));
}

function plain(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value))) return { $number: String(value) };
  if (Buffer.isBuffer(value)) return { $bytes: value.toString('base64') };
  if (typeof value !== 'object' || value === null) return value;
  if (depth === bounds.depthMax) return { $tooDeep: true };
  if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
  // Without a prototype, so that a header named __proto__ is one like any other.
  const copy: Record<string, unknown> = Object.create(null);
  for (const [key, item] of Object.entries(value)) copy[key] = plain(item, depth + 1);
  return copy;
}

/** A text of the delivery, the first that is there. */
export function textOf(...values: readonly unknown[]): string | undefined {
  return values.find((value): value is string => typeof value === 'string' && value !== '');
}
