/** Splits the text form of values into tokens, as GLib does. */
import { gvariantError } from './errors.ts';

export interface Token {
  text: string;
  /** Position in characters, for errors. */
  at: number;
}

const NUMBER = /[A-Za-z0-9+.-]*/y;
const WORD = /[A-Za-z0-9]*/y;
const SPACE = /[\t\n\v\f\r ]*/y;

/** A stream of tokens with one of lookahead; `''` is the end. */
export class Tokens {
  readonly #text: string;
  #at = 0;
  #next: Token | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  peek(): Token {
    this.#next ??= this.#read();
    return this.#next;
  }

  take(): Token {
    const token = this.peek();
    this.#next = undefined;
    return token;
  }

  /** Takes the next token if it is `text`. */
  accept(text: string): boolean {
    if (this.peek().text !== text) return false;
    this.#next = undefined;
    return true;
  }

  /** @throws GVARIANT_TEXT_INVALID */
  require(text: string, purpose: string): void {
    if (!this.accept(text)) throw textError(this.peek().at, `expected "${text}" ${purpose}`);
  }

  #read(): Token {
    const text = this.#text;
    const at = match(SPACE, text, this.#at);
    const end = at >= text.length ? at : this.#endOf(text, at);
    this.#at = end;
    return { text: text.slice(at, end), at };
  }

  #endOf(text: string, at: number): number {
    const first = text[at] as string;
    if (/[-+.0-9]/.test(first)) return match(NUMBER, text, at);
    if (first === "'" || first === '"') return endOfQuoted(text, at);
    if (first === 'b' && (text[at + 1] === "'" || text[at + 1] === '"')) return endOfQuoted(text, at + 1);
    if (/[a-z]/.test(first)) return match(WORD, text, at);
    if (first === '@') return endOfType(text, at + 1);
    return at + 1;
  }
}

function match(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return at + (pattern.exec(text)?.[0].length ?? 0);
}

function endOfQuoted(text: string, at: number): number {
  const quote = text[at];
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === quote) return i + 1;
  }
  throw textError(at, 'text has no closing quote');
}

/** A type ends at a space, a comma, a colon, a closing `]` or `>`, or a closing bracket that it did not open. */
function endOfType(text: string, at: number): number {
  let open = 0;
  let i = at;
  for (; i < text.length; i++) {
    const character = text[i] as string;
    if (/[,:>\]\s]/.test(character)) break;
    if (character === '(' || character === '{') open++;
    else if ((character === ')' || character === '}') && open-- === 0) break;
  }
  return i;
}

export function textError(at: number, why: string): Error {
  return gvariantError('GVARIANT_TEXT_INVALID', `Cannot parse GVariant text: ${why} (character ${at + 1})`, { data: { at } });
}
