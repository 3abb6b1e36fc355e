// A strict reader of MessagePack: it takes what JSON can say, and refuses the rest instead of making something of it. (The
// decoder of @msgpack/msgpack reads text that is not UTF-8 as other text, and any number of brackets.)
import { isUtf8 } from 'node:buffer';
import { Problem, problems } from '../problem.ts';
import type { Bounds } from '../runtime/json-bounds.ts';
import { checkDepth, checkMembers } from './bounds.ts';

type Cursor = { readonly bytes: Buffer; readonly bounds: Bounds; at: number; members: number };

function refuse(reason: string): never {
  throw new Problem(problems.malformed_body, `The body is not valid MessagePack: ${reason}.`);
}

/** @throws malformed_body */
export function unpack(bytes: Buffer, bounds: Bounds): unknown {
  const cursor = { bytes, bounds, at: 0, members: 0 };
  const value = readValue(cursor, 0);
  if (cursor.at !== bytes.length) refuse('more comes after its end');
  return value;
}

// The format byte says what follows (MessagePack specification, "Formats").
function readValue(cursor: Cursor, depth: number): unknown {
  const format = readUint(cursor, 1);
  if (format <= 0x7f) return format;
  if (format <= 0x8f) return readMap(cursor, format & 0x0f, depth);
  if (format <= 0x9f) return readArray(cursor, format & 0x0f, depth);
  if (format <= 0xbf) return readText(cursor, format & 0x1f);
  if (format >= 0xe0) return format - 0x100;
  switch (format) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xca:
      return finite(cursor.bytes.readFloatBE(advance(cursor, 4)));
    case 0xcb:
      return finite(cursor.bytes.readDoubleBE(advance(cursor, 8)));
    case 0xcc:
      return readUint(cursor, 1);
    case 0xcd:
      return readUint(cursor, 2);
    case 0xce:
      return readUint(cursor, 4);
    case 0xcf:
      return exact(cursor.bytes.readBigUInt64BE(advance(cursor, 8)));
    case 0xd0:
      return cursor.bytes.readInt8(advance(cursor, 1));
    case 0xd1:
      return cursor.bytes.readInt16BE(advance(cursor, 2));
    case 0xd2:
      return cursor.bytes.readInt32BE(advance(cursor, 4));
    case 0xd3:
      return exact(cursor.bytes.readBigInt64BE(advance(cursor, 8)));
    case 0xd9:
      return readText(cursor, readUint(cursor, 1));
    case 0xda:
      return readText(cursor, readUint(cursor, 2));
    case 0xdb:
      return readText(cursor, readUint(cursor, 4));
    case 0xdc:
      return readArray(cursor, readUint(cursor, 2), depth);
    case 0xdd:
      return readArray(cursor, readUint(cursor, 4), depth);
    case 0xde:
      return readMap(cursor, readUint(cursor, 2), depth);
    case 0xdf:
      return readMap(cursor, readUint(cursor, 4), depth);
    default:
      return refuse('binary data and extension types are not read here');
  }
}

/** @returns where the next `length` bytes begin */
function advance(cursor: Cursor, length: number): number {
  const start = cursor.at;
  cursor.at += length;
  if (cursor.at > cursor.bytes.length) refuse('it is cut off');
  return start;
}

function readUint(cursor: Cursor, length: 1 | 2 | 4): number {
  return cursor.bytes.readUIntBE(advance(cursor, length), length);
}

function readText(cursor: Cursor, length: number): string {
  const bytes = cursor.bytes.subarray(advance(cursor, length), cursor.at);
  if (!isUtf8(bytes)) refuse('it has text that is not UTF-8');
  return bytes.toString();
}

function readArray(cursor: Cursor, length: number, depth: number): unknown[] {
  checkDepth(depth + 1, cursor.bounds);
  if (length === 0) countMember(cursor);
  const values: unknown[] = [];
  // Grows with what is there, not with what is announced.
  for (let n = 0; n < length; n += 1) {
    countMember(cursor);
    values.push(readValue(cursor, depth + 1));
  }
  return values;
}

function countMember(cursor: Cursor): void {
  cursor.members += 1;
  checkMembers(cursor.members, cursor.bounds);
}

function readMap(cursor: Cursor, length: number, depth: number): Record<string, unknown> {
  checkDepth(depth + 1, cursor.bounds);
  if (length === 0) countMember(cursor);
  const map: Record<string, unknown> = {};
  for (let n = 0; n < length; n += 1) {
    countMember(cursor);
    const key = readValue(cursor, depth + 1);
    if (typeof key !== 'string') refuse('it has a key that is not text');
    // Keys that would reach the prototype wherever the map is copied.
    if (key === '__proto__' || key === 'constructor') refuse(`it has the key ${key}`);
    map[key] = readValue(cursor, depth + 1);
  }
  return map;
}

function finite(number: number): number {
  return Number.isFinite(number) ? number : refuse('it has a number that is not finite');
}

function exact(number: bigint): number {
  const value = Number(number);
  return Number.isSafeInteger(value) ? value : refuse('it has a number beyond 2^53 - 1');
}
