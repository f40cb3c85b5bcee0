/**
 * `npm run bench -- [ostree|pack|start] [--runs N] [--rows PATTERN] [--output FILE]`: Cambium beside its peers on the
 * same work, in one run. PATTERN chooses among the rows of `ostree`; FILE gets the table as a page.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { peer } from '@cambium/testkit';
import { type Comparison, table } from './measure.ts';
import { type BenchContext, benchOstree } from './ostree.ts';
import { benchPack } from './pack.ts';
import { benchStart } from './start.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '3' }, rows: { type: 'string', default: '' }, output: { type: 'string' } },
});
const cache = join(root, '.cache');
mkdirSync(cache, { recursive: true });
const scratch = mkdtempSync(join(cache, 'bench-'));
const context: BenchContext = {
  cambium: [join(root, 'packages/cli/bin/cambium.js')],
  cache,
  scratch,
  runs: Number(values.runs),
  rows: new RegExp(values.rows),
};
const parts: Record<string, (context: BenchContext) => Promise<Comparison[]>> = { pack: benchPack, ostree: benchOstree, start: benchStart };

try {
  const rows: Comparison[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (positionals.length === 0 || positionals.includes(name)) rows.push(...(await part(context)));
  }
  const cpu = cpus();
  const version = (name: string): string => `${name} ${/\d[\w.+~-]*/.exec(peer(name)?.version ?? '')?.[0] ?? 'missing'}`;
  const { version: cambium } = JSON.parse(readFileSync(join(root, 'packages/cli/package.json'), 'utf8')) as { version: string };
  const result = [
    table(rows),
    '',
    "Medians of the pairs in the last column; ratio = median of the pairs' ratios; peak = largest resident set of any run's largest process.",
    `Cambium ${cambium}, Node ${process.version}, ${version('ostree')}, ${version('podman')}; ${cpu.length} × ${cpu[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB.`,
    '',
  ].join('\n');
  process.stdout.write(result);
  if (values.output !== undefined) writeFileSync(values.output, `# Speed and memory beside the peers\n\nWritten by \`npm run bench\`.\n\n${result}`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
