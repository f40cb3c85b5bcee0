/** The bounded share of fuzzing that every test run has: a fixed number of inputs of a fixed seed. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratch } from '../scratch.ts';
import { fuzz } from './fuzzer.ts';
import { inputName } from './mutate.ts';
import type { FuzzModule } from './target.ts';

export interface FuzzTestOptions {
  skip?: string | false;
  /** Of each target, unless stated for one. */
  executions: number;
  perTarget?: Readonly<Record<string, number>>;
}

/** Declares one test that fuzzes all targets of a package for a little while. */
export function testFuzzTargets(module: FuzzModule, options: FuzzTestOptions): void {
  test('mutated real files: a value or a known error, in bounded memory', { skip: options.skip ?? false }, async (t) => {
    const corpus = join(scratch(t), 'corpus');
    mkdirSync(corpus);
    await module.makeCorpus(corpus);
    for (const target of module.fuzzTargets(corpus)) {
      await t.test(target.name, async () => {
        const result = await fuzz(target, { seed: 1, executions: options.perTarget?.[target.name] ?? options.executions });
        const told = result.findings.map(
          ({ input, outcome }) => `${outcome.kind}: ${outcome.details}\n  ${inputName(input)}: ${Buffer.from(input.subarray(0, 2000)).toString('base64')}`,
        );
        assert.deepEqual(told, []);
        // Otherwise only one side of the parser was looked at.
        assert.ok(result.values > 0 && result.ways > 1, `${result.values} values, ${result.ways} ways in ${result.executions}`);
      });
    }
  });
}
