/**
 * Ignore files with the patterns of `.dockerignore`. Source: Docker's "dockerignore file" documentation; moby `patternmatcher`.
 */
import { composeError } from './errors.ts';

/** Returns whether a path is left out; paths are relative, with `/`, without a leading `./`. */
export interface Ignore {
  ignores(path: string): boolean;
  /** True when a pattern with `!` may take back something below an ignored directory. */
  readonly hasExceptions: boolean;
}

export const IGNORE_NOTHING: Ignore = { ignores: () => false, hasExceptions: false };

/** More patterns than this are a mistake or an attack: every path is matched against all of them. */
const MAX_PATTERNS = 10_000;

/**
 * Parses an ignore file: one pattern per line, `#` comments, `!` exceptions, `*`, `?`, `[a-z]`, `**`; the last match decides,
 * and a pattern that matches a directory covers everything in it.
 *
 * @throws COMPOSE_IGNORE_FILE_INVALID with the line
 */
export function parseIgnoreFile(text: string, file: string): Ignore {
  const patterns: { tokens: Token[]; exception: boolean }[] = [];
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    if (raw.startsWith('#')) continue;
    let pattern = raw.trim();
    if (pattern === '') continue;
    const exception = pattern.startsWith('!');
    if (exception) pattern = pattern.slice(1).trim();
    pattern = cleanPattern(pattern);
    if (pattern === '') continue;
    const tokens = pattern.length > 4096 || patterns.length >= MAX_PATTERNS ? undefined : compile(pattern);
    if (tokens === undefined) {
      throw composeError('COMPOSE_IGNORE_FILE_INVALID', `Cannot read ${file}:${index + 1}: bad pattern "${pattern.slice(0, 80)}"`, {
        data: { file, line: index + 1 },
      });
    }
    patterns.push({ tokens, exception });
  }
  return {
    hasExceptions: patterns.some((pattern) => pattern.exception),
    ignores(path) {
      let ignored = false;
      for (const { tokens, exception } of patterns) {
        if (exception === ignored && matchesOrParent(tokens, path)) ignored = !exception;
      }
      return ignored;
    },
  };
}

function matchesOrParent(tokens: readonly Token[], path: string): boolean {
  for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
    if (matches(tokens, path.slice(0, end))) return true;
  }
  return false;
}

function cleanPattern(pattern: string): string {
  const kept: string[] = [];
  for (const part of pattern.split('/')) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return kept.join('/');
}

/** `char`: one character. `one`: `?`. `star`: `*`. `any`: `**`. `directories`: `**` and a slash. */
type Token =
  | { type: 'char'; char: string }
  | { type: 'one' | 'star' | 'any' | 'directories' }
  | { type: 'class'; ranges: [string, string][]; negated: boolean };

function compile(pattern: string): Token[] | undefined {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i] as string;
    if (char === '*') {
      if (pattern[i + 1] !== '*') tokens.push({ type: 'star' });
      else {
        while (pattern[i + 1] === '*') i++;
        if (pattern[i + 1] === '/') {
          i++;
          tokens.push({ type: 'directories' });
        } else tokens.push({ type: 'any' });
      }
    } else if (char === '?') tokens.push({ type: 'one' });
    else if (char === '\\') {
      if (i + 1 >= pattern.length) return undefined;
      tokens.push({ type: 'char', char: pattern[++i] as string });
    } else if (char === '[') {
      const end = pattern.indexOf(']', i + 2);
      if (end < 0) return undefined;
      let body = pattern.slice(i + 1, end);
      const negated = body.startsWith('^') || body.startsWith('!');
      if (negated) body = body.slice(1);
      const ranges: [string, string][] = [];
      for (let j = 0; j < body.length; j++) {
        const from = body[j] as string;
        const isRange = body[j + 1] === '-' && j + 2 < body.length;
        ranges.push([from, isRange ? (body[j + 2] as string) : from]);
        if (isRange) j += 2;
      }
      tokens.push({ type: 'class', ranges, negated });
      i = end;
    } else tokens.push({ type: 'char', char });
  }
  return tokens;
}

/** Runs all possibilities side by side: no pattern takes longer than its length times the path's. */
function matches(tokens: readonly Token[], path: string): boolean {
  // Two states per token: before it, and (for "directories") inside it.
  let states = new Set<number>();
  const enter = (set: Set<number>, index: number): void => {
    for (let i = index; ; i++) {
      if (set.has(2 * i)) return;
      set.add(2 * i);
      const type = tokens[i]?.type;
      if (type !== 'star' && type !== 'any' && type !== 'directories') return;
    }
  };
  enter(states, 0);
  for (const char of path) {
    const next = new Set<number>();
    for (const state of states) {
      const i = state >> 1;
      const token = tokens[i];
      if (token === undefined) continue;
      switch (token.type) {
        case 'char':
          if (token.char === char) enter(next, i + 1);
          break;
        case 'one':
          if (char !== '/') enter(next, i + 1);
          break;
        case 'class':
          if (char !== '/' && token.ranges.some(([from, to]) => char >= from && char <= to) !== token.negated) enter(next, i + 1);
          break;
        case 'star':
          if (char !== '/') enter(next, i);
          break;
        case 'any':
          enter(next, i);
          break;
        case 'directories':
          next.add(state | 1);
          if (char === '/') enter(next, i + 1);
      }
    }
    if (next.size === 0) return false;
    states = next;
  }
  return states.has(2 * tokens.length);
}
