/** The text form of values as a tree of what was written, before types are known. Grammar: GLib "GVariant Text Format". */
import { gvariantError } from './errors.ts';
import { type Tokens, textError } from './tokens.ts';
import { MAX_DEPTH, parseType, type VariantType } from './type.ts';

interface At {
  /** Position in the text, for errors. */
  readonly at: number;
}

export type Syntax = At &
  (
    | { readonly kind: 'boolean'; readonly value: boolean }
    | { readonly kind: 'number'; readonly token: string }
    | { readonly kind: 'text'; readonly value: string }
    | { readonly kind: 'bytes'; readonly value: Uint8Array }
    | { readonly kind: 'variant'; readonly child: Syntax }
    | { readonly kind: 'maybe'; readonly child: Syntax | undefined }
    | { readonly kind: 'array' | 'tuple'; readonly items: readonly Syntax[] }
    | { readonly kind: 'dictionary' | 'entry'; readonly keys: readonly Syntax[]; readonly values: readonly Syntax[] }
    | { readonly kind: 'typed'; readonly type: VariantType; readonly child: Syntax }
  );

const KEYWORDS: Readonly<Record<string, string>> = {
  boolean: 'b',
  byte: 'y',
  int16: 'n',
  uint16: 'q',
  int32: 'i',
  handle: 'h',
  uint32: 'u',
  int64: 'x',
  uint64: 't',
  double: 'd',
  string: 's',
  objectpath: 'o',
  signature: 'g',
};

/** Reads one value. @throws GVARIANT_TEXT_INVALID, GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP */
export function readSyntax(tokens: Tokens, depth = 1): Syntax {
  if (depth > MAX_DEPTH) throw gvariantError('GVARIANT_TOO_DEEP', `Cannot parse GVariant text: nested deeper than ${MAX_DEPTH} levels`);
  const { text, at } = tokens.peek();
  const first = text[0] ?? '';
  if (first === '[') return { kind: 'array', at, items: readArray(tokens, depth) };
  if (first === '(') return { kind: 'tuple', at, items: readTuple(tokens, depth) };
  if (first === '{') return readDictionary(tokens, at, depth);
  if (first === '<') {
    tokens.take();
    const child = readSyntax(tokens, depth + 1);
    tokens.require('>', 'after the value of a variant');
    return { kind: 'variant', at, child };
  }
  if (first === '@') {
    tokens.take();
    const type = parseType(text.slice(1));
    if (depth + type.height > MAX_DEPTH + 1) throw gvariantError('GVARIANT_TOO_DEEP', `Cannot parse GVariant text: nested deeper than ${MAX_DEPTH} levels`);
    return { kind: 'typed', at, type, child: readSyntax(tokens, depth + 1) };
  }
  if (text === '') throw textError(at, 'expected a value');
  tokens.take();
  if (text === 'true' || text === 'false') return { kind: 'boolean', at, value: text === 'true' };
  if (/^[-+.0-9]/.test(first) || text === 'inf' || text === 'nan') return { kind: 'number', at, token: text };
  if (text === 'just') return { kind: 'maybe', at, child: readSyntax(tokens, depth + 1) };
  if (text === 'nothing') return { kind: 'maybe', at, child: undefined };
  if (first === "'" || first === '"') return { kind: 'text', at, value: unescapeText(text, at) };
  if (first === 'b' && (text[1] === "'" || text[1] === '"')) return { kind: 'bytes', at, value: unescapeBytes(text.slice(1)) };
  const type = Object.hasOwn(KEYWORDS, text) ? KEYWORDS[text] : undefined;
  if (type !== undefined) return { kind: 'typed', at, type: parseType(type), child: readSyntax(tokens, depth + 1) };
  throw textError(at, /^[a-z]/.test(first) ? `unknown keyword "${text.slice(0, 40)}"` : 'expected a value');
}

function readArray(tokens: Tokens, depth: number): Syntax[] {
  tokens.take();
  const items: Syntax[] = [];
  while (!tokens.accept(']')) {
    if (items.length > 0) tokens.require(',', 'or "]" after an array element');
    items.push(readSyntax(tokens, depth + 1));
  }
  return items;
}

function readTuple(tokens: Tokens, depth: number): Syntax[] {
  tokens.take();
  const items: Syntax[] = [];
  while (!tokens.accept(')')) {
    // The comma after the first element is never optional: it makes `(1,)` a tuple.
    if (items.length > 1) tokens.require(',', 'or ")" after a tuple element');
    items.push(readSyntax(tokens, depth + 1));
    if (items.length === 1) tokens.require(',', 'after the first tuple element');
  }
  return items;
}

function readDictionary(tokens: Tokens, at: number, depth: number): Syntax {
  tokens.take();
  const keys: Syntax[] = [];
  const values: Syntax[] = [];
  if (tokens.accept('}')) return { kind: 'dictionary', at, keys, values };
  for (;;) {
    keys.push(readSyntax(tokens, depth + 2));
    const single = keys.length === 1 && tokens.accept(',');
    if (!single) tokens.require(':', 'after the key of a dictionary entry');
    values.push(readSyntax(tokens, depth + 2));
    if (single) {
      tokens.require('}', 'at the end of a dictionary entry');
      return { kind: 'entry', at, keys, values };
    }
    if (tokens.accept('}')) return { kind: 'dictionary', at, keys, values };
    tokens.require(',', 'or "}" after a dictionary entry');
  }
}

const CONTROLS: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v', '\n': '' };

function unescapeText(token: string, at: number): string {
  const value = token.slice(1, -1).replace(/\\(?:u(.{0,4})|U(.{0,8})|(.))/gsu, (_all, short?: string, long?: string, other?: string) => {
    if (other !== undefined) return CONTROLS[other] ?? other;
    const digits = short ?? long ?? '';
    const code = /^(?:[0-9a-fA-F]{4}|[0-9a-fA-F]{8})$/.test(digits) && digits.length === (short === undefined ? 8 : 4) ? Number.parseInt(digits, 16) : 0;
    if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) throw textError(at, 'not a Unicode escape');
    return String.fromCodePoint(code);
  });
  if (!value.isWellFormed() || value.includes('\0')) throw textError(at, 'text is not Unicode, or has a NUL');
  return value;
}

/** Byte strings end with a NUL that is not written. */
function unescapeBytes(token: string): Uint8Array {
  const source = Buffer.from(token.slice(1, -1), 'utf8').toString('latin1');
  const value = source.replace(/\\(?:([0-7]{1,3})|(.))/gs, (_all, octal?: string, other?: string) =>
    octal === undefined ? (CONTROLS[other as string] ?? (other as string)) : String.fromCharCode(Number.parseInt(octal, 8) & 0xff),
  );
  // GLib takes what stands before the first NUL.
  const end = value.indexOf('\0');
  return Uint8Array.from(Buffer.from(`${end < 0 ? value : value.slice(0, end)}\0`, 'latin1'));
}
