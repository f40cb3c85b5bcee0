/** Texts that a pattern matches, and random patterns. No tests. */
import type { Random } from '@cambium/testkit';
import { type Pattern, parsePattern } from './pattern.ts';

const LETTERS = 'ab/.-';

/** Returns a text that matches, or nearly: anchors inside are left out, and one in six is changed at one place. */
export function textFor(pattern: string, random: Random): string {
  let branches: Pattern[];
  try {
    branches = parsePattern(pattern);
  } catch {
    return pattern;
  }
  const text = sample(random.pick(branches), random);
  if (!random.oneIn(6) || text.length === 0) return text;
  const at = random.below(text.length);
  return text.slice(0, at) + random.pick(['', ...LETTERS, '\n', 'é']) + text.slice(at + random.below(2));
}

function sample(pattern: Pattern, random: Random): string {
  switch (pattern.type) {
    case 'byte':
      return String.fromCharCode(pattern.value);
    case 'any':
      return random.pick([...LETTERS]);
    case 'set': {
      const members = Array.from(pattern.set, (flag, byte) => (flag === '1' && byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '')).join('');
      return members === '' ? '' : random.pick([...members]);
    }
    case 'sequence':
      return pattern.items.map((item) => sample(item, random)).join('');
    case 'choice':
      return sample(random.pick(pattern.items), random);
    case 'repeat': {
      const most = Math.min(pattern.max, pattern.min + 3);
      let text = '';
      for (let left = pattern.min + random.below(most - pattern.min + 1); left > 0; left--) text += sample(pattern.item, random);
      return text;
    }
    default:
      return '';
  }
}

/** Returns a pattern of all notations that are matched, and now and then of one that is not. */
export function randomPattern(random: Random, depth = 0): string {
  let pattern = depth === 0 ? random.pick(['/', '/a', '/a/', '/a\\-b/', '/b/a', '', '^/a']) : '';
  for (let left = 1 + random.below(4); left > 0; left--) {
    const item = randomItem(random, depth);
    // Repeated repetitions make PCRE2 give up, and libselinux then finds nothing.
    pattern += item + random.pick(item.startsWith('(') && /[*+{|?]/.test(item.slice(3)) ? ['', '?'] : QUANTIFIERS);
  }
  if (random.oneIn(8)) pattern += `|${randomItem(random, depth)}`;
  return random.oneIn(12) ? pattern + random.pick(['$', '\\z', '\\Z', ')', '*', '(']) : pattern;
}

const QUANTIFIERS = ['', '', '', '', '', '?', '*', '+', '{2}', '{1,2}', '{0}', '{2,}', '??', '*?', '{,2}', '{b'];
const ITEMS = [
  'a',
  'b',
  '/',
  '\\.',
  '.',
  '\\-',
  '[ab]',
  '[^/]',
  '[a-b.]',
  '[]a]',
  '[^]a-]',
  '\\d',
  '\\w',
  '\\S',
  '[[:alpha:]-]',
  '[\\w.]',
  '\\x61',
  '\\t',
  ']',
  '}',
  '\\/',
];

function randomItem(random: Random, depth: number): string {
  if (depth > 2 || !random.oneIn(4)) return random.pick(ITEMS);
  const inner = randomPattern(random, depth + 1);
  return random.pick([`(${inner})`, `(?:${inner})`, `(/${inner})?`, `(${inner}|b)`, `(${inner}|)`]);
}
