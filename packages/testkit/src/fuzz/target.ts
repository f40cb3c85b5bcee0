/** What is fuzzed, and what counts as a finding. */
import { isKnownError } from '@cambium/base';
import type { Mutation } from './mutate.ts';

export interface FuzzTarget {
  /** As on the command line: lower case with dashes. */
  name: string;
  /** Real inputs, made by the peers. At least one is taken by `parse`. */
  seeds: readonly Uint8Array[];
  /** Reads one input as a user of the parser would, what is lazy included. May return anything and throw known errors, nothing else. */
  parse(input: Uint8Array): unknown;
  /** Changes that know the format. */
  mutate?: Mutation;
  dictionary?: readonly (string | Uint8Array)[];
  /** Inputs are cut to this length. Default 16 KiB: what breaks a parser is rarely longer, and short ones are quick. */
  maxBytes?: number;
}

/** What a package's `fuzz-targets.test.ts` exports. */
export interface FuzzModule {
  /** Puts real files into an empty directory. */
  makeCorpus(directory: string): Promise<void>;
  fuzzTargets(corpus: string): FuzzTarget[];
}

export type FindingKind = 'unknown-error' | 'input-changed' | 'large-allocation' | 'memory' | 'hang' | 'crash';

export interface Outcome {
  kind: 'value' | 'known-error' | FindingKind;
  /** Equal for inputs that went the same way, as far as can be told from outside. */
  way: string;
  /** Of a finding: what was thrown, with its stack. */
  details: string;
}

/** One call of `Buffer.alloc` with more than this, and more than {@link ALLOCATION_RATIO} times the input, is a finding. */
const ALLOCATION_BYTES = 16 * 1024 * 1024;
const ALLOCATION_RATIO = 2000;
/** The process may not become this much larger by one input. */
const MEMORY_KIB = 256 * 1024;

/** Runs a target on one input. */
export async function runInput(target: FuzzTarget, input: Uint8Array): Promise<Outcome> {
  const given = Uint8Array.from(input);
  const memory = process.resourceUsage().maxRSS;
  const allocations = watchAllocations();
  let outcome: Outcome;
  try {
    const value = target.parse(given);
    outcome = { kind: 'value', way: `value ${shape(value instanceof Promise ? await value : value, 3)}`, details: '' };
  } catch (error) {
    outcome = isKnownError(error)
      ? { kind: 'known-error', way: `${error.code} ${error.message.slice(0, 200).replace(/"[^"]*"|[0-9a-f]{64}|\d+/g, '#')}`, details: '' }
      : { kind: 'unknown-error', way: where(error), details: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  } finally {
    allocations.stop();
  }
  const grown = process.resourceUsage().maxRSS - memory;
  const largest = allocations.largest();
  if (outcome.kind === 'unknown-error') return outcome;
  if (Buffer.compare(given, input) !== 0) return { kind: 'input-changed', way: 'input changed', details: 'the parser wrote into the bytes that it was given' };
  if (largest > Math.max(ALLOCATION_BYTES, ALLOCATION_RATIO * input.byteLength))
    return { kind: 'large-allocation', way: 'allocation', details: `${largest} bytes at once for an input of ${input.byteLength}` };
  if (grown > MEMORY_KIB) return { kind: 'memory', way: 'memory', details: `${grown} KiB more for an input of ${input.byteLength} bytes` };
  return outcome;
}

/** Whether an outcome is a finding. */
export function isFinding({ kind }: Outcome): boolean {
  return kind !== 'value' && kind !== 'known-error';
}

/** Where an error was thrown: equal for equal bugs. */
function where(error: unknown): string {
  if (!(error instanceof Error)) return `thrown ${typeof error}`;
  const line = error.stack?.split('\n').find((each) => /^\s+at /.test(each) && !each.includes('(node:'));
  return `${error.name} ${line?.trim().replace(/file:\/\/\S*\/packages\//, '') ?? error.message}`;
}

/** A rough picture of a value: its kinds and, in steps, its lengths. */
function shape(value: unknown, depth: number): string {
  if (value === null || typeof value !== 'object') return typeof value === 'string' ? `s${step(value.length)}` : typeof value;
  if (value instanceof Uint8Array) return `b${step(value.byteLength)}`;
  if (depth === 0) return 'o';
  if (Array.isArray(value)) return `[${step(value.length)} ${[...new Set(value.slice(0, 8).map((each) => shape(each, depth - 1)))].join('|')}]`;
  if (value instanceof Map || value instanceof Set) return `m${step(value.size)}`;
  return `{${Object.values(value)
    .slice(0, 16)
    .map((each) => shape(each, depth - 1))
    .join(',')}}`;
}

function step(length: number): number {
  return length < 3 ? length : 32 - Math.clz32(length) + 2;
}

interface Watch {
  largest(): number;
  stop(): void;
}

const ALLOCATORS = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const;

/** Notes the largest buffer asked for. A buffer that is never touched costs no memory that could be measured, and still is a bug. */
function watchAllocations(): Watch {
  let largest = 0;
  const originals = ALLOCATORS.map((name) => Buffer[name]);
  for (const [i, name] of ALLOCATORS.entries()) {
    Buffer[name] = ((size: number, ...rest: []) => {
      if (size > largest) largest = size;
      return (originals[i] as (size: number, ...more: []) => Buffer)(size, ...rest);
    }) as never;
  }
  return {
    largest: () => largest,
    stop: () => {
      for (const [i, name] of ALLOCATORS.entries()) Buffer[name] = originals[i] as never;
    },
  };
}
