/**
 * Finds the type of a value from what was written.
 *
 * A pattern is a type string with open places: `*` any type, `N` a number, `S` a text, and `M` before a type that may
 * be the value of a maybe. Arrays join the patterns of their elements. The rules are GLib's.
 */
import type { Syntax } from './syntax.ts';
import { textError } from './tokens.ts';

export function patternOf(syntax: Syntax): string {
  switch (syntax.kind) {
    case 'boolean':
      return 'Mb';
    case 'number':
      return isFraction(syntax.token) ? 'Md' : 'MN';
    case 'text':
      return 'MS';
    case 'bytes':
      return 'May';
    case 'variant':
      return 'Mv';
    case 'maybe':
      return `m${syntax.child === undefined ? '*' : patternOf(syntax.child)}`;
    case 'array':
      return syntax.items.length === 0 ? 'Ma*' : `Ma${common(syntax.items)}`;
    case 'tuple':
      return `M(${syntax.items.map(patternOf).join('')})`;
    case 'typed':
      return syntax.type.text;
    default: {
      if (syntax.keys.length === 0) return 'Ma{**}';
      const key = common(syntax.keys);
      const code = key[0] === 'M' ? key.slice(1) : key;
      if (code.length !== 1 || !'bynqiuxthdsogNS'.includes(code)) throw textError(syntax.at, 'dictionary keys must be of a basic type');
      // GLib looks at the first value only: in {'a': 1, 'b': 2.5} the 2.5 is refused, and what follows takes the first one's type.
      return `M${syntax.kind === 'dictionary' ? 'a' : ''}{${code}${patternOf(syntax.values[0] as Syntax)}}`;
    }
  }
}

export function isFraction(token: string): boolean {
  return token.includes('.') || (!token.startsWith('0x') && token.includes('e')) || token.includes('inf') || token.includes('nan');
}

function common(items: readonly Syntax[]): string {
  let pattern: string | undefined;
  for (const item of items) {
    const next = patternOf(item);
    if (pattern === next) continue;
    const joined: string | undefined = pattern === undefined ? next : join(pattern, next);
    if (joined === undefined) throw textError(item.at, 'no common type with the elements before it');
    pattern = joined;
  }
  return pattern ?? '*';
}

/** Returns the pattern that both sides allow, or undefined. */
function join(left: string, right: string): string | undefined {
  let out = '';
  let l = 0;
  let r = 0;
  while (l < left.length && r < right.length) {
    if (left[l] === right[r]) {
      out += left[l];
      l++;
      r++;
      continue;
    }
    const step = joinStep(left, l, right, r);
    if (step !== undefined) {
      out += step.out;
      l += step.one;
      r += step.other;
      continue;
    }
    const back = joinStep(right, r, left, l);
    if (back === undefined) return undefined;
    out += back.out;
    r += back.one;
    l += back.other;
  }
  return l === left.length && r === right.length ? out : undefined;
}

/** Lets the open place at `one[i]` take what stands at `other[j]`. */
function joinStep(one: string, i: number, other: string, j: number): { out: string; one: number; other: number } | undefined {
  const open = one[i];
  const found = other[j] as string;
  if (open === '*' && found !== ')') {
    const length = lengthAt(other, j);
    return { out: other.slice(j, j + length), one: 1, other: length };
  }
  if (open === 'M' && found === 'm') return { out: 'm', one: 0, other: 1 };
  if (open === 'M' && found !== '*') return { out: '', one: 1, other: 0 };
  if ((open === 'N' && 'ynqiuxthd'.includes(found)) || (open === 'S' && 'sog'.includes(found))) return { out: found, one: 1, other: 1 };
  return undefined;
}

/** Returns how long the one pattern at `at` is. */
function lengthAt(pattern: string, at: number): number {
  let end = at;
  while (pattern[end] === 'a' || pattern[end] === 'm' || pattern[end] === 'M') end++;
  let open = 0;
  do {
    const character = pattern[end];
    if (character === '(' || character === '{') open++;
    else if (character === ')' || character === '}') open--;
    end++;
  } while (open > 0 && end < pattern.length);
  return end - at;
}
