/** Which label a path has: libselinux's `selabel_lookup` for files. */
import { isKnownError } from '@cambium/base';
import { Automaton } from './automaton.ts';
import { type FileContext, type FileContexts, NO_LABEL, type Substitution } from './file-contexts.ts';

const S_IFMT = 0o170000;
/** Top directories whose contexts are kept ready; a system has some twenty. */
const MAX_AUTOMATA = 32;

export class FileLabels {
  readonly #contexts: FileContexts;
  /** Numbers of the contexts that ask for a first directory, and under '' of those that do not. */
  readonly #byStem = new Map<string, number[]>();
  readonly #automata = new Map<string, Automaton>();
  /** Contexts whose pattern cannot be used, and why. */
  readonly #unusable = new Map<number, unknown>();

  constructor(contexts: FileContexts) {
    this.#contexts = contexts;
    for (const [number, { pattern }] of contexts.specs.entries()) {
      const stem = stemOfPattern(pattern);
      const numbers = this.#byStem.get(stem);
      if (numbers === undefined) this.#byStem.set(stem, [number]);
      else numbers.push(number);
    }
  }

  /**
   * Returns the label of a path, without the NUL that attributes have at their end, or undefined when the policy has none for it.
   *
   * @param path from the root that the policy is for, with a leading slash
   * @param mode of which only the file type counts; 0 stands for all types
   * @throws SELINUX_PATTERN_INVALID SELINUX_PATTERN_UNSUPPORTED when such a context would have to be tried, SELINUX_POLICY_TOO_LARGE
   */
  labelOf(path: string, mode: number): string | undefined {
    const key = this.#key(path);
    const slash = key.indexOf('/', 1);
    const stem = slash < 0 ? '' : key.slice(0, slash);
    const kind = mode & S_IFMT;
    for (const number of this.#automaton(this.#byStem.has(stem) ? stem : '').matches(key)) {
      const spec = this.#contexts.specs[number] as FileContext;
      if (kind !== 0 && spec.kind !== 0 && kind !== spec.kind) continue;
      const problem = this.#unusable.get(number);
      if (problem !== undefined) throw problem;
      return spec.context === NO_LABEL ? undefined : spec.context;
    }
    return undefined;
  }

  /** Returns the path as it is looked up: a character for each byte, without doubled slashes, substituted. */
  #key(path: string): string {
    let key = isAscii(path) ? path : Buffer.from(path, 'utf8').toString('latin1');
    if (key.includes('//')) key = key.replace(/\/{2,}/g, '/');
    if (key.length > 1 && key.endsWith('/')) key = key.slice(0, -1);
    const [local, distribution] = this.#contexts.substitutions;
    key = substitute(key, local) ?? key;
    return substitute(key, distribution) ?? key;
  }

  #automaton(stem: string): Automaton {
    let automaton = this.#automata.get(stem);
    if (automaton === undefined) {
      if (this.#automata.size === MAX_AUTOMATA) this.#automata.clear();
      automaton = new Automaton();
      const numbers = stem === '' ? [] : (this.#byStem.get(stem) ?? []);
      for (const number of [...(this.#byStem.get('') ?? []), ...numbers]) this.#add(automaton, number);
      this.#automata.set(stem, automaton);
    }
    return automaton;
  }

  /** libselinux finds out that a pattern is broken when it gets to it, which may be never. */
  #add(automaton: Automaton, number: number): void {
    const { pattern } = this.#contexts.specs[number] as FileContext;
    try {
      automaton.add(pattern, number);
    } catch (error) {
      if (!isKnownError(error, 'SELINUX_PATTERN_INVALID') && !isKnownError(error, 'SELINUX_PATTERN_UNSUPPORTED')) throw error;
      this.#unusable.set(number, error);
      automaton.addAlways(number);
    }
  }
}

/**
 * Returns the first directory when a pattern has it literally, else ''. Such a pattern is asked about paths below a directory of exactly
 * that name; with an escaped character in it, as in `/a\-b/c`, it never is: libselinux compares the texts.
 */
function stemOfPattern(pattern: string): string {
  const slash = pattern.indexOf('/', 1);
  if (slash < 0) return '';
  const stem = pattern.slice(0, slash);
  return /[.^$?*+|[({]/.test(stem) ? '' : stem;
}

function substitute(path: string, substitutions: readonly Substitution[]): string | undefined {
  for (const [from, to] of substitutions) {
    if (!path.startsWith(from)) continue;
    const after = path[from.length];
    if (after === undefined) return to;
    if (after === '/') return to === '/' ? path.slice(from.length) : to + path.slice(from.length);
  }
  return undefined;
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}
