/**
 * GVariant type strings. Source: GLib "GVariant Type Strings"; alignment and sizes from the GVariant specification, section 2.
 */
import { gvariantError } from './errors.ts';

/** Deepest nesting of a type or value, as in GLib (`G_VARIANT_MAX_RECURSION_DEPTH`). */
export const MAX_DEPTH = 128;

export type BasicCode = 'b' | 'y' | 'n' | 'q' | 'i' | 'u' | 'h' | 'x' | 't' | 'd' | 's' | 'o' | 'g';

interface TypeShape {
  /** The type string of this node. */
  readonly text: string;
  /** Mask of the alignment: 0, 1, 3 or 7. */
  readonly align: number;
  /** Bytes of every value, or 0 when they vary. */
  readonly fixedSize: number;
  /** Levels of nesting: 1 for basic types. */
  readonly height: number;
}

export type VariantType =
  | (TypeShape & { readonly kind: 'basic'; readonly code: BasicCode })
  | (TypeShape & { readonly kind: 'variant' })
  | (TypeShape & { readonly kind: 'maybe' | 'array'; readonly item: VariantType })
  | (TypeShape & { readonly kind: 'tuple' | 'entry'; readonly items: readonly VariantType[] });

const SIZES: Readonly<Record<BasicCode, number>> = { b: 1, y: 1, n: 2, q: 2, i: 4, u: 4, h: 4, x: 8, t: 8, d: 8, s: 0, o: 0, g: 0 };

function basic(code: BasicCode): VariantType {
  const size = SIZES[code];
  return { kind: 'basic', code, text: code, align: size === 0 ? 0 : size - 1, fixedSize: size, height: 1 };
}

const BASICS: ReadonlyMap<string, VariantType> = new Map((Object.keys(SIZES) as BasicCode[]).map((code) => [code, basic(code)]));
const VARIANT: VariantType = { kind: 'variant', text: 'v', align: 7, fixedSize: 0, height: 1 };

/** Returns the type that `text` names, which must be one complete type without wildcards. @throws GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP */
export function parseType(text: string): VariantType {
  const [type, end] = typeAt(text, 0, 1);
  if (end !== text.length) throw invalid(text, end);
  return type;
}

/** Returns the type that starts at `at`, and where it ends. @throws GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP */
export function typeAt(text: string, at: number, depth: number): [type: VariantType, end: number] {
  if (depth > MAX_DEPTH) throw gvariantError('GVARIANT_TOO_DEEP', `Cannot parse GVariant type: nested deeper than ${MAX_DEPTH} levels`);
  const code = text[at];
  switch (code) {
    case 'v':
      return [VARIANT, at + 1];
    case 'a':
    case 'm': {
      const [item, end] = typeAt(text, at + 1, depth + 1);
      return [{ kind: code === 'a' ? 'array' : 'maybe', item, text: text.slice(at, end), align: item.align, fixedSize: 0, height: item.height + 1 }, end];
    }
    case '(': {
      const items: VariantType[] = [];
      let next = at + 1;
      while (next < text.length && text[next] !== ')') {
        const [item, end] = typeAt(text, next, depth + 1);
        items.push(item);
        next = end;
      }
      if (next >= text.length) throw invalid(text, next);
      return [structure('tuple', items, text.slice(at, next + 1)), next + 1];
    }
    case '{': {
      const [key, keyEnd] = typeAt(text, at + 1, depth + 1);
      if (key.kind !== 'basic') throw invalid(text, at + 1);
      const [value, end] = typeAt(text, keyEnd, depth + 1);
      if (text[end] !== '}') throw invalid(text, end);
      return [structure('entry', [key, value], text.slice(at, end + 1)), end + 1];
    }
    default: {
      const found = code === undefined ? undefined : BASICS.get(code);
      if (found === undefined) throw invalid(text, at);
      return [found, at + 1];
    }
  }
}

function structure(kind: 'tuple' | 'entry', items: readonly VariantType[], text: string): VariantType {
  let align = 0;
  let size = 0;
  let fixed = true;
  let height = 0;
  for (const item of items) {
    align |= item.align;
    size = ((size + item.align) & ~item.align) + item.fixedSize;
    fixed &&= item.fixedSize > 0;
    if (item.height > height) height = item.height;
  }
  // The unit tuple takes one byte, so that an array of it has a length.
  const fixedSize = items.length === 0 ? 1 : fixed ? (size + align) & ~align : 0;
  return { kind, items, text, align, fixedSize, height: height + 1 };
}

function invalid(text: string, at: number): Error {
  return gvariantError('GVARIANT_TYPE_INVALID', `Cannot parse GVariant type "${text.slice(0, 80)}" at character ${at + 1}`);
}
