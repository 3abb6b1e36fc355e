// Bodies in the media types of the document: whole, and such as are none.
import { ExtData, encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import type { Operation } from './document.ts';
import { valid } from './values.ts';

export const isJson = (mediaType: string) => /json$/.test(mediaType);

export function toBytes(mediaType: string, value: unknown, style: 'plain' | 'ascii' | 'spaced' = 'plain'): Uint8Array {
  if (!isJson(mediaType)) return encode(value, { maxDepth: 10_000 });
  const text = JSON.stringify(value, undefined, style === 'spaced' ? '\t' : undefined);
  if (style === 'spaced') return Buffer.from(` \r\n${text}\n\n`);
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return Buffer.from(style === 'ascii' ? text.replaceAll(/[^ -~]/g, escaped) : text);
}

// MessagePack has no escapes: its text is UTF-8, which lone surrogates have no part in, and the encoder would replace them.
export function canBeSaid(mediaType: string, value: unknown): boolean {
  let wellFormed = true;
  JSON.stringify(value, (key, item: unknown) => {
    wellFormed &&= key.isWellFormed() && (typeof item !== 'string' || item.isWellFormed());
    return item;
  });
  return wellFormed || isJson(mediaType);
}

export const styles = fc.constantFrom('plain', 'ascii', 'spaced');

/** Bytes that are no value of the media type at all, or none that it may carry. */
export function malformed(mediaType: string, whole: fc.Arbitrary<unknown>): fc.Arbitrary<{ bytes: Uint8Array; about: string }> {
  const bytesOf = whole.map((value) => Buffer.from(toBytes(mediaType, value)));
  const truncated = fc.tuple(bytesOf, fc.nat()).map(([bytes, at]) => ({ bytes: bytes.subarray(0, at % bytes.length), about: 'truncated' }));
  const trailed = fc
    .tuple(bytesOf, isJson(mediaType) ? fc.constantFrom('}', ',', '{}', '0', '\0', '//') : fc.string({ minLength: 1 }))
    .map(([bytes, more]) => ({ bytes: Buffer.concat([bytes, Buffer.from(more)]), about: 'more behind its end' }));
  const named = (entries: Record<string, string | Buffer>) =>
    fc.constantFrom(...Object.entries(entries)).map(([about, bytes]) => ({ bytes: Buffer.from(bytes), about }));
  if (isJson(mediaType)) {
    return fc.oneof(
      truncated,
      trailed,
      fc.tuple(bytesOf, fc.nat(), fc.constantFrom(0xff, 0xc0, 0x80, 0xed)).map(([bytes, at, byte]) => ({
        bytes: Buffer.concat([bytes.subarray(0, at % bytes.length), Buffer.of(byte), bytes.subarray(at % bytes.length)]),
        about: 'no UTF-8',
      })),
      bytesOf.map((bytes) => ({ bytes: Buffer.from(bytes.toString(), 'utf16le'), about: 'UTF-16' })),
      named({
        'single quotes': "{'name':'John'}",
        'a comment': '{/* */}',
        'a comma too many': '{"name":"John",}',
        'no number': '{"name":NaN}',
        'a control character in a text': '{"name":"Jo\nhn"}',
        'an escape that is none': '{"name":"\\x41"}',
        'a form': 'name=John&surname=Doe',
        'a prototype': '{"__proto__":{"name":"John"}}',
        'an escaped prototype': '{"\\u005f_proto__":null}',
        'a prototype of a constructor': '{"constructor":{"prototype":{"name":"John"}}}',
        'a deep array that does not end': '['.repeat(100_000),
        'a deep array': `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
        'deep objects': `${'{"name":'.repeat(50_000)}1${'}'.repeat(50_000)}`,
        'white space only': ' \n\t',
      }),
    );
  }
  const key = (text: string) => Buffer.concat([Buffer.of(0xa0 + text.length), Buffer.from(text)]);
  const name = (value: number[]) => Buffer.concat([Buffer.of(0x81), key('name'), Buffer.from(value)]);
  return fc.oneof(
    truncated,
    trailed,
    named({
      'a byte that means nothing': Buffer.of(0xc1),
      'an array longer than its body': Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff),
      'a map longer than its body': Buffer.of(0xdf, 0xff, 0xff, 0xff, 0xff),
      'a text longer than its body': name([0xdb, 0xff, 0xff, 0xff, 0xff, 0x41]),
      'bytes longer than the body': Buffer.of(0xc6, 0x7f, 0xff, 0xff, 0xff),
      'no bytes in place of a map': Buffer.of(0xc4, 0x00),
      'bytes in place of a map': Buffer.of(0xc4, 0x01, 0x41),
      'bytes in place of a text': name([0xc4, 0x04, 0x4a, 0x6f, 0x68, 0x6e]),
      'a time': name([0xd6, 0xff, 0x00, 0x00, 0x00, 0x01]),
      'an extension': Buffer.from(encode(new ExtData(5, new Uint8Array(4)))),
      'an empty extension in place of a map': Buffer.of(0xc7, 0x00, 0x05),
      'a number for a key': Buffer.of(0x81, 0x01, 0xa1, 0x41),
      'nothing for a key': Buffer.of(0x81, 0xc0, 0xa1, 0x41),
      'a map for a key': Buffer.of(0x81, 0x80, 0xa1, 0x41),
      'a prototype': Buffer.concat([Buffer.of(0x81), key('__proto__'), Buffer.of(0x80)]),
      'a constructor': Buffer.concat([Buffer.of(0x81), key('constructor'), Buffer.of(0x80)]),
      'no UTF-8': name([0xa2, 0xc3, 0x28]),
      'a surrogate': name([0xa3, 0xed, 0xa0, 0x80]),
      'UTF-8 longer than needed': name([0xa2, 0xc1, 0x81]),
      'no UTF-8 in a long text': name([0xd9, 0xfa, ...Array<number>(249).fill(0x41), 0xff]),
      'a surrogate in a long text': name([0xd9, 0xfa, ...Array<number>(247).fill(0x41), 0xed, 0xa0, 0x80]),
      'deep arrays': Buffer.concat([Buffer.alloc(100_000, 0x91), Buffer.of(0xc0)]),
    }),
  );
}

export const otherMediaTypes = [
  ...[
    'text/plain',
    'text/json',
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
  ],
  ...[
    'application/problem+json',
    'application/json-patch+json',
    'json',
    'application',
    '*/*',
    'application/*',
    ',',
    'application/msgpackx',
  ],
];

export type Body = { readonly headers: Readonly<Record<string, string>>; readonly bytes?: Uint8Array; readonly sent?: unknown };

export function validBody({ requestBody }: Operation): fc.Arbitrary<Body> {
  if (requestBody === undefined) return fc.constant({ headers: {} });
  return fc.constantFrom(...Object.entries(requestBody.content)).chain(([mediaType, { schema }]) =>
    fc
      .tuple(valid(schema), styles, fc.constantFrom(mediaType, mediaType.toUpperCase(), `${mediaType}; charset=utf-8`), fc.boolean())
      .map(([sent, style, contentType, chunked]) => ({
        headers: { 'content-type': contentType, ...(chunked && { 'transfer-encoding': 'chunked' }) },
        bytes: toBytes(mediaType, sent, style),
        sent,
      })),
  );
}
