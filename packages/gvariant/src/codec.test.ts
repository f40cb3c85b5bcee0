import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { byteswapped } from './byteswap.ts';
import { codec, decode, encode } from './codec.ts';
import { decodable, typeAndValue, typeText } from './generators.test.ts';
import { u32Swap, u64Swap } from './swap.ts';
import { Just, Variant } from './variant.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const v = (type: string, value: unknown): Variant => new Variant(type, value);
const utf8 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const thirtyTwo = (value: number): Uint8Array => new Uint8Array(32).fill(value);
const rootDirectoryXattrs = [[utf8('user.a\0'), utf8('1')]];

/** Bytes that libostree 2022.7 produced or accepted. */
const WORKED: [name: string, type: string, value: unknown, hex: string][] = [
  ['string', 's', 'hi', '68 69 00'],
  ['tuple with variable last', '(ys)', [7, 'ab'], '07 61 62 00'],
  ['tuple with variable first', '(sy)', ['ab', 7], '61 62 00 07 03'],
  ['strings', 'as', ['a', 'bcd'], '61 00 62 63 64 00 02 06'],
  ['byte strings', 'aay', [bytes(), bytes(1, 2)], '01 02 00 02'],
  ['two byte strings', '(ayay)', [bytes(1), bytes(2, 3)], '01 02 03 01'],
  ['named checksums', 'a(say)', [['f', bytes(0xaa)]], '66 00 aa 02 04'],
  ['nothing', 'ms', undefined, ''],
  ['just a string', 'ms', 'x', '78 00 00'],
  ['just a byte', 'my', 5, '05'],
  ['unit', '()', [], '00'],
  ['variant', 'v', v('ay', bytes(0x78)), '78 00 61 79'],
  ['variant in variant', 'v', v('v', v('ay', bytes(0x78))), '78 00 61 79 00 76'],
  ['padding inside', '(yt)', [1, 2n], '01 00000000000000 02 00000000000000'],
  ['double', 'd', 1.5, '00 00 00 00 00 00 f8 3f'],
  ['dictionary', 'a{sv}', [['k', v('s', 'v')]], '6b 00 000000000000 76 00 00 73 02 0d'],
  [
    'dictionary of two',
    'a{sv}',
    [
      ['a', v('u', 1)],
      ['bb', v('s', 'x')],
    ],
    '61 00 00 00 00 00 00 00 01 00 00 00 00 75 02 00 62 62 00 00 00 00 00 00 78 00 00 73 03 0f 1d',
  ],
  ['dirmeta', '(uuua(ayay))', [0, 0, u32Swap(0o40755), rootDirectoryXattrs], '00000000 00000000 000041ed 75 73 65 72 2e 61 00 31 07 09'],
  ['empty dirtree', '(a(say)a(sayay))', [[], []], '00'],
  ['file header', '(uuuusa(ayay))', [0, u32Swap(5), u32Swap(0o100644), 0, '', []], '00000000 00000005 000081a4 00000000 00 11'],
  ['link header', '(uuuusa(ayay))', [0, u32Swap(5), u32Swap(0o120777), 0, '../target', []], '00000000 00000005 0000a1ff 00000000 2e2e2f74617267657400 1a'],
  [
    'file header with xattrs',
    '(uuuusa(ayay))',
    [
      0,
      u32Swap(5),
      u32Swap(0o104644),
      0,
      '',
      [
        [utf8('user.aa\0'), utf8('\0v2')],
        [utf8('user.zz\0'), utf8('v1')],
      ],
    ],
    '00000000 00000005 000089a4 00000000 00 757365722e616100 007632 08 757365722e7a7a00 7631 08 0c 17 11',
  ],
  [
    'archive file header',
    '(tuuuusa(ayay))',
    [u64Swap(1n), 0, u32Swap(5), u32Swap(0o100644), 0, '', []],
    '0000000000000001 00000000 00000005 000081a4 00000000 00 19',
  ],
  ['dirtree of one directory', '(a(say)a(sayay))', [[], [['d', thirtyTwo(1), thirtyTwo(2)]]], `64 00 ${'01'.repeat(32)} ${'02'.repeat(32)} 22 02 44 00`],
  [
    'dirtree of two files',
    '(a(say)a(sayay))',
    [
      [
        ['f', thirtyTwo(1)],
        ['l', thirtyTwo(2)],
      ],
      [],
    ],
    `66 00 ${'01'.repeat(32)} 02 6c 00 ${'02'.repeat(32)} 02 23 46 48`,
  ],
  [
    'commit',
    '(a{sv}aya(say)sstayay)',
    [[['ostree.ref-binding', v('as', ['m'])]], bytes(), [], 'S', 'B', u64Swap(123456789n), thirtyTwo(1), thirtyTwo(2)],
    `6f73747265652e7265662d62696e64696e67 00 0000000000 6d00 02 00 6173 13 1f 5300 4200 00000000 00000000075bcd15 ${'01'.repeat(32)}${'02'.repeat(32)} 50 24 22 20 20 20`,
  ],
  ['detached metadata', 'a{sv}', [['foo', v('s', 'bar')]], '666f6f0000000000 62617200 00 73 04 0f'],
  ['empty dictionary', 'a{sv}', [], ''],
];

