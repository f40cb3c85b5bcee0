/**
 * The one option parser. It follows GLib's `GOptionContext`, because `cambium ostree` must take what libostree's
 * command takes: options and operands in any order, `--name=value`, `--name value`, `-n value`, joined letters, `--`.
 * One addition: a value may follow its letter directly (`-bmain`).
 */
import type { Arguments, Flag, Flags, Values } from './command.ts';
import { cliError } from './errors.ts';
import { suggest } from './suggest.ts';

export interface Parsed<F extends Flags> extends Arguments<F> {
  /** `-h` or `--help` was met; parsing ended there, the rest is not checked. */
  readonly help: boolean;
  /** Names of the flags given, for flags whose default depends on it. */
  readonly given: ReadonlySet<string>;
}

type Value = boolean | string | number | string[] | undefined;

/** @throws CLI_OPTION_UNKNOWN, CLI_OPTION_VALUE_MISSING, CLI_OPTION_VALUE_INVALID */
export function parseOptions<F extends Flags>(
  flags: F,
  argv: readonly string[],
  lookUpEnvironment?: (names: readonly string[]) => string | undefined,
): Parsed<F> {
  const values = new Map<string, Value>();
  const operands: string[] = [];
  const given = new Set<string>();
  let at = 0;
  let help = false;

  const store = (name: string, flag: Flag, text: string | undefined, spelling: string): void => {
    given.add(name);
    if (flag.kind === 'texts') values.set(name, [...((values.get(name) as string[] | undefined) ?? []), text as string]);
    else values.set(name, parseValue(flag, text, spelling));
  };
  const next = (spelling: string): string => {
    const value = argv[at];
    if (value === undefined) throw cliError('CLI_OPTION_VALUE_MISSING', `Missing argument for ${spelling}`);
    at++;
    return value;
  };

  while (at < argv.length && !help) {
    const token = argv[at++] as string;
    if (token === '--') {
      operands.push(...argv.slice(at));
      break;
    }
    if (token === '-' || !token.startsWith('-')) {
      operands.push(token);
      continue;
    }
    if (token.startsWith('--')) {
      const equals = token.indexOf('=');
      const name = equals === -1 ? token.slice(2) : token.slice(2, equals);
      const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
      if (flag !== undefined) {
        // As GLib: a flag without a value ignores one given with `=`.
        store(name, flag, flag.kind === 'flag' ? undefined : equals === -1 ? next(`--${name}`) : token.slice(equals + 1), `--${name}`);
      } else if (name === 'help' || name === 'help-all') help = true;
      else throw unknownOption(flags, token, name);
      continue;
    }
    for (let i = 1; i < token.length; i++) {
      const letter = token[i] as string;
      const found = byLetter(flags, letter);
      if (found === undefined) {
        if (letter !== 'h' && letter !== '?') throw unknownOption(flags, token, undefined);
        help = true;
        break;
      }
      const [name, flag] = found;
      if (flag.kind === 'flag') {
        store(name, flag, undefined, `-${letter}`);
        continue;
      }
      // `-b=main` is no form of GLib's: a value of "=main" is never meant.
      if (token[i + 1] === '=') throw unknownOption(flags, token, undefined);
      store(name, flag, i + 1 < token.length ? token.slice(i + 1) : next(`-${letter}`), `-${letter}`);
      break;
    }
  }

  const result: Record<string, Value> = {};
  for (const [name, flag] of Object.entries(flags)) {
    let value = values.get(name);
    if (value === undefined && flag.env !== undefined) {
      const text = lookUpEnvironment?.(flag.env);
      if (text !== undefined) value = flag.kind === 'texts' ? [text] : parseValue(flag, text, flag.env.join(' or '));
    }
    result[name] = value ?? (flag.kind === 'flag' ? false : flag.kind === 'texts' ? [] : undefined);
  }
  return { values: result as Values<F>, operands, help, given };
}

function byLetter(flags: Flags, letter: string): [name: string, flag: Flag] | undefined {
  return Object.entries(flags).find(([, flag]) => flag.short === letter);
}

function parseValue(flag: Flag, text: string | undefined, spelling: string): Value {
  if (flag.kind === 'flag') return true;
  if (text === undefined) return undefined;
  switch (flag.kind) {
    case 'bool':
      return parseBoolean(text);
    case 'int':
      return parseInteger(text, spelling);
    default:
      if (flag.choices !== undefined && !flag.choices.includes(text)) {
        throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use "${text}" for ${spelling}`, { hint: `Choose one of: ${flag.choices.join(', ')}` });
      }
      return text;
  }
}

/** The words of libostree's `ot_parse_boolean`. */
export function parseBoolean(text: string): boolean {
  if (text === 'yes' || text === '1' || text === 'true') return true;
  if (text === 'no' || text === '0' || text === 'false' || text === 'none') return false;
  throw cliError('CLI_OPTION_VALUE_INVALID', `Invalid boolean argument '${text}'`);
}

/** As C's `strtol` with base 0, in the range of an int. */
export function parseInteger(text: string, spelling: string): number {
  const match = /^\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  if (match === null) throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot parse integer value “${text}” for ${spelling}`);
  const digits = match[2] as string;
  const magnitude = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  const value = match[1] === '-' ? -magnitude : magnitude;
  if (value > 0x7fffffff || value < -0x80000000) throw cliError('CLI_OPTION_VALUE_INVALID', `Integer value “${text}” for ${spelling} out of range`);
  return value;
}

function unknownOption(flags: Flags, token: string, name: string | undefined): Error {
  const near = name === undefined ? undefined : suggest(name, Object.keys(flags));
  return cliError('CLI_OPTION_UNKNOWN', `Unknown option ${token}`, near === undefined ? {} : { hint: `Did you mean --${near}?` });
}
