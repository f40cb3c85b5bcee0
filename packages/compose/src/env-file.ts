/**
 * Env files: `.env`, `--env-file` and a service's `env_file`.
 *
 * Source: compose-spec "Env_file format"; the behaviour of compose-go's `dotenv` package.
 */
import { isKnownError } from '@cambium/base';
import { faultAt } from './errors.ts';
import { interpolate, type Lookup } from './interpolate.ts';

export interface EnvFileOptions {
  /** Looked at first for variables in values, and for keys without a value. */
  lookup?: Lookup;
  /** Values are taken as they stand: no quotes, escapes, comments behind values or variables. */
  raw?: boolean;
  /** For messages. */
  file?: string;
  /** Is told of variables in values that are not set anywhere. */
  onUnset?: (name: string) => void;
}

/** Most characters all values of one file may have: `B=$A$A`, `C=$B$B` … doubles with every line. */
const MAX_ENV_LENGTH = 4 << 20;

/**
 * Returns the variables of an env file, in order; a later line wins. Keys without a value are taken from the lookup,
 * and left out when it does not have them.
 *
 * @throws COMPOSE_ENV_FILE_INVALID with the line, and what {@link interpolate} throws
 *
 * @example
 * parseEnvFile('A=1\nB="$A and \\$more" # note\n'); // Map { 'A' => '1', 'B' => '1 and $more' }
 */
export function parseEnvFile(text: string, options: EnvFileOptions = {}): Map<string, string> {
  const file = options.file ?? 'env file';
  const source = text.startsWith('\ufeff') ? text.slice(1) : text;
  const variables = new Map<string, string>();
  const outer = options.lookup ?? ((): undefined => undefined);
  if (options.raw === true) return parseRaw(source, variables);
  const lookup: Lookup = (name) => outer(name) ?? variables.get(name);
  const reader = { source, at: 0, line: 1 };
  let left = MAX_ENV_LENGTH;

  const expand = (value: string, line: number): string => {
    try {
      const result = interpolate(value, lookup, { onUnset: options.onUnset, limit: left });
      left -= result.length;
      return result;
    } catch (error) {
      if (isKnownError(error) && error.code.startsWith('COMPOSE_')) {
        throw faultAt(error.code as 'COMPOSE_TEMPLATE_INVALID', { file, line }, `Cannot read env file: ${error.message}`, {
          cause: error,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        });
      }
      throw error;
    }
  };

  for (;;) {
    skipBlank(reader);
    if (reader.at >= source.length) return variables;
    const line = reader.line;
    const { key, inherited } = readKey(reader, file);
    if (inherited) {
      const value = outer(key);
      if (value !== undefined) variables.set(key, value);
      continue;
    }
    const value = readValue(reader, file);
    variables.set(key, value.expand ? expand(value.text, line) : value.text);
  }
}

interface Reader {
  source: string;
  at: number;
  line: number;
}

const SPACE_IN_LINE = /[\t\v\f\r \u0085\u00a0]*/y;
const EXPORT = /export[\t\v\f\r \u0085\u00a0]+/y;
const KEY = /[\p{L}\p{N}_.\-[\]\t\v\f\r \u0085\u00a0]*/uy;

function skipBlank(reader: Reader): void {
  const { source } = reader;
  for (; reader.at < source.length; reader.at++) {
    const char = source[reader.at] as string;
    if (char === '\n') reader.line++;
    else if (char === '#') {
      const end = source.indexOf('\n', reader.at);
      reader.at = (end < 0 ? source.length : end) - 1;
    } else if (!/\s/.test(char)) return;
  }
}

function readKey(reader: Reader, file: string): { key: string; inherited: boolean } {
  const { source } = reader;
  EXPORT.lastIndex = reader.at;
  reader.at += EXPORT.exec(source)?.[0].length ?? 0;
  KEY.lastIndex = reader.at;
  const raw = KEY.exec(source)?.[0] ?? '';
  const end = reader.at + raw.length;
  const stop = source[end];
  if (stop !== undefined && stop !== '=' && stop !== ':' && stop !== '\n') {
    throw invalid(reader, file, `unexpected character ${JSON.stringify(String.fromCodePoint(source.codePointAt(end) ?? 0))} in variable name`);
  }
  const key = raw.trimEnd();
  if (key === '') throw invalid(reader, file, 'a variable has no name');
  if (/\s/.test(key)) throw invalid(reader, file, 'key cannot contain a space');
  const inherited = stop === undefined || stop === '\n';
  reader.at = inherited ? end : end + 1;
  SPACE_IN_LINE.lastIndex = reader.at;
  if (!inherited) reader.at += SPACE_IN_LINE.exec(source)?.[0].length ?? 0;
  return { key, inherited };
}

function readValue(reader: Reader, file: string): { text: string; expand: boolean } {
  const { source } = reader;
  const quote = source[reader.at];
  if (quote !== '"' && quote !== "'") {
    const newline = source.indexOf('\n', reader.at);
    const end = newline < 0 ? source.length : newline;
    const line = source.slice(reader.at, end);
    reader.at = end;
    const comment = line.indexOf(' #');
    return { text: (comment < 0 ? line : line.slice(0, comment)).trimEnd(), expand: true };
  }
  const start = reader.at;
  let text = '';
  let lines = 0;
  for (let i = start + 1; i < source.length; i++) {
    const char = source[i] as string;
    if (char === quote) {
      reader.at = i + 1;
      reader.line += lines;
      return quote === '"' ? { text: expandEscapes(text), expand: true } : { text, expand: false };
    }
    if (char === '\n') lines++;
    if (char === '\\' && i + 1 < source.length) {
      const next = source[++i] as string;
      if (next === '\n') lines++;
      // Only the quote itself loses its backslash here; the other escapes are for double quotes.
      text += next === quote ? next : `\\${next}`;
    } else text += char;
  }
  const end = source.indexOf('\n', start);
  throw invalid(reader, file, `unterminated quoted value ${source.slice(start, end < 0 ? undefined : Math.min(end, start + 80))}`);
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  c: '\\c', // listed by the grammar, but Go has no such escape: it stays
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  $: '$$', // a dollar that the expansion leaves alone
  '"': '"',
  '\\': '\\',
};

function expandEscapes(text: string): string {
  return text.replace(/\\(?:0([0-7]{3})|([abcfnrtv$"\\]))/g, (_all, octal: string | undefined, letter: string | undefined) =>
    octal === undefined ? (ESCAPES[letter as string] as string) : String.fromCharCode(Number.parseInt(octal, 8) & 0xff),
  );
}

function parseRaw(source: string, variables: Map<string, string>): Map<string, string> {
  for (const line of source.split('\n')) {
    const text = line.endsWith('\r') ? line.slice(0, -1) : line;
    if (/^\s*(?:#|$)/.test(text)) continue;
    const equals = text.indexOf('=');
    if (equals > 0) variables.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return variables;
}

function invalid(reader: Reader, file: string, reason: string): Error {
  return faultAt('COMPOSE_ENV_FILE_INVALID', { file, line: reader.line }, `Cannot read env file: line ${reader.line}: ${reason}`);
}
