/**
 * The file contexts of a policy as text: which label belongs to which path.
 * Source of the format: file_contexts(5) and selabel_file(5); libselinux 3.4 decides where they are silent.
 */
import { selinuxError } from './errors.ts';

/** The files of `contexts/files` in a policy: `file_contexts` and those whose name begins with it. */
export interface FileContextsSource {
  fileContexts: Uint8Array;
  homedirs?: Uint8Array | undefined;
  local?: Uint8Array | undefined;
  subs?: Uint8Array | undefined;
  subsDist?: Uint8Array | undefined;
}

/** One line. */
export interface FileContext {
  /** ASCII, not anchored. */
  readonly pattern: string;
  /** Type bits of the mode that a file must have; 0 is any. */
  readonly kind: number;
  /** The label, or `<<none>>`. */
  readonly context: string;
  readonly file: string;
  readonly line: number;
}

/** A path that begins with the first is looked up with the second in its place. */
export type Substitution = readonly [from: string, to: string];

/** Plain data: it travels to worker threads. Texts have a character for each byte. */
export interface FileContexts {
  /** The last that fits decides. */
  readonly specs: readonly FileContext[];
  /** The first that fits counts; the second list is asked after the first. */
  readonly substitutions: readonly [readonly Substitution[], readonly Substitution[]];
}

/** Fedora's is half a megabyte. */
const MAX_BYTES: number = 16 * 1024 * 1024;
const MAX_SPECS = 200_000;
const MAX_SUBSTITUTIONS = 10_000;
/** No kernel takes a longer one. */
const MAX_CONTEXT = 4096;
export const NO_LABEL = '<<none>>';

/** S_IFMT of the file types that a line may name. */
const kinds: ReadonlyMap<string | undefined, number> = new Map([
  [undefined, 0],
  ['--', 0o100000],
  ['-d', 0o040000],
  ['-l', 0o120000],
  ['-c', 0o020000],
  ['-b', 0o060000],
  ['-p', 0o010000],
  ['-s', 0o140000],
]);

/** @throws SELINUX_POLICY_INVALID naming the line, SELINUX_POLICY_TOO_LARGE. Patterns are not looked at: libselinux compiles them when a path needs them */
export function parseFileContexts(source: FileContextsSource): FileContexts {
  const { fileContexts, homedirs, local, subs, subsDist } = source;
  const specs = [
    ...parseLines(fileContexts, 'file_contexts'),
    ...(homedirs === undefined ? [] : parseLines(homedirs, 'file_contexts.homedirs')),
    ...(local === undefined ? [] : parseLines(local, 'file_contexts.local')),
  ];
  // Paths without wildcards decide before patterns.
  const sorted = [...specs.filter(({ pattern }) => hasMeta(pattern)), ...specs.filter(({ pattern }) => !hasMeta(pattern))];
  return { specs: sorted, substitutions: [parseSubstitutions(subs, 'file_contexts.subs'), parseSubstitutions(subsDist, 'file_contexts.subs_dist')] };
}

/** Returns whether a pattern has one of the characters that libselinux counts as special; `)`, `]` and `}` are not among them. */
function hasMeta(pattern: string): boolean {
  return /[.^$?*+|[({]/.test(pattern.replace(/\\[\s\S]/g, ''));
}

function parseLines(bytes: Uint8Array, file: string): FileContext[] {
  const specs: FileContext[] = [];
  let line = 0;
  for (const text of linesOf(bytes, file)) {
    line++;
    const [pattern, second, third] = fieldsOf(text);
    if (pattern === undefined || pattern.startsWith('#')) continue;
    const invalid = (why: string): Error => selinuxError('SELINUX_POLICY_INVALID', `Cannot read ${file}, line ${line}: ${why}`, { data: { file, line } });
    if (specs.length === MAX_SPECS) throw tooLarge(file, `more than ${MAX_SPECS} contexts`);
    if (second === undefined) throw invalid('missing fields');
    const context = third ?? second;
    if (/[^\0-\x7f]/.test(pattern + second + context)) throw invalid('non-ASCII characters');
    const kind = kinds.get(third === undefined ? undefined : second);
    if (kind === undefined) throw invalid(`invalid file type "${second.slice(0, 100)}"`);
    if (context.length > MAX_CONTEXT) throw invalid('the context is too long');
    specs.push({ pattern, kind, context, file, line });
  }
  return specs;
}

/** The last line comes first. */
function parseSubstitutions(bytes: Uint8Array | undefined, file: string): Substitution[] {
  const substitutions: Substitution[] = [];
  for (const text of bytes === undefined ? [] : linesOf(bytes, file)) {
    const [from, to] = fieldsOf(text);
    if (from === undefined || to === undefined || from.startsWith('#')) continue;
    if (substitutions.length === MAX_SUBSTITUTIONS) throw tooLarge(file, `more than ${MAX_SUBSTITUTIONS} substitutions`);
    substitutions.push([from, to]);
  }
  return substitutions.reverse();
}

function* linesOf(bytes: Uint8Array, file: string): Generator<string> {
  if (bytes.byteLength > MAX_BYTES) throw tooLarge(file, `larger than ${MAX_BYTES} bytes`);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    // A NUL ends a line for programs in C.
    const nul = text.slice(at, end).indexOf('\0');
    yield text.slice(at, nul < 0 ? end : at + nul);
    at = end + 1;
  }
}

function fieldsOf(line: string): string[] {
  return line.split(/[ \t\v\f\r]+/).filter((field) => field !== '');
}

function tooLarge(file: string, why: string): Error {
  return selinuxError('SELINUX_POLICY_TOO_LARGE', `Cannot read ${file}: ${why}`);
}
