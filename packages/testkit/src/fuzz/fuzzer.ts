/** Makes inputs: the seeds as they are, then changed ones; those that went a new way are changed further. */
import { mutateBytes } from './mutate.ts';
import { Random } from './random.ts';
import { type FuzzTarget, isFinding, type Outcome, runInput } from './target.ts';

const DEFAULT_MAX_BYTES = 16 * 1024;
/** Beyond this an older one makes room. */
const MAX_POOL = 2000;
/** Messages that quote their input make each input a way of its own; more than these tell nothing. */
const MAX_WAYS = 5000;

/** The same seed and the same corpus give the same inputs, as long as the target behaves the same. */
export class Fuzzer {
  readonly #target: FuzzTarget;
  readonly #random: Random;
  readonly #pool: Uint8Array[];
  readonly #ways = new Set<string>();
  #made = 0;

  constructor(target: FuzzTarget, seed: number) {
    this.#target = target;
    this.#random = new Random(seed, target.name);
    this.#pool = target.seeds.length === 0 ? [new Uint8Array(0)] : [...target.seeds];
  }

  /** How many ways inputs have gone. */
  get ways(): number {
    return this.#ways.size;
  }

  next(): Uint8Array {
    const made = this.#made++;
    if (made < this.#target.seeds.length) return this.#target.seeds[made] as Uint8Array;
    const random = this.#random;
    const { mutate, dictionary = [], maxBytes = DEFAULT_MAX_BYTES } = this.#target;
    // Late ones are more interesting: they are what seeds became.
    const from = random.oneIn(2) ? 0 : Math.floor(this.#pool.length / 2);
    let input = this.#pool[from + random.below(this.#pool.length - from)] as Uint8Array;
    const knowing = mutate !== undefined && !random.oneIn(3);
    if (knowing) input = mutate(input, random);
    if (!knowing || random.oneIn(6)) input = mutateBytes(input, random, { others: this.#pool, dictionary, maxBytes });
    return input.subarray(0, maxBytes);
  }

  /** Tells how an input went. */
  learn(input: Uint8Array, { way }: Outcome): void {
    if (this.#ways.has(way) || this.#ways.size === MAX_WAYS) return;
    this.#ways.add(way);
    const copy = Uint8Array.from(input);
    if (this.#pool.length < MAX_POOL) this.#pool.push(copy);
    else this.#pool[this.#target.seeds.length + this.#random.below(MAX_POOL - this.#target.seeds.length)] = copy;
  }
}

export interface FuzzResult {
  executions: number;
  values: number;
  knownErrors: number;
  ways: number;
  findings: { input: Uint8Array; outcome: Outcome }[];
}

/** Runs a fixed number of inputs in this process. Equal findings are told once. */
export async function fuzz(target: FuzzTarget, options: { seed: number; executions: number }): Promise<FuzzResult> {
  const fuzzer = new Fuzzer(target, options.seed);
  const result: FuzzResult = { executions: 0, values: 0, knownErrors: 0, ways: 0, findings: [] };
  const seen = new Set<string>();
  while (result.executions < options.executions) {
    const input = fuzzer.next();
    const outcome = await runInput(target, input);
    fuzzer.learn(input, outcome);
    result.executions++;
    if (outcome.kind === 'value') result.values++;
    else if (outcome.kind === 'known-error') result.knownErrors++;
    else if (isFinding(outcome) && !seen.has(outcome.way)) {
      seen.add(outcome.way);
      result.findings.push({ input, outcome });
    }
  }
  result.ways = fuzzer.ways;
  return result;
}
