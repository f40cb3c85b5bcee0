import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { decode, encode } from './codec.ts';
import { decodable, typeAndValue } from './generators.test.ts';
import { parseVariantText } from './parse-text.ts';
import { printVariant } from './print.ts';
import { Variant } from './variant.ts';

interface Shown {
  type: string;
  hex: string;
  plain: string;
  annotated: string;
}

interface Golden {
  parsed: { text: string; asked: string | null; result: Shown | null; error?: string }[];
  printed: Shown[];
  normal: { type: string; hex: string; normal: boolean }[];
}

const golden = JSON.parse(readFileSync(new URL('../testdata/glib-2.74.json', import.meta.url), 'utf8')) as Golden;
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Where this package differs from GLib knowingly. */
const DIFFERENT: ReadonlySet<string> = new Set([
  // The sign and bits of a NaN do not survive as a JavaScript number.
  '-nan',
  '000000000000f8ff',
  // Hexadecimal fractions are of no use to people.
  '0x1p3',
  // GLib reads a lone sign as 0.
  '-',
  // GLib refuses doubles below the normal range, though it prints them.
  '4e-320',
  '5e-324',
]);

test('parses as GLib', () => {
  for (const { text, asked, result } of golden.parsed) {
    if (DIFFERENT.has(text)) continue;
    let found: string | undefined;
    try {
      const { type, value } = parseVariantText(text, asked ?? undefined);
      found = `${type} ${hexOf(encode(type, value))}`;
    } catch (error) {
      assert.ok(isKnownError(error), String(error));
    }
    assert.equal(found, result === null ? undefined : `${result.type} ${result.hex}`, `${text} as ${asked}`);
  }
});

test('prints as GLib', () => {
  const shown = [...golden.printed, ...golden.parsed.flatMap(({ result }) => (result === null ? [] : [result]))];
  for (const { type, hex, plain, annotated } of shown) {
    if (DIFFERENT.has(hex)) continue;
    const value = decode(type, bytesOf(hex));
    assert.equal(printVariant(type, value), plain);
    assert.equal(printVariant(type, value, true), annotated);
  }
});

test('takes the same bytes for normal form as GLib', () => {
  for (const { type, hex, normal } of golden.normal) {
    // GLib takes no bytes at all for a tuple of empty members, which it would write as its offsets.
    if (hex === '' && type.startsWith('(') && normal) continue;
    let accepted = true;
    try {
      decode(type, bytesOf(hex));
    } catch (error) {
      assert.ok(isKnownError(error), String(error));
      accepted = false;
    }
    assert.equal(accepted, normal, `${type} ${hex}`);
  }
});

test('an annotated text parses back to the value', () => {
  fc.assert(
    fc.property(typeAndValue, ({ type, value }) => {
      const text = printVariant('v', new Variant(type, value));
      assert.deepEqual(parseVariantText(text), new Variant('v', new Variant(type, value)));
      assert.deepEqual(parseVariantText(printVariant(type, value), type), new Variant(type, value));
    }),
    { numRuns: 1000 },
  );
});

test('any text gives a value or a known error', () => {
  const piece = fc.constantFrom(
    '[',
    ']',
    '(',
    ')',
    '{',
    '}',
    '<',
    '>',
    ',',
    ':',
    ' ',
    '1',
    '-',
    '0x',
    '.',
    'e5',
    "'a'",
    "b'a'",
    '"',
    '\\',
    '@',
    'as',
    'i',
    'just ',
    'nothing',
    'true',
    'byte ',
    '\u{1f600}',
    '\0',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join('')),
      ),
      (text) => {
        try {
          const { type, value } = parseVariantText(text);
          assert.ok(!decodable(value) || encode(type, value) instanceof Uint8Array);
        } catch (error) {
          assert.ok(isKnownError(error) && error.code.startsWith('GVARIANT_'), String(error));
        }
      },
    ),
    { numRuns: 5000 },
  );
});
