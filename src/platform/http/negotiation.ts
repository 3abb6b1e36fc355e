// JSON and MessagePack, in and out. What goes out as MessagePack is packed from the JSON that the response schema has
// already filtered, so no field can show in one that does not show in the other.
import { isUtf8 } from 'node:buffer';
import { encode } from '@msgpack/msgpack';
import type { FastifyInstance } from 'fastify';
import { Problem, problems } from '../problem.ts';
import { once } from '../runtime/coalesce.ts';
import { bodyBounds, checkJson } from './bounds.ts';
import { unpack } from './msgpack.ts';
import { patchTypes } from './patch.ts';

const json = 'application/json';
// The registered name (IANA, 2024) is application/vnd.msgpack; the other two came before it and are what clients send.
const msgpackTypes = ['application/msgpack', 'application/x-msgpack', 'application/vnd.msgpack'];
/** What bodies may be, in and out; the first where the caller has no wish. */
export const mediaTypes = [json, ...msgpackTypes];

/** RFC 5789, section 3.1. */
export const acceptPatch = [...Object.values(patchTypes), json].join(', ');

export function addNegotiation(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser([json, ...Object.values(patchTypes)], { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    const [type = ''] = (request.headers['content-type'] ?? '').split(';');
    if (request.method !== 'PATCH' && type.trim().toLowerCase() !== json) throw unsupportedType(request.method);
    refuseEncoded(request.headers['content-encoding']);
    if (bytes.length === 0) return done(null, undefined);
    if (!isUtf8(bytes)) throw new Problem(problems.malformed_body, 'The body is not valid UTF-8.');
    checkJson(bytes, bodyBounds);
    parseJson(request, bytes.toString(), (cause, value) => {
      if (cause === null) done(null, value);
      else done(new Problem(problems.malformed_body, 'The body is not valid JSON, or has a key such as __proto__.', { cause }));
    });
  });
  app.addContentTypeParser(msgpackTypes, { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    refuseEncoded(request.headers['content-encoding']);
    done(null, bytes.length === 0 ? undefined : unpack(bytes, bodyBounds));
  });

  app.addHook('onSend', ({ headers: { accept } }, reply, payload, done) => {
    if (accept !== undefined && typeof payload === 'string' && String(reply.getHeader('content-type')).startsWith(json)) {
      const type = preferredType(accept, mediaTypes);
      if (type !== json) {
        reply.type(type);
        return done(null, pack(payload));
      }
    }
    done(null, payload);
  });
}

/** A body of a type that is not read. */
export function unsupportedType(method: string, cause?: unknown): Problem {
  const types = method === 'PATCH' ? [...Object.values(patchTypes), ...mediaTypes] : mediaTypes;
  const headers: Record<string, string> = method === 'PATCH' ? { 'accept-patch': acceptPatch } : {};
  const detail = `The Content-Type must be ${types.slice(0, -1).join(', ')} or ${types.at(-1)}.`;
  return new Problem(problems.unsupported_media_type, detail, { headers, cause });
}

function refuseEncoded(encoding: string | undefined): void {
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
  throw new Problem(problems.unsupported_media_type, 'A body with a Content-Encoding is not read here.', {
    headers: { 'accept-encoding': 'identity' },
  });
}

// RFC 9110, section 5.6.6: a parameter's value may be quoted, and then hold a comma or a semicolon.
const mediaRangePattern = /(?:[^,"]|"(?:[^"\\]|\\.)*")+/g;
const parameterPattern = /(?:[^;"]|"(?:[^"\\]|\\.)*")+/g;
/** RFC 9110, section 12.4.2. */
const weightPattern = /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

/**
 * Of the media types that an answer can have, the one with the highest q (RFC 9110, section 12.5.1); of several, one that is named
 * before one that a wildcard takes in, then the first. The first also where none is wanted: an answer is of more use than a 406.
 * Of a media range's parameters only q is looked at; a range whose q is none is left out.
 */
export function preferredType(accept: string, offered: readonly string[]): string {
  const wishes = offered.map((type) => ({ type, q: 0, precision: -1 }));
  for (const range of accept.toLowerCase().match(mediaRangePattern) ?? []) {
    const [name, ...parameters] = (range.match(parameterPattern) ?? []).map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    const [, q] = weight === undefined ? [undefined, '1'] : (weightPattern.exec(weight) ?? []);
    if (q === undefined) continue;
    for (const wish of wishes) {
      const precision = name === wish.type ? 2 : name === wish.type.replace(/\/.*/, '/*') ? 1 : name === '*/*' ? 0 : -1;
      if (precision > wish.precision) Object.assign(wish, { q: Number(q), precision });
    }
  }
  const [best] = wishes.filter(({ q }) => q > 0).sort((a, b) => b.q - a.q || b.precision - a.precision);
  return best?.type ?? (offered[0] as string);
}

/** A JSON text that stays as it is: made when it is first asked for, encoded once and packed once. */
export function createDocument(read: () => Promise<string>): (accept: string | undefined) => Promise<{ type: string; content: Buffer }> {
  const plain = once(async () => Buffer.from(await read()));
  const packed = once(async () => pack((await plain()).toString()));
  return async (accept) => {
    const type = preferredType(accept ?? json, mediaTypes);
    return type === json ? { type: `${json}; charset=utf-8`, content: await plain() } : { type, content: await packed() };
  };
}

function pack(text: string): Buffer {
  const bytes = encode(JSON.parse(text));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
