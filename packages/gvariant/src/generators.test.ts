/** Generators for the property tests of this package. */
import fc from 'fast-check';
import { parseType, type VariantType } from './type.ts';
import { Just, Variant } from './variant.ts';

const basicCode: fc.Arbitrary<string> = fc.constantFrom(...'bynqiuhxtdsog');

/** Definite types, a few levels deep. */
export const typeText: fc.Arbitrary<string> = fc.letrec<{ type: string }>((tie) => ({
  type: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    basicCode,
    fc.constantFrom('v', 'ay', 'a{sv}', '()', '(a(say)a(sayay))'),
    tie('type').map((item) => `a${item}`),
    tie('type').map((item) => `m${item}`),
    fc.array(tie('type'), { maxLength: 4 }).map((items) => `(${items.join('')})`),
    fc.tuple(basicCode, tie('type')).map(([key, value]) => `{${key}${value}}`),
  ),
})).type;

const text: fc.Arbitrary<string> = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ maxLength: 80 })).map((value) => value.replaceAll('\0', ''));
const objectPath: fc.Arbitrary<string> = fc.array(fc.stringMatching(/^[A-Za-z0-9_]{1,4}$/), { maxLength: 3 }).map((parts) => `/${parts.join('/')}`);

function basicValue(code: string): fc.Arbitrary<unknown> {
  switch (code) {
    case 'b':
      return fc.boolean();
    case 'y':
      return fc.nat(0xff);
    case 'n':
      return fc.integer({ min: -0x8000, max: 0x7fff });
    case 'q':
      return fc.nat(0xffff);
    case 'u':
      return fc.nat(0xffff_ffff);
    case 'x':
      return fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
    case 't':
      return fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    case 'd':
      return fc.double({ noNaN: true });
    case 's':
      return text;
    case 'o':
      return objectPath;
    case 'g':
      return fc.array(typeText, { maxLength: 3 }).map((types) => types.join(''));
    default:
      return fc.integer();
  }
}

/** Values of `type` in the mapping of the codec. */
export function valuesOf(type: VariantType, depth = 0): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case 'basic':
      return basicValue(type.code);
    case 'variant': {
      const inner = depth > 2 ? basicCode : fc.oneof(basicCode, typeText);
      return inner.chain((held) => valuesOf(parseType(held), depth + 1).map((value) => new Variant(held, value)));
    }
    case 'maybe': {
      const item = valuesOf(type.item, depth);
      return fc.option(type.item.kind === 'maybe' ? item.map((value) => new Just(value)) : item, { nil: undefined });
    }
    case 'array':
      if (type.item.text === 'y') return fc.uint8Array({ maxLength: 40 }).map((value) => Uint8Array.from(value));
      return fc.array(valuesOf(type.item, depth), { maxLength: depth > 1 ? 2 : 5 });
    default:
      return type.items.length === 0 ? fc.constant([]) : fc.tuple(...type.items.map((item) => valuesOf(item, depth)));
  }
}

export const typeAndValue: fc.Arbitrary<{ type: string; value: unknown }> = typeText.chain((type) =>
  valuesOf(parseType(type)).map((value) => ({ type, value })),
);

/** Returns whether a value has no NaN, whose bits JavaScript does not keep. */
export function decodable(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isNaN(value);
  if (value instanceof Variant || value instanceof Just) return decodable(value.value);
  return !Array.isArray(value) || value.every(decodable);
}
