// Which texts are the same identifier, and which look alike.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { formats } from '../../src/platform/http/formats.ts';
import { emailKey } from '../../src/platform/runtime/email.ts';
import { fold, skeleton } from '../../src/platform/runtime/folding.ts';

suite('folding', () => {
  const same = [
    ['Straße', 'STRASSE', 'straẞe'],
    ['ΟΔΟΣ', 'οδος', 'οδοσ'],
    ['ılık', 'ILIK', 'ilik'],
    ['Zoë', 'Zoe\u0308'],
    ['ＡＢＣ', 'abc'],
    ['ﬁn', 'FIN'],
    ['ad\u00admin', 'ad\u200bmin', 'admin'],
    ['ꭰ', 'Ꭰ'],
    ['ǅ', 'ǆ', 'Ǆ', 'dž'],
  ];
  for (const texts of same)
    test(`takes ${texts.map((text) => JSON.stringify(text)).join(', ')} for one`, () => {
      assert.equal(new Set(texts.map(fold)).size, 1, texts.map(fold).join(', '));
    });

  test('keeps apart what differs by an accent or a letter', () => {
    for (const [one, other] of [
      ['resume', 'résumé'],
      ['i', 'j'],
      ['и', 'й'],
    ] as const)
      assert.notEqual(fold(one), fold(other));
  });

  test('of a folded text is that text', () => {
    const property = fc.property(fc.string({ unit: 'binary' }), (text) => {
      const folded = fold(text);
      assert.equal(fold(folded), folded);
      assert.equal(fold(text.normalize('NFD')), folded);
    });
    fc.assert(property, { numRuns: 5000 });
    for (let point = 0; point <= 0x10ffff; point += 1) {
      if (point >= 0xd800 && point <= 0xdfff) continue;
      const text = String.fromCodePoint(point);
      const folded = fold(text);
      if (folded === text) continue;
      assert.equal(fold(folded), folded, `U+${point.toString(16)}`);
      assert.equal(fold(text.toUpperCase()), folded, `U+${point.toString(16)} in capitals`);
      assert.equal(fold(text.toLowerCase()), folded, `U+${point.toString(16)} in small letters`);
    }
  });
});

suite('a skeleton', () => {
  const alike = [
    ['paypal', 'раураӀ', 'paypaI', 'paypa1'],
    ['mike', 'rnike', 'Mike'],
    ['user0', 'userO', 'usero'],
    ['scope', 'ѕсоре'],
  ];
  for (const texts of alike)
    test(`is one for ${texts.join(', ')}`, () => {
      assert.equal(new Set(texts.map(skeleton)).size, 1, texts.map(skeleton).join(', '));
    });

  test('differs for names that do not look alike', () => {
    const names = ['ann', 'anna', 'bob', 'мария', 'марина', '李', '王', 'user-1', 'user-2', 'j.doe', 'jdoe'];
    assert.equal(new Set(names.map(skeleton)).size, names.length);
  });
});

suite('an e-mail address', () => {
  const same = [
    ['Strauß@Müller.example', 'STRAUSS@xn--mller-kva.example', 'strauss@MÜLLER.EXAMPLE'],
    ['jo\u00adhn@example.com', 'John@Example.COM'],
    ['ｊohn@example.com', 'john@example.com'],
  ];
  for (const texts of same)
    test(`is one as ${texts.map((text) => JSON.stringify(text)).join(', ')}`, () => {
      assert.equal(new Set(texts.map(emailKey)).size, 1, texts.map(emailKey).join(', '));
    });

  test('is another with another tag or dot', () => {
    const addresses = ['john@example.com', 'john+a@example.com', 'jo.hn@example.com', 'john@sub.example.com'];
    assert.equal(new Set(addresses.map(emailKey)).size, addresses.length);
  });

  const none = [
    ...['', 'a', '@example.com', 'a@', 'a@b', 'a@@example.com', 'a b@example.com', '"a b"@example.com', 'a@example..com', 'a@.example.com'],
    ...['.a@example.com', 'a.@example.com', 'a..b@example.com', 'a…b@example.com', 'a＠b@example.com', 'a@127.1', 'a@127.0.0.1', 'a@[::1]'],
    ...[
      'a@exam%2eple.com',
      'a@exa\u00admple.com',
      'a@-example.com',
      'a@example-.com',
      'a@exa_mple.com',
      'a@example.com\n',
      'a\u0000@example.com',
    ],
    ...[
      `${'a'.repeat(65)}@example.com`,
      `a@${'b'.repeat(64)}.com`,
      `a@${'b.'.repeat(126)}com`,
      '\u00ad@example.com',
      'a@example.com.',
      'a@ex。ample.com',
    ],
  ];
  test('has a local part and a domain, each as RFC 5321 and 6531 have them', () => {
    for (const text of none) assert.equal(emailKey(text), undefined, JSON.stringify(text));
    for (const text of [
      "o'neil+x@example.com",
      'дима@пример.рф',
      'a!#$%&*+/=?^_`{|}~-@example.com',
      '李@例え.jp',
      `${'a'.repeat(64)}@example.com`,
    ])
      assert.notEqual(emailKey(text), undefined, text);
  });
});

test('formats take what they describe, and nothing near it', () => {
  const cases: Record<string, readonly [right: readonly string[], wrong: readonly string[]]> = {
    locale: [
      ['de', 'de-CH', 'zh-Hant-TW', 'sl-rozaj-biske', 'en-a-bbb-x-a-ccc', 'EN-us'],
      ['', 'x', 'de_CH', 'de--CH', 'english language', 'i', '-de', 'de-'],
    ],
    'time-zone': [
      ['UTC', 'Europe/Zurich', 'europe/zurich', 'America/Argentina/Buenos_Aires', 'Etc/GMT+1', 'Asia/Kolkata'],
      ['', '+01:00', '-0500', 'Foo/Bar', 'Europe', 'GMT+1', ' UTC', 'Europe/Zurich '],
    ],
    instant: [
      ['2025-01-01T10:00:00Z', '2025-01-01t10:00:00z', '2025-01-01T10:00:00.123456+14:00', '0001-01-01T00:00:00Z', '2024-02-29T00:00:00Z'],
      [
        ...[
          '',
          '2025-01-01',
          '2025-01-01T10:00:00',
          '2025-02-29T00:00:00Z',
          '2025-02-31T00:00:00Z',
          '2025-13-01T00:00:00Z',
          '0000-01-01T00:00:00Z',
        ],
        ...[
          '2025-01-01T25:00:00Z',
          '2025-01-01T10:00:60Z',
          '2025-01-01T10:00:00+15:00',
          '9999-12-31T23:59:59-10:00',
          '2025-01-01T10:00:00.1234567Z',
        ],
      ],
    ],
    username: [
      ['ann', 'мария', '李'],
      ['\u00ad', ''],
    ],
  };
  for (const [name, [right, wrong]] of Object.entries(cases)) {
    for (const text of right) assert.equal(formats[name]?.accepts(text), true, `${name}: ${text}`);
    for (const text of wrong) assert.equal(formats[name]?.accepts(text), false, `${name}: ${JSON.stringify(text)}`);
  }
});
