/**
 * What it costs to start: `cambium --version` beside a bare `node -e 0`.
 */
import { type Comparison, compare } from './measure.ts';
import type { BenchContext } from './ostree.ts';

/** A start takes some 40 ms, and the machine's other work as much again now and then: the median needs many of them. */
const PAIRS = 15;

export async function benchStart({ cambium, runs }: BenchContext): Promise<Comparison[]> {
  // The launcher's first line finds `node` on the PATH too, so both sides start the same one.
  return [
    await compare(
      'start: cambium --version, beside node -e 0',
      '≥ 0.5×',
      { command: [...cambium, '--version'] },
      { command: ['node', '-e', '0'] },
      Math.max(runs, PAIRS),
    ),
  ];
}
