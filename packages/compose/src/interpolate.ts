/**
 * Variable interpolation of Compose values.
 *
 * Source: compose-spec "Interpolation"; the behaviour of compose-go's `template` package.
 */
import { composeError } from './errors.ts';

/** Returns a variable's value, or undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

export interface InterpolateOptions {
  /** Is told of every variable that stands without a default and is not set; it becomes an empty string. */
  onUnset?: ((name: string) => void) | undefined;
  /** Most characters the result may have. */
  limit?: number;
}

/** A value may grow to this: a text of `$A$A$A…` is small, what it stands for need not be. */
export const MAX_INTERPOLATED_LENGTH: number = 4 << 20;
/** Deeper nesting than anyone writes; bounds the recursion. */
const MAX_NESTING = 64;

const NAME = /[_A-Za-z][_A-Za-z0-9]*/y;
const OPERATOR = /:[-?+]|[-?+]/y;

/** Returns a lookup in a record's own keys. */
export function lookupIn(environment: Readonly<Record<string, string>>): Lookup {
  return (name) => (Object.hasOwn(environment, name) ? environment[name] : undefined);
}

/**
 * Returns `template` with its variables replaced: `$VAR`, `${VAR}`, `${VAR:-word}`, `${VAR-word}`, `${VAR:+word}`,
 * `${VAR+word}`, `${VAR:?message}`, `${VAR?message}` and `$$`. A word is a template itself and is only looked at when used.
 *
 * @throws COMPOSE_TEMPLATE_INVALID, COMPOSE_VARIABLE_REQUIRED, COMPOSE_TOO_COMPLEX
 *
 * @example
 * interpolate('nginx:${TAG:-1.25}', () => undefined); // 'nginx:1.25'
 */
export function interpolate(template: string, lookup: Lookup, options: InterpolateOptions = {}): string {
  if (!template.includes('$')) return template;
  return expand(template, lookup, { onUnset: options.onUnset, left: options.limit ?? MAX_INTERPOLATED_LENGTH }, 0);
}

interface State {
  onUnset: ((name: string) => void) | undefined;
  left: number;
}

function expand(template: string, lookup: Lookup, state: State, depth: number): string {
  if (depth > MAX_NESTING) throw composeError('COMPOSE_TOO_COMPLEX', `Cannot interpolate: variables are nested deeper than ${MAX_NESTING}`);
  let result = '';
  let at = 0;
  const add = (text: string): void => {
    state.left -= text.length;
    if (state.left < 0) throw composeError('COMPOSE_TOO_COMPLEX', 'Cannot interpolate: the values are too large');
    result += text;
  };
  for (;;) {
    const dollar = template.indexOf('$', at);
    if (dollar < 0) break;
    add(template.slice(at, dollar));
    const next = template[dollar + 1];
    if (next === '$') {
      add('$');
      at = dollar + 2;
    } else if (next === '{') {
      const close = closingBrace(template, dollar + 1);
      if (close < 0) throw invalid(template);
      // What a word yields is counted by the inner call already.
      result += braced(template, dollar + 2, close, lookup, state, depth);
      at = close + 1;
    } else {
      NAME.lastIndex = dollar + 1;
      const name = NAME.exec(template)?.[0];
      if (name === undefined) throw invalid(template);
      add(plain(name, lookup, state));
      at = dollar + 1 + name.length;
    }
  }
  add(template.slice(at));
  return result;
}

function braced(template: string, start: number, end: number, lookup: Lookup, state: State, depth: number): string {
  NAME.lastIndex = start;
  const name = NAME.exec(template)?.[0];
  if (name === undefined || start + name.length > end) throw invalid(template);
  const counted = (value: string): string => {
    state.left -= value.length;
    if (state.left < 0) throw composeError('COMPOSE_TOO_COMPLEX', 'Cannot interpolate: the values are too large');
    return value;
  };
  if (start + name.length === end) return counted(plain(name, lookup, state));
  OPERATOR.lastIndex = start + name.length;
  const operator = OPERATOR.exec(template)?.[0];
  if (operator === undefined) throw invalid(template);
  const word = (): string => expand(template.slice(start + name.length + operator.length, end), lookup, state, depth + 1);
  const value = lookup(name);
  const present = value !== undefined && !(operator.startsWith(':') && value === '');
  switch (operator.at(-1)) {
    case '-':
      return present ? counted(value) : word();
    case '+':
      return present ? word() : '';
    default: {
      if (present) return counted(value);
      const reason = word();
      throw composeError('COMPOSE_VARIABLE_REQUIRED', `required variable ${name} is missing a value${reason === '' ? '' : `: ${reason}`}`, {
        data: { variable: name },
        hint: `Set ${name} in the environment, in .env or in a file given with --env-file`,
      });
    }
  }
}

function plain(name: string, lookup: Lookup, state: State): string {
  const value = lookup(name);
  if (value === undefined) state.onUnset?.(name);
  return value ?? '';
}

/** Braces are matched by counting all of them, so that `${A:-{"k":1}}` has a JSON default, as in compose-go. */
function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

function invalid(template: string): Error {
  const shown = template.length > 200 ? `${template.slice(0, 200)}…` : template;
  return composeError('COMPOSE_TEMPLATE_INVALID', `Invalid template: ${JSON.stringify(shown)}`, {
    hint: 'Write "$$" for a dollar sign that is not a variable',
  });
}
