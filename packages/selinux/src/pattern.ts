/**
 * The patterns of file contexts: what of PCRE2's syntax describes a regular language. PCRE2 is asked with "dot matches all"
 * and nothing else, on bytes, so a character is a byte here and only ASCII has classes.
 *
 * Nothing is matched by backtracking: patterns of real policies, such as `(\.[^/]*)*`, take exponential time that way.
 */
import { selinuxError } from './errors.ts';

export type Pattern =
  | { type: 'byte'; value: number }
  /** One row of 256 flags. */
  | { type: 'set'; set: ByteSet }
  | { type: 'any' }
  /** The very beginning, the end or the newline before it, the very end. */
  | { type: 'start' | 'end' | 'veryEnd' }
  | { type: 'sequence' | 'choice'; items: Pattern[] }
  | { type: 'repeat'; item: Pattern; min: number; max: number };

/** Which of the 256 bytes belong: '0' or '1' for each. Equal sets are equal texts. */
export type ByteSet = string;

/** PCRE2's own limits. */
const MAX_DEPTH = 250;
const MAX_REPEAT = 65_535;

/**
 * Returns what a pattern means: its branches, one where there is no `|` outside of parentheses. It is not anchored: libselinux puts
 * `^` and `$` around the text, so that in `^a|b$` they belong to one branch each.
 *
 * @param text ASCII
 * @throws SELINUX_PATTERN_INVALID where PCRE2 would not compile it, SELINUX_PATTERN_UNSUPPORTED for what is not a regular language,
 *   and for a few notations that no policy has
 */
export function parsePattern(text: string): Pattern[] {
  const parser = new PatternParser(text);
  const branches = parser.branches(0);
  if (!parser.atEnd) throw parser.invalid('unmatched closing parenthesis');
  return branches;
}

class PatternParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  branches(depth: number): Pattern[] {
    if (depth > MAX_DEPTH) throw this.invalid('parentheses are too deeply nested');
    const items = [this.#sequence(depth)];
    while (this.#text[this.#at] === '|') {
      this.#at++;
      items.push(this.#sequence(depth));
    }
    return items;
  }

  invalid(why: string): Error {
    return selinuxError('SELINUX_PATTERN_INVALID', `Invalid pattern "${this.#text.slice(0, 200)}": ${why} (at ${this.#at})`);
  }

  #unsupported(what: string): Error {
    return selinuxError('SELINUX_PATTERN_UNSUPPORTED', `Unsupported pattern "${this.#text.slice(0, 200)}": ${what} (at ${this.#at})`);
  }