for (const [name, type, value, text] of WORKED) {
  test(`worked bytes: ${name}`, () => {
    assert.deepEqual(encode(type, value), hex(text));
    assert.deepEqual(decode(type, hex(text)), value);
  });
}

test('offsets grow from one byte to two where the total passes 255', () => {
  const short = encode('as', ['x'.repeat(253)]);
  assert.equal(short.length, 255);
  assert.equal(short[254], 0xfe);
  const long = encode('as', ['x'.repeat(254)]);
  assert.equal(long.length, 257);
  assert.deepEqual([...long.subarray(255)], [0xff, 0x00]);
});

test('offsets grow from two bytes to four where the total passes 65535', () => {
  for (const length of [65531, 65532, 65533, 65534, 70000]) {
    const encoded = encode('as', ['x'.repeat(length)]);
    assert.equal(encoded.length, length + 1 + (length + 3 <= 65535 ? 2 : 4));
    assert.deepEqual(decode('as', encoded), ['x'.repeat(length)]);
  }
});

test('nested maybes tell which of them is nothing', () => {
  const cases: [unknown, string][] = [
    [undefined, ''],
    [new Just(undefined), '00'],
    [new Just(4), '04 00'],
  ];
  for (const [value, text] of cases) {
    assert.deepEqual(encode('mmy', value), hex(text));
    assert.deepEqual(decode('mmy', hex(text)), value);
  }
});

test('a view into a larger buffer decodes from its own start', () => {
  const inner = encode('(yt)', [1, 2n]);
  const outer = new Uint8Array(inner.length + 3);
  outer.set(inner, 3);
  assert.deepEqual(decode('(yt)', outer.subarray(3)), [1, 2n]);
});

test('byte strings are views of the input', () => {
  const input = encode('(ayay)', [bytes(1), bytes(2, 3)]);
  const [first] = decode('(ayay)', input) as [Uint8Array, Uint8Array];
  assert.equal(first.buffer, input.buffer);
});

test('encoding inside encoding keeps both results apart', () => {
  const pair = ['a', 'b'];
  Object.defineProperty(pair, 0, { get: () => (encode('s', 'inner').length === 6 ? 'outer' : 'wrong') });
  assert.deepEqual(decode('(ss)', encode('(ss)', pair)), ['outer', 'b']);
});

test('a failed encode leaves nothing behind', () => {
  assert.throws(() => encode('(sas)', ['x', ['y', 1]]), { code: 'GVARIANT_VALUE_INVALID' });
  assert.deepEqual(encode('as', ['a', 'bcd']), hex('61 00 62 63 64 00 02 06'));
});

const BAD_BYTES: [why: string, type: string, hex: string][] = [
  ['boolean above 1', 'b', '02'],
  ['too short a number', 'u', '000000'],
  ['text without NUL', 's', '6869'],
  ['text with NUL inside', 's', '680069 00'],
  ['empty text', 's', ''],
  ['text that is not UTF-8', 's', 'ff00'],
  ['text with a surrogate', 's', 'eda080 00'],
  ['overlong UTF-8', 's', 'c0af00'],
  ['path that ends in a slash', 'o', '2f612f00'],
  ['incomplete signature', 'g', '6100'],
  ['padding not zero', '(yt)', '01 00000000000001 02 00000000000000'],
  ['padding at the end not zero', '(ty)', '0200000000000000 01 00000000000001'],
  ['array that is one offset too many', 'as', '01'],
  ['offsets out of order', 'as', '6100 6100 04 02 04'],
  ['offset past the end', 'as', '6100 09'],
  ['offset that does not leave whole offsets', '(as)', '6100000102'],
  ['offsets wider than needed', 'as', `${'61'.repeat(252)}00 fd00 00 00`],
  ['tuple shorter than its offsets', '(say)', ''],
  ['tuple with bytes left over', '(sy)', '6100 07 00 02'],
  ['tuple member past the offsets', '(say)', '6100 09'],
  ['unit that is not zero', '()', '01'],
  ['variant without type', 'v', '6162'],
  ['empty variant', 'v', ''],
  ['maybe without its zero', 'ms', '780001'],
  ['fixed array of broken length', 'au', '0000000000'],
];

for (const [why, type, text] of BAD_BYTES) {
  test(`refuses ${why}`, () => {
    assert.throws(() => decode(type, hex(text)), { code: 'GVARIANT_NOT_NORMAL' });
  });
}

test('refuses a type inside a variant that is no type', () => {
  assert.throws(() => decode('v', hex('00 61')), { code: 'GVARIANT_TYPE_INVALID' });
  assert.throws(() => decode('v', hex('00 79 79')), { code: 'GVARIANT_TYPE_INVALID' });
  assert.throws(() => decode('v', hex('78 00')), { code: 'GVARIANT_TYPE_INVALID' });
});

