/** Reads the text form of values, as GLib's `g_variant_parse`. Source: GLib "GVariant Text Format". */

import { isFraction, patternOf } from './pattern.ts';
import { isObjectPath, isSignature } from './strings.ts';
import { readSyntax, type Syntax } from './syntax.ts';
import { Tokens, textError } from './tokens.ts';
import { parseType, type VariantType } from './type.ts';
import { Just, Variant } from './variant.ts';

/**
 * Returns the value that `text` writes, of `type` when given and else of the type that the text implies:
 * integers are `i` and texts are `s` unless something says otherwise.
 *
 * @throws GVARIANT_TEXT_INVALID, GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP
 * @example
 * parseVariantText("{'version': <'1.0'>, 'size': <uint64 7>}").type // 'a{sv}'
 */
export function parseVariantText(text: string, type?: string): Variant {
  const wanted = type === undefined ? undefined : parseType(type);
  const tokens = new Tokens(text);
  const syntax = readSyntax(tokens);
  const rest = tokens.peek();
  if (rest.text !== '') throw textError(rest.at, 'expected the end');
  return wanted === undefined ? resolve(syntax) : new Variant(wanted.text, valueAs(syntax, wanted));
}

function resolve(syntax: Syntax): Variant {
  const pattern = patternOf(syntax);
  if (pattern.includes('*')) throw textError(syntax.at, 'cannot infer the type: write it before the value, as in "@as []"');
  const type = parseType(pattern.replaceAll('M', '').replaceAll('S', 's').replaceAll('N', 'i'));
  return new Variant(type.text, valueAs(syntax, type));
}

function valueAs(syntax: Syntax, type: VariantType): unknown {
  if (syntax.kind === 'typed') return valueAs(syntax.child, type);
  if (type.kind === 'maybe') {
    // A plain value stands for as many justs as the type has.
    const child = syntax.kind === 'maybe' ? syntax.child : syntax;
    if (child === undefined) return undefined;
    const value = valueAs(child, type.item);
    return type.item.kind === 'maybe' ? new Just(value) : value;
  }
  switch (syntax.kind) {
    case 'boolean':
      if (type.text !== 'b') break;
      return syntax.value;
    case 'number':
      if (type.kind !== 'basic') break;
      return type.code === 'd' ? doubleOf(syntax) : integerOf(syntax, type);
    case 'text':
      if (type.text === 's') return syntax.value;
      if (type.text === 'o' && isObjectPath(syntax.value)) return syntax.value;
      if (type.text === 'g' && isSignature(syntax.value)) return syntax.value;
      break;
    case 'bytes':
      if (type.text !== 'ay') break;
      return syntax.value;
    case 'variant':
      if (type.kind !== 'variant') break;
      return resolve(syntax.child);
    case 'array': {
      if (type.kind !== 'array') break;
      const values = syntax.items.map((item) => valueAs(item, type.item));
      return type.item.text === 'y' ? Uint8Array.from(values as number[]) : values;
    }
    case 'tuple':
      if (type.kind !== 'tuple' || type.items.length !== syntax.items.length) break;
      return syntax.items.map((item, i) => valueAs(item, type.items[i] as VariantType));
    case 'dictionary': {
      if (type.kind !== 'array' || type.item.kind !== 'entry') break;
      const entry = type.item;
      return syntax.keys.map((key, i) => entryOf(key, syntax.values[i] as Syntax, entry));
    }
    case 'entry':
      if (type.kind !== 'entry') break;
      return entryOf(syntax.keys[0] as Syntax, syntax.values[0] as Syntax, type);
  }
  throw textError(syntax.at, `cannot read the value as type "${type.text.slice(0, 80)}"`);
}

function entryOf(key: Syntax, value: Syntax, type: VariantType & { kind: 'entry' | 'tuple' }): [key: unknown, value: unknown] {
  return [valueAs(key, type.items[0] as VariantType), valueAs(value, type.items[1] as VariantType)];
}

type NumberSyntax = Syntax & { kind: 'number' };

const HEX = /^([-+]?)(0x[0-9a-f]{1,64})$/i;
const DECIMAL = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i;
const SPECIAL = /^([-+]?)(inf(?:inity)?|nan)$/i;

function doubleOf({ token, at }: NumberSyntax): number {
  const special = SPECIAL.exec(token);
  if (special !== null) return special[2]?.toLowerCase() === 'nan' ? Number.NaN : special[1] === '-' ? -Infinity : Infinity;
  const hex = HEX.exec(token);
  if (hex !== null) return (hex[1] === '-' ? -1 : 1) * Number(hex[2]);
  const value = DECIMAL.test(token) ? Number(token) : Number.NaN;
  if (Number.isNaN(value)) throw textError(at, 'not a number');
  if (!Number.isFinite(value)) throw textError(at, 'number is too large');
  return value;
}

const RANGES: Readonly<Record<string, readonly [low: bigint, high: bigint]>> = {
  y: [0n, 0xffn],
  n: [-0x8000n, 0x7fffn],
  q: [0n, 0xffffn],
  i: [-0x8000_0000n, 0x7fff_ffffn],
  h: [-0x8000_0000n, 0x7fff_ffffn],
  u: [0n, 0xffff_ffffn],
  x: [-0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn],
  t: [0n, 0xffff_ffff_ffff_ffffn],
};

/** Bounds the work on a number that no type could hold. */
const MAX_DIGITS = 64;

function integerOf({ token, at }: NumberSyntax, type: VariantType): number | bigint {
  const parts = isFraction(token) || token.length > MAX_DIGITS ? null : /^([-+]?)(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9]\d*))$/i.exec(token);
  const range = RANGES[type.text];
  if (range === undefined) throw textError(at, `cannot read a number as type "${type.text.slice(0, 80)}"`);
  if (parts === null) throw textError(at, 'not an integer');
  const [, sign, hex, octal, decimal] = parts;
  const size = hex !== undefined ? BigInt(`0x${hex}`) : octal !== undefined ? BigInt(`0o0${octal}`) : BigInt(decimal as string);
  const value = sign === '-' ? -size : size;
  if (value < range[0] || value > range[1]) throw textError(at, `number is out of range for type "${type.text}"`);
  return type.text === 'x' || type.text === 't' ? value : Number(value);
}
