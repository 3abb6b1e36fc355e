// Cursors: what the service gave out is read back as it was, and nothing else is.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { formatCursor, parseCursor } from '../../src/platform/events/store/cursor.ts';

const encode = (text: string) => Buffer.from(text, 'latin1').toString('base64url');
const hex = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 12, maxLength: 12 });

suite('cursors', () => {
  test('come back as they were given out, with the epoch and without', () => {
    const position = fc.bigInt(0n, 10n ** 18n - 1n).map(String);
    const instant = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true });
    const loggedAt = fc
      .tuple(instant, fc.integer({ min: 0, max: 999 }))
      .map(([at, micros]) => at.toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`));
    fc.assert(
      fc.property(position, loggedAt, fc.option(hex, { nil: undefined }), (position, loggedAt, epoch) => {
        const text = formatCursor({ position, loggedAt, epoch });
        assert.ok(text.length <= 100);
        assert.deepEqual(parseCursor(text), { position, loggedAt, epoch });
      }),
    );
  });

  test('are refused where their time is in no calendar, or a number is out of range', () => {
    const times = [
      '2026-02-30T00:00:00.000000Z',
      '2025-02-29T00:00:00.000000Z',
      '2026-04-31T00:00:00.000000Z',
      '2026-13-01T00:00:00.000000Z',
      '2026-00-10T00:00:00.000000Z',
      '2026-01-00T00:00:00.000000Z',
      '2026-01-01T24:00:00.000000Z',
      '2026-01-01T00:60:00.000000Z',
      '2026-01-01T23:59:60.000000Z',
      '0000-01-01T00:00:00.000000Z',
      '0001-01-01T00:00:00.000000Z',
      '1969-12-31T23:59:59.999999Z',
      '2026-01-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000000',
      '+002026-01-01T00:00:00.000000Z',
      'infinity',
    ];
    for (const time of times) assert.equal(parseCursor(encode(`0@${time}`)), undefined, time);
    for (const position of ['-1', '01', '1e3', '', '9223372036854775807', '1000000000000000000', '１'])
      assert.equal(parseCursor(encode(`${position}@2026-01-01T00:00:00.000000Z`)), undefined, position);
    for (const epoch of ['', '0123456789a', '0123456789abc', '0123456789AB', '@'])
      assert.equal(parseCursor(encode(`1@2026-01-01T00:00:00.000000Z@${epoch}`)), undefined, epoch);
  });

  test('are refused in any other spelling than the one that was given out', () => {
    const text = formatCursor({ position: '41', loggedAt: '2026-01-01T00:00:00.000000Z', epoch: '0123456789ab' });
    const bytes = Buffer.from(text, 'base64url');
    for (const other of [
      `${text}=`,
      `${text} `,
      ` ${text}`,
      `${text}!`,
      `${text}A`,
      text.slice(0, -1),
      bytes.toString(),
      bytes.toString('hex'),
      '',
    ])
      assert.equal(parseCursor(other), undefined, other);
  });
});
