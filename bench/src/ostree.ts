/**
 * `cambium ostree` beside libostree, on one directory of 50,000 files.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Comparison, compare, runOnce } from './measure.ts';
import { Scratch } from './scratch.ts';
import { writeSmallFiles } from './small-files.ts';

export interface BenchContext {
  /** The built command. */
  cambium: readonly string[];
  /** Where inputs are kept from run to run. */
  cache: string;
  /** Scratch space on the same volume as the repositories under test. */
  scratch: string;
  runs: number;
}

const FILES = 50_000;

export async function benchOstree({ cambium, cache, scratch: parent, runs }: BenchContext): Promise<Comparison[]> {
  const tree = join(cache, `small-files-${FILES}`);
  if (!existsSync(join(tree, '.complete'))) {
    rmSync(tree, { recursive: true, force: true });
    writeSmallFiles(join(tree, 'root'), FILES);
    mkdirSync(join(tree, '.complete'));
  }
  const root = join(tree, 'root');
  const scratch = new Scratch(join(parent, 'ostree'));
  const ours = [...cambium, 'ostree'];
  const peer = ['ostree'];
  const rows: Comparison[] = [];
  const repo = (who: string): string => scratch.at(`repo-${who}`);
  const fresh = (who: string, mode: string) => async (): Promise<void> => {
    scratch.clear(`repo-${who}`);
    await runOnce({ command: ['ostree', 'init', `--repo=${repo(who)}`, `--mode=${mode}`] });
  };
  const commit = (tool: readonly string[], who: string): string[] => [
    ...tool,
    'commit',
    `--repo=${repo(who)}`,
    '-b',
    'bench',
    '--timestamp=@1',
    `--tree=dir=${root}`,
  ];

  for (const [mode, goal] of [
    ['archive', '≥ 1.5×'],
    ['bare-user', '≥ 1×'],
  ] as const) {
    rows.push(
      await compare(
        `ostree commit, 50,000 files, ${mode}`,
        goal,
        { prepare: fresh('ours', mode), command: commit(ours, 'ours') },
        { prepare: fresh('peer', mode), command: commit(peer, 'peer') },
        runs,
      ),
    );
  }
  // The bare-user repositories of the last rows serve the reading commands.
  const out = (who: string): string => scratch.at(`out-${who}`);
  for (const [name, flags] of [
    ['hard links', ['-U', '-H']],
    ['copies', ['-U', '-C']],
  ] as const) {
    const checkout = (tool: readonly string[], who: string) => ({
      prepare: () => scratch.clear(`out-${who}`),
      command: [...tool, 'checkout', `--repo=${repo('peer')}`, ...flags, 'bench', out(who)],
    });
    rows.push(await compare(`ostree checkout, ${name}`, '≥ 1×', checkout(ours, 'ours'), checkout(peer, 'peer'), runs));
  }
  const fsck = (tool: readonly string[]) => ({ command: [...tool, 'fsck', '-q', `--repo=${repo('peer')}`] });
  rows.push(await compare('ostree fsck', '≥ 1.5×', fsck(ours), fsck(peer), runs));
  return rows;
}
