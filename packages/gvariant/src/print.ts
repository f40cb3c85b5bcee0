/** The text form of values, byte for byte as GLib's `g_variant_print`. Source: GLib "GVariant Text Format". */
import { encode } from './codec.ts';
import { parseType, type VariantType } from './type.ts';
import type { Just, Variant } from './variant.ts';

/**
 * Returns the text of a value. With `annotate` its type can be read back from the text, as `ostree show --raw` prints it;
 * values in variants are annotated always.
 *
 * Which characters are printable depends on the Unicode version: GLib's and JavaScript's differ for the newest ones.
 *
 * @throws GVARIANT_VALUE_INVALID, GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP
 * @example
 * printVariant('a{sv}', [['size', new Variant('t', 7n)]]) // "{'size': <uint64 7>}"
 */
export function printVariant(type: string, value: unknown, annotate = false): string {
  const out: string[] = [];
  printVariantTo(type, value, annotate, (text) => out.push(text));
  return out.join('');
}

/** As {@link printVariant} for values that may be large: the text comes in pieces, none much longer than the longest string in the value. */
export function printVariantTo(type: string, value: unknown, annotate: boolean, write: (text: string) => void): void {
  encode(type, value); // every check of the value in one place, its depth included
  print(parseType(type), value, annotate, { push: (...texts) => texts.forEach(write) });
}

interface Out {
  push(...texts: string[]): void;
}

/** Of an array of bytes, printed together. */
const PRINTED_BYTES = 8192;

function print(type: VariantType, value: unknown, annotate: boolean, out: Out): void {
  switch (type.kind) {
    case 'basic':
      out.push(printBasic(type.code, value, annotate));
      return;
    case 'variant': {
      const held = value as Variant;
      out.push('<');
      print(parseType(held.type), held.value, true, out);
      out.push('>');
      return;
    }
    case 'maybe':
      printMaybe(type, value, annotate, out);
      return;
    case 'array':
      printArray(type, value, annotate, out);
      return;
    case 'tuple': {
      const items = value as readonly unknown[];
      out.push('(');
      printItems(type.items, items, annotate, out);
      out.push(items.length === 1 ? ',)' : ')');
      return;
    }
    case 'entry':
      out.push('{');
      printItems(type.items, value as readonly unknown[], annotate, out);
      out.push('}');
  }
}

function printItems(types: readonly VariantType[], values: readonly unknown[], annotate: boolean, out: Out): void {
  values.forEach((value, i) => {
    if (i > 0) out.push(', ');
    print(types[i] as VariantType, value, annotate, out);
  });
}

function printMaybe(type: VariantType, value: unknown, annotate: boolean, out: Out): void {
  if (annotate) out.push(`@${type.text} `);
  // "just" stands only where a nothing lies inside: `just nothing` and `nothing` must differ, 4 is clear by its type.
  let inner: VariantType = type;
  let held = value;
  let justs = 0;
  while (inner.kind === 'maybe' && held !== undefined) {
    if (inner.item.kind === 'maybe') held = (held as Just).value;
    inner = inner.item;
    justs++;
  }
  if (inner.kind === 'maybe') out.push('just '.repeat(justs), 'nothing');
  else print(inner, held, false, out);
}

function printArray(type: VariantType & { kind: 'array' | 'maybe' }, value: unknown, annotate: boolean, out: Out): void {
  if (value instanceof Uint8Array && value.length > 0 && value.indexOf(0) === value.length - 1) {
    out.push(printByteString(value.subarray(0, -1)));
    return;
  }
  const items = value as ArrayLike<unknown>;
  const dictionary = type.item.kind === 'entry';
  if (items.length === 0) {
    if (annotate) out.push(`@${type.text} `);
    out.push(dictionary ? '{}' : '[]');
    return;
  }
  if (value instanceof Uint8Array) {
    printBytes(value, annotate, out);
    return;
  }
  out.push(dictionary ? '{' : '[');
  for (let i = 0; i < items.length; i++) {
    if (i > 0) out.push(', ');
    // The first item says the type of all.
    const annotated = annotate && i === 0;
    if (type.item.kind === 'entry') {
      const [key, held] = items[i] as readonly [unknown, unknown];
      print(type.item.items[0] as VariantType, key, annotated, out);
      out.push(': ');
      print(type.item.items[1] as VariantType, held, annotated, out);
    } else print(type.item, items[i], annotated, out);
  }
  out.push(dictionary ? '}' : ']');
}