test('nesting is bounded in types and in values, both ways', () => {
  assert.throws(() => codec(`${'a'.repeat(128)}y`), { code: 'GVARIANT_TOO_DEEP' });
  assert.deepEqual(decode(`${'a'.repeat(127)}y`, bytes()), []);
  let nested = v('y', 1);
  for (let i = 0; i < 126; i++) nested = v('v', nested);
  const deepest = encode('v', nested);
  assert.deepEqual(decode('v', deepest), nested);
  assert.throws(() => encode('v', v('v', nested)), { code: 'GVARIANT_TOO_DEEP' });
  assert.throws(() => decode('v', Uint8Array.from([...deepest, 0, 0x76])), { code: 'GVARIANT_TOO_DEEP' });
  assert.throws(() => decode('v', Uint8Array.from([...new Array(200_000).fill(0).flatMap(() => [0, 0x76])])), { code: 'GVARIANT_TOO_DEEP' });
});

for (const type of ['', 'z', 'a', 'ay ', '(', '(y', ')', '{sv', '{vs}', '{s}', '{svv}', 'm', 'r', '?', '*', 'yy']) {
  test(`refuses type "${type}"`, () => {
    assert.throws(() => codec(type), { code: 'GVARIANT_TYPE_INVALID' });
  });
}

const BAD_VALUES: [type: string, value: unknown][] = [
  ['y', 256],
  ['y', -1],
  ['n', 0x8000],
  ['q', -1],
  ['i', 0x8000_0000],
  ['u', 1.5],
  ['u', '1'],
  ['x', 1],
  ['t', -1n],
  ['t', 1n << 64n],
  ['b', 1],
  ['d', '1'],
  ['s', 'a\0b'],
  ['s', `${'x'.repeat(100)}\0`],
  ['s', '\ud800'],
  ['o', 'a'],
  ['g', '('],
  ['ay', [1]],
  ['as', 'a'],
  ['(ss)', ['a']],
  ['()', [1]],
  ['v', 'x'],
  ['mmy', 4],
  ['v', null],
];

for (const [type, value] of BAD_VALUES) {
  test(`refuses to write ${JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? `${item}n` : item))} as ${type}`, () => {
    assert.throws(() => encode(type, value), { code: 'GVARIANT_VALUE_INVALID' });
  });
}

test('decode of encode gives the value', () => {
  fc.assert(
    fc.property(typeAndValue, ({ type, value }) => {
      assert.deepEqual(decode(type, encode(type, value)), value);
    }),
    { numRuns: 1000 },
  );
});

test('changed bytes either fail with a known error or are the normal form of what they decode to', () => {
  let accepted = 0;
  fc.assert(
    fc.property(
      typeAndValue,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.integer({ min: -2, max: 2 }),
      ({ type, value }, changes, grow) => {
        const good = encode(type, value);
        const changed = new Uint8Array(Math.max(0, good.length + grow));
        changed.set(good.subarray(0, changed.length));
        for (const [at, byte] of changes) if (changed.length > 0) changed[at % changed.length] = byte;
        accepted += roundTrips(type, changed) ? 1 : 0;
      },
    ),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 100, `${accepted} accepted`);
});

test('random bytes give only known errors', () => {
  fc.assert(
    fc.property(typeText, fc.uint8Array({ maxLength: 64 }), (type, random) => {
      roundTrips(type, random);
    }),
    { numRuns: 3000 },
  );
});

function roundTrips(type: string, input: Uint8Array): boolean {
  let value: unknown;
  try {
    value = decode(type, input);
  } catch (error) {
    assert.ok(isKnownError(error) && error.code.startsWith('GVARIANT_'), String(error));
    return false;
  }
  // The bits of a NaN do not survive as a JavaScript number.
  if (decodable(value)) assert.deepEqual(encode(type, value), Uint8Array.from(input));
  return true;
}

test('swapped integers', () => {
  assert.equal(u32Swap(0o40755), 3980460032);
  assert.equal(u64Swap(123456789n), 0x15cd5b0700000000n);
  fc.assert(fc.property(fc.nat(0xffff_ffff), (value) => assert.equal(u32Swap(u32Swap(value)), value)));
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (value) => assert.equal(u64Swap(u64Swap(value)), value)));
});

test('byteswapped swaps every number, and twice gives the value', () => {
  assert.deepEqual(byteswapped('(ynqiuxtb)', [1, 1, 2, 1, 3, 1n, 2n, true]), [1, 256, 512, 0x0100_0000, 0x0300_0000, 1n << 56n, 2n << 56n, true]);
  assert.deepEqual(byteswapped('(nix)', [0x80, 0x80, 0x80n]), [-32768, -0x8000_0000, -(1n << 63n)]);
  assert.deepEqual(byteswapped('a{sv}', [['a', v('mmu', new Just(1))]]), [['a', v('mmu', new Just(0x0100_0000))]]);
  fc.assert(
    fc.property(typeAndValue, ({ type, value }) => {
      const swapped = byteswapped(type, value);
      if (decodable(swapped)) assert.deepEqual(byteswapped(type, swapped), value);
    }),
  );
});
