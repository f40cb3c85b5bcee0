/**
 * `cambium ostree` beside libostree, on 50,000 files of Debian packages and their next version.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startStaticServer } from '@cambium/testkit';
import { type DebianTree, makeDebianTree } from './debian-tree.ts';
import { type Comparison, compare, runOnce, type Step } from './measure.ts';
import { Scratch } from './scratch.ts';

export interface BenchContext {
  /** The built command. */
  cambium: readonly string[];
  /** Where inputs are kept from run to run. */
  cache: string;
  /** Scratch space on the same volume as the repositories under test. */
  scratch: string;
  runs: number;
  /** Only rows of such names; of `ostree` only. */
  rows: RegExp;
}

/** The refs of the two versions. */
const FIRST = 'first';
const NEXT = 'next';
const PEER: readonly string[] = ['ostree'];

export async function benchOstree({ cambium, cache, scratch: parent, runs, rows }: BenchContext): Promise<Comparison[]> {
  const tree = await makeDebianTree(cache, (line) => process.stderr.write(`${line}\n`));
  const bench = new OstreeBench(new Scratch(join(parent, 'ostree')), tree, [...cambium, 'ostree'], runs, rows);
  await bench.commits();
  await bench.inputs();
  await bench.readers();
  await bench.local();
  await bench.http();
  await bench.deltas();
  return bench.rows;
}

class OstreeBench {
  readonly rows: Comparison[] = [];
  readonly #scratch: Scratch;
  readonly #tree: DebianTree;
  readonly #ours: readonly string[];
  readonly #runs: number;
  readonly #wanted: RegExp;

  constructor(scratch: Scratch, tree: DebianTree, ours: readonly string[], runs: number, wanted: RegExp) {
    this.#scratch = scratch;
    this.#tree = tree;
    this.#ours = ours;
    this.#runs = runs;
    this.#wanted = wanted;
  }