/** One by one the bytes of a large value would be as many strings at a time. */
function printBytes(bytes: Uint8Array, annotate: boolean, out: Out): void {
  out.push(annotate ? '[byte ' : '[');
  for (let at = 0; at < bytes.byteLength; at += PRINTED_BYTES) {
    const shown = Array.from(bytes.subarray(at, at + PRINTED_BYTES), (byte) => `0x${byte.toString(16).padStart(2, '0')}`);
    out.push(at === 0 ? '' : ', ', shown.join(', '));
  }
  out.push(']');
}

const PREFIXES: Readonly<Record<string, string>> = {
  y: 'byte ',
  n: 'int16 ',
  q: 'uint16 ',
  h: 'handle ',
  u: 'uint32 ',
  x: 'int64 ',
  t: 'uint64 ',
  o: 'objectpath ',
  g: 'signature ',
};

function printBasic(code: string, value: unknown, annotate: boolean): string {
  const prefix = annotate ? (PREFIXES[code] ?? '') : '';
  switch (code) {
    case 's':
      return printText(value as string);
    case 'o':
    case 'g':
      return `${prefix}'${value as string}'`;
    case 'y':
      return `${prefix}0x${(value as number).toString(16).padStart(2, '0')}`;
    case 'd':
      return printDouble(value as number);
    default:
      // `-0` is an integer too, and prints without a sign this way.
      return `${prefix}${String(value)}`;
  }
}

const LETTERS: Readonly<Record<number, string>> = { 7: 'a', 8: 'b', 9: 't', 10: 'n', 11: 'v', 12: 'f', 13: 'r' };
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cn}\p{Cs}]/u;

function printText(text: string): string {
  const quote = text.includes("'") ? '"' : "'";
  let shown = quote;
  for (const character of text) {
    if (character === quote || character === '\\') shown += `\\${character}`;
    else if (!UNPRINTABLE.test(character)) shown += character;
    else {
      const code = character.codePointAt(0) as number;
      const hex = code.toString(16);
      shown += `\\${LETTERS[code] ?? (code < 0x10000 ? `u${hex.padStart(4, '0')}` : `U${hex.padStart(8, '0')}`)}`;
    }
  }
  return shown + quote;
}

function printByteString(bytes: Uint8Array): string {
  const quote = bytes.includes(0x27) ? '"' : "'";
  let shown = `b${quote}`;
  for (const byte of bytes) {
    const letter = byte === 7 ? undefined : LETTERS[byte];
    if (letter !== undefined) shown += `\\${letter}`;
    // Both are escaped whatever the quote is, as g_strescape does.
    else if (byte === 0x5c || byte === 0x22) shown += `\\${String.fromCharCode(byte)}`;
    else if (byte < 0x20 || byte >= 0x7f) shown += `\\${byte.toString(8).padStart(3, '0')}`;
    else shown += String.fromCharCode(byte);
  }
  return shown + quote;
}

const DIGITS = 17;

/** As C's `%.17g`, with `.0` where nothing else would tell the text from an integer. */
function printDouble(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const { digits, exponent } = significant(Math.abs(value));
  const kept = digits.replace(/0+$/, '') || '0';
  if (exponent < -4 || exponent >= DIGITS) {
    const fraction = kept.length > 1 ? `.${kept.slice(1)}` : '';
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${kept[0]}${fraction}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${kept}`;
  const whole = kept.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${kept.slice(exponent + 1) || '0'}`;
}

/** Returns 17 digits, ties to even as in C; JavaScript rounds ties up (2^-25 has 18 digits and is one). */
function significant(value: number): { digits: string; exponent: number } {
  const [mantissa = '', exponentText = '0'] = value.toExponential(DIGITS - 1).split('e');
  const long = value.toExponential(60).split('e')[0]?.replace('.', '') ?? '';
  const tie = /^50*$/.test(long.slice(DIGITS));
  const exponent = Number(exponentText);
  const cut = long.slice(0, DIGITS);
  if (tie && Number(cut[DIGITS - 1]) % 2 === 0) return { digits: cut, exponent };
  return { digits: mantissa.replace('.', ''), exponent };
}