  #sequence(depth: number): Pattern {
    const items: Pattern[] = [];
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined || character === '|' || character === ')') break;
      const item = this.#item(character, depth);
      const repeated = this.#repeat(item);
      if (repeated !== undefined) items.push(repeated);
    }
    return items.length === 1 ? (items[0] as Pattern) : { type: 'sequence', items };
  }

  #item(character: string, depth: number): Pattern {
    switch (character) {
      case '^':
        this.#at++;
        return { type: 'start' };
      case '$':
        this.#at++;
        return { type: 'end' };
      case '.':
        this.#at++;
        return { type: 'any' };
      case '(':
        return this.#group(depth);
      case '[':
        return { type: 'set', set: this.#class() };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw this.invalid('a quantifier follows nothing');
      default:
        if (character === '{' && this.#bounds() !== undefined) throw this.invalid('a quantifier follows nothing');
        return this.#literal(character);
    }
  }

  #literal(character: string): Pattern {
    this.#at++;
    return { type: 'byte', value: character.charCodeAt(0) & 0xff };
  }

  #group(depth: number): Pattern {
    this.#at++;
    if (this.#text[this.#at] === '*') throw this.#unsupported('a verb');
    if (this.#text[this.#at] === '?') {
      if (this.#text[this.#at + 1] !== ':') throw this.#unsupported('a group other than (…) and (?:…)');
      this.#at += 2;
    }
    const items = this.branches(depth + 1);
    if (this.#text[this.#at] !== ')') throw this.invalid('missing closing parenthesis');
    this.#at++;
    return items.length === 1 ? (items[0] as Pattern) : { type: 'choice', items };
  }

  /** Returns the item as often as what follows says. */
  #repeat(item: Pattern): Pattern | undefined {
    const bounds = this.#quantifier();
    if (bounds === undefined) return item;
    if (item.type === 'start' || item.type === 'end' || item.type === 'veryEnd') throw this.invalid('a quantifier follows an anchor');
    const { min, max } = bounds;
    if (max < min) throw this.invalid('numbers out of order in a quantifier');
    if (this.#text[this.#at] === '+') throw this.#unsupported('a possessive quantifier');
    // Fewest first or most first: the same texts match.
    if (this.#text[this.#at] === '?') this.#at++;
    if (this.#quantifier() !== undefined) throw this.invalid('a quantifier follows a quantifier');
    return max === 0 ? undefined : { type: 'repeat', item, min, max };
  }

  #quantifier(): { min: number; max: number } | undefined {
    switch (this.#text[this.#at]) {
      case '*':
        this.#at++;
        return { min: 0, max: Number.POSITIVE_INFINITY };
      case '+':
        this.#at++;
        return { min: 1, max: Number.POSITIVE_INFINITY };
      case '?':
        this.#at++;
        return { min: 0, max: 1 };
      case '{': {
        const bounds = this.#bounds();
        if (bounds === undefined) return undefined;
        this.#at += bounds.length;
        return bounds;
      }
      default:
        return undefined;
    }
  }

  /** Returns `{n}`, `{n,}` or `{n,m}` when that stands here; any other brace is a brace. */
  #bounds(): { min: number; max: number; length: number } | undefined {
    const [all = '', low, comma, high] = /^\{(\d+)(,?)(\d*)\}/.exec(this.#text.slice(this.#at, this.#at + 100)) ?? [];
    if (low === undefined || (comma === '' && high !== '')) return undefined;
    const min = Number(low);
    const max = comma === '' ? min : high === '' ? Number.POSITIVE_INFINITY : Number(high);
    if (min > MAX_REPEAT || (max > MAX_REPEAT && max !== Number.POSITIVE_INFINITY)) throw this.invalid('a number in a quantifier is too big');
    return { min, max, length: all.length };
  }

  #escape(): Pattern {
    const character = this.#text[this.#at + 1];
    if (character === undefined) throw this.invalid('a backslash ends it');
    if (character === 'A' || character === 'Z' || character === 'z') {
      this.#at += 2;
      return { type: character === 'A' ? 'start' : character === 'Z' ? 'end' : 'veryEnd' };
    }
    const set = setEscapes.get(character);
    if (set !== undefined) {
      this.#at += 2;
      return { type: 'set', set };
    }
    return { type: 'byte', value: this.#byteEscape() };
  }

  /** Returns the one byte that an escape stands for. */
  #byteEscape(): number {
    const character = this.#text[this.#at + 1];
    if (character === undefined) throw this.invalid('a backslash ends it');
    const control = byteEscapes.get(character);
    if (control !== undefined) {
      this.#at += 2;
      return control;
    }
    const [hex, digits] = /^\\x([0-9a-fA-F]{1,2})/.exec(this.#text.slice(this.#at, this.#at + 4)) ?? [];
    if (hex !== undefined) {
      this.#at += hex.length;
      return Number.parseInt(digits as string, 16);
    }
    if (/[0-9A-Za-z]/.test(character)) throw this.#unsupported(`the escape \\${character}`);
    this.#at += 2;
    return character.charCodeAt(0) & 0xff;
  }

  #class(): ByteSet {
    this.#at++;
    const negated = this.#text[this.#at] === '^';
    if (negated) this.#at++;
    const flags = new Uint8Array(256);
    // A bracket that comes first is one of the members.
    for (let first = true; first || this.#text[this.#at] !== ']'; first = false) {
      const low = this.#member();
      if (typeof low === 'string') {
        for (let byte = 0; byte < 256; byte++) if (low[byte] === '1') flags[byte] = 1;
        continue;
      }
      let high = low;
      if (this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']' && this.#text[this.#at + 1] !== undefined) {
        this.#at++;
        const end = this.#member();
        if (typeof end === 'string') throw this.invalid('a range ends with a class');
        if (end < low) throw this.invalid('a range is out of order');
        high = end;
      }
      flags.fill(1, low, high + 1);
    }
    this.#at++;
    return flags.reduce((text, flag) => text + (flag === (negated ? 0 : 1) ? '1' : '0'), '');
  }

  /** Returns a byte, or the set that an escape or a POSIX class stands for. */
  #member(): number | ByteSet {
    const character = this.#text[this.#at];
    if (character === undefined) throw this.invalid('missing terminating ] for a character class');
    if (character === '\\') {
      const next = this.#text[this.#at + 1] ?? '';
      const set = setEscapes.get(next);
      if (set !== undefined) {
        this.#at += 2;
        if (this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']') throw this.invalid('a range begins with a class');
        return set;
      }
      if (next === 'b') {
        this.#at += 2;
        return 8;
      }
      return this.#byteEscape();
    }
    if (character === '[' && ':.='.includes(this.#text[this.#at + 1] ?? ' ')) return this.#posixClass();
    this.#at++;
    return character.charCodeAt(0) & 0xff;
  }

  #posixClass(): number | ByteSet {
    const rest = this.#text.slice(this.#at, this.#at + 20);
    const [all = '', negated, name = ''] = /^\[:(\^?)([a-z]+):\]/.exec(rest) ?? [];
    const set = posixClasses.get(name);
    if (set === undefined) {
      // Without an end like its beginning it is a bracket among the members.
      if (/^\[([:.=])[^\\\]]*\1\]/.test(this.#text.slice(this.#at))) throw this.invalid('unknown POSIX class');
      this.#at++;
      return 0x5b;
    }
    this.#at += all.length;
    if (this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']') throw this.invalid('a range begins with a class');
    return negated === '^' ? inverted(set) : set;
  }
}

function setOf(test: RegExp): ByteSet {
  let set = '';
  for (let byte = 0; byte < 256; byte++) set += byte < 128 && test.test(String.fromCharCode(byte)) ? '1' : '0';
  return set;
}

function inverted(set: ByteSet): ByteSet {
  return set.replace(/./g, (flag) => (flag === '1' ? '0' : '1'));
}

const digits = setOf(/[0-9]/);
const spaces = setOf(/[\t\n\v\f\r ]/);
const words = setOf(/[0-9A-Za-z_]/);

const setEscapes: ReadonlyMap<string, ByteSet> = new Map([
  ['d', digits],
  ['D', inverted(digits)],
  ['s', spaces],
  ['S', inverted(spaces)],
  ['w', words],
  ['W', inverted(words)],
]);

const byteEscapes: ReadonlyMap<string, number> = new Map([
  ['a', 7],
  ['e', 27],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
]);

const posixClasses: ReadonlyMap<string, ByteSet> = new Map([
  ['alnum', setOf(/[0-9A-Za-z]/)],
  ['alpha', setOf(/[A-Za-z]/)],
  ['ascii', setOf(/[\s\S]/)],
  ['blank', setOf(/[\t ]/)],
  ['cntrl', setOf(/[\0-\x1f\x7f]/)],
  ['digit', digits],
  ['graph', setOf(/[!-~]/)],
  ['lower', setOf(/[a-z]/)],
  ['print', setOf(/[ -~]/)],
  ['punct', setOf(/[!-/:-@[-`{-~]/)],
  ['space', spaces],
  ['upper', setOf(/[A-Z]/)],
  ['word', words],
  ['xdigit', setOf(/[0-9A-Fa-f]/)],
]);