  async commits(): Promise<void> {
    for (const [mode, goal] of [
      ['archive', '≥ 1.8×'],
      ['bare-user', '≥ 1.2×'],
    ] as const) {
      await this.#row(`commit of ${this.#tree.files} files, ${mode}`, goal, (tool, who) => ({
        prepare: () => this.#fresh(`${mode}-${who}`, mode),
        command: this.#commitOf(tool, `${mode}-${who}`),
      }));
    }
    await this.#row('commit --tree=tar, archive', '≥ 1.8×', (tool, who) => ({
      prepare: () => this.#fresh(`tar-${who}`, 'archive'),
      command: [...tool, 'commit', ...this.#repo(`tar-${who}`), '-b', FIRST, '--timestamp=@1', `--tree=tar=${this.#tree.tar}`],
    }));
  }

  /** Adds the next version to libostree's archive of the first: what all others read. */
  async inputs(): Promise<void> {
    for (const mode of ['archive', 'bare-user']) {
      const name = `${mode}-peer`;
      if (existsSync(this.#scratch.at(name))) continue;
      await this.#fresh(name, mode);
      await run(this.#commitOf(PEER, name));
    }
    const repo = this.#repo('archive-peer');
    await run([...PEER, 'commit', ...repo, '-b', NEXT, `--parent=${this.#commit(FIRST)}`, '--timestamp=@2', `--tree=dir=${this.#tree.next}`]);
    await run([...PEER, 'summary', ...repo, '--update']);
  }

  async readers(): Promise<void> {
    for (const [name, flag] of [
      ['hard links', '-H'],
      ['copies', '-C'],
    ] as const) {
      await this.#row(`checkout, ${name}`, '≥ 1.2×', (tool, who) => ({
        prepare: () => this.#scratch.clear(`out-${who}`),
        command: [...tool, 'checkout', ...this.#repo('bare-user-peer'), '-U', flag, FIRST, this.#scratch.at(`out-${who}`)],
      }));
    }
    for (const mode of ['bare-user', 'archive']) {
      await this.#row(`fsck, ${mode}`, '≥ 1.8×', (tool) => ({ command: [...tool, 'fsck', '-q', ...this.#repo(`${mode}-peer`)] }));
    }
  }

  async local(): Promise<void> {
    await this.#row('pull-local, archive to bare-user', '≥ 1.5×', (tool, who) => ({
      prepare: () => this.#fresh(`local-${who}`, 'bare-user'),
      command: [...tool, 'pull-local', ...this.#repo(`local-${who}`), this.#scratch.at('archive-peer'), FIRST],
    }));
    await this.#row('prune, one of two commits', '≥ 1.2×', (tool, who) => ({
      prepare: async () => {
        await this.#copyOf('archive-peer', `prune-${who}`);
        await run([...PEER, 'refs', ...this.#repo(`prune-${who}`), '--delete', NEXT]);
      },
      command: [...tool, 'prune', ...this.#repo(`prune-${who}`), '--refs-only'],
    }));
  }

  async http(): Promise<void> {
    const server = await startStaticServer({ directory: this.#scratch.at('archive-peer') });
    try {
      const client = async (name: string): Promise<void> => {
        await this.#fresh(name, 'bare-user');
        await run([...PEER, 'remote', ...this.#repo(name), 'add', '--no-gpg-verify', 'origin', server.url]);
      };
      const pull = (tool: readonly string[], name: string, ref: string): string[] => [
        ...tool,
        'pull',
        ...this.#repo(name),
        '--disable-static-deltas',
        'origin',
        ref,
      ];
      await this.#row('pull over HTTP, cold', '≥ 1.3×', (tool, who) => ({ prepare: () => client(`cold-${who}`), command: pull(tool, `cold-${who}`, FIRST) }));
      await this.#row('pull over HTTP, update', '≥ 1.3×', (tool, who) => ({
        prepare: async () => {
          await client(`update-${who}`);
          await run(pull(PEER, `update-${who}`, FIRST));
        },
        command: pull(tool, `update-${who}`, NEXT),
      }));
    } finally {
      await server.stop();
    }
  }

  async deltas(): Promise<void> {
    const generate = (tool: readonly string[], who: string): string[] => [
      ...[...tool, 'static-delta', 'generate', ...this.#repo('archive-peer'), '--inline', `--from=${FIRST}`, `--to=${NEXT}`],
      `--filename=${this.#scratch.at(`delta-${who}`)}`,
    ];
    await this.#row('static-delta generate', '≥ 1.8×', (tool, who) => ({
      prepare: () => this.#scratch.clear(`delta-${who}`),
      command: generate(tool, who),
    }));
    if (!existsSync(this.#scratch.at('delta-peer'))) await run(generate(PEER, 'peer'));
    await this.#row('static-delta apply-offline', '≥ 1.2×', (tool, who) => ({
      prepare: async () => {
        await this.#fresh(`apply-${who}`, 'bare-user');
        await run([...PEER, 'pull-local', ...this.#repo(`apply-${who}`), this.#scratch.at('archive-peer'), FIRST]);
      },
      command: [...tool, 'static-delta', 'apply-offline', ...this.#repo(`apply-${who}`), this.#scratch.at('delta-peer')],
    }));
  }

  async #row(name: string, goal: string, step: (tool: readonly string[], who: 'ours' | 'peer') => Step): Promise<void> {
    if (!this.#wanted.test(name)) return;
    this.rows.push(await compare(`ostree ${name}`, goal, step(this.#ours, 'ours'), step(PEER, 'peer'), this.#runs));
  }

  #repo(name: string): string[] {
    return [`--repo=${this.#scratch.at(name)}`];
  }

  #commitOf(tool: readonly string[], name: string): string[] {
    return [...tool, 'commit', ...this.#repo(name), '-b', FIRST, '--timestamp=@1', `--tree=dir=${this.#tree.root}`];
  }

  #commit(ref: string): string {
    return readFileSync(join(this.#scratch.at('archive-peer'), 'refs', 'heads', ref), 'utf8').trim();
  }

  async #fresh(name: string, mode: string): Promise<void> {
    this.#scratch.clear(name);
    await run([...PEER, 'init', ...this.#repo(name), `--mode=${mode}`]);
  }

  async #copyOf(name: string, copy: string): Promise<void> {
    this.#scratch.clear(copy);
    await run(['cp', '--archive', this.#scratch.at(name), this.#scratch.at(copy)]);
  }
}

async function run(command: readonly string[]): Promise<void> {
  await runOnce({ command });
}
