// JSON and MessagePack, in and out. What goes out as MessagePack is packed from the JSON that the response schema has
// already filtered, so no field can show in one that does not show in the other.
import { decode, ExtensionCodec, encode } from '@msgpack/msgpack';
import type { FastifyInstance, FastifyReply } from 'fastify';
import Negotiator from 'negotiator';
import { Problem } from '../problem.ts';

const json = 'application/json';
// The registered name (IANA, 2024) is application/vnd.msgpack; the other two came before it and are what clients send.
const msgpackTypes = ['application/msgpack', 'application/x-msgpack', 'application/vnd.msgpack'];
/** What bodies may be, in and out; the first where the caller has no wish. */
export const mediaTypes = [json, ...msgpackTypes];

export function addNegotiation(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(json, { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    refuseEncoded(request.headers['content-encoding']);
    if (bytes.length === 0) return done(null, undefined);
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      return done(new Problem('malformed_body', 'The body is not valid UTF-8.', { cause }));
    }
    parseJson(request, text, (cause, value) => {
      done(cause === null ? null : new Problem('malformed_body', 'The body is not valid JSON.', { cause }), value);
    });
  });
  app.addContentTypeParser(msgpackTypes, { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    refuseEncoded(request.headers['content-encoding']);
    if (bytes.length === 0) return done(null, undefined);
    try {
      done(null, unpack(bytes));
    } catch (cause) {
      done(new Problem('malformed_body', 'The body is not valid MessagePack.', { cause }));
    }
  });

  app.addHook('onSend', (request, reply, payload, done) => {
    const { accept } = request.headers;
    if (accept?.includes('msgpack') && isJson(reply) && typeof payload === 'string') {
      const type = new Negotiator(request).mediaType(mediaTypes);
      if (type !== undefined && type !== json) {
        reply.type(type).removeHeader('content-length');
        return done(null, pack(payload));
      }
    }
    done(null, payload);
  });
  app.addHook('onRequest', (_request, reply, done) => {
    // What is told of a person is not for a cache on the way.
    reply.header('vary', 'accept').header('cache-control', 'no-store');
    done();
  });
}

function isJson(reply: FastifyReply): boolean {
  return String(reply.getHeader('content-type')).startsWith(json);
}

function refuseEncoded(encoding: string | undefined): void {
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
  throw new Problem('unsupported_media_type', 'A body with a Content-Encoding is not read here.', {
    headers: { 'accept-encoding': 'identity' },
  });
}

// What JSON cannot say is refused: dates and other extensions, and keys that are not text. The decoder itself refuses
// __proto__, and a length that the body does not have.
const noExtensions = new ExtensionCodec();
noExtensions.decode = () => {
  throw new Error('extension types are not read here');
};

function unpack(bytes: Buffer): unknown {
  return decode(bytes, {
    extensionCodec: noExtensions,
    maxStrLength: bytes.length,
    maxBinLength: bytes.length,
    maxArrayLength: bytes.length,
    maxMapLength: bytes.length,
    mapKeyConverter: (key) => {
      if (typeof key !== 'string' || key === 'constructor') throw new Error('keys must be text');
      return key;
    },
  });
}

function pack(text: string): Buffer {
  const bytes = encode(JSON.parse(text));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
