/**
 * Two equal worlds, one for libostree's own command and one for ours: the same command lines in each, and after every
 * line the same output, the same exit status and the same repository. Used by the tests of parity.
 */
import assert from 'node:assert/strict';
import { cpSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { needsPeer, run } from '@cambium/testkit';
import { runOurs } from './our-command.test.ts';

export { LAUNCHER } from './our-command.test.ts';

export interface Step {
  args: string[];
  input?: string;
  /** A change to make in both worlds before the line. */
  before?: (world: string) => void;
  /** Compare the failure's message too. */
  sameMessage: boolean;
  ordered: boolean;
  sameOutput: boolean;
  /** libostree does this line in both worlds: it sets the scene. */
  byPeer: boolean;
}

/** A command line in shell-like words: no quoting, `_` stands for a space inside a word. */
export function line(text: string, options: Partial<Step> = {}): Step {
  return { args: text.split(' ').map((word) => word.replaceAll('_', ' ')), sameMessage: true, ordered: true, sameOutput: true, byPeer: false, ...options };
}

export function setUp(text: string, options: Partial<Step> = {}): Step {
  return line(text, { byPeer: true, ...options });
}

export async function compare(directory: string, steps: readonly Step[], options: { mode?: string } = {}): Promise<void> {
  const worlds = { theirs: join(directory, 'theirs'), ours: join(directory, 'ours') };
  for (const world of Object.values(worlds)) buildWorld(world);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: 'repo', SOURCE_DATE_EPOCH: '1600000000', TZ: 'UTC' };
  const all = [line(`init --repo=repo --mode=${options.mode ?? 'archive'}`), ...steps];
  const differences: string[] = [];
  for (const step of all) {
    step.before?.(worlds.theirs);
    step.before?.(worlds.ours);
    const runPeer = (cwd: string) => run('ostree', step.args, { cwd, env, input: step.input, accept: 'any' });
    const theirs = await runPeer(worlds.theirs);
    const ours = step.byPeer ? await runPeer(worlds.ours) : await runOurs(step.args, { cwd: worlds.ours, env, input: step.input });
    const differ = (what: string, mine: unknown, peers: unknown): void => {
      if (!isDeepStrictEqual(mine, peers)) differences.push(`ostree ${step.args.join(' ')}: ${what}\n  ours:   ${show(mine)}\n  theirs: ${show(peers)}`);
    };
    differ('exit status', ours.status, theirs.status);
    // The peer beside itself: any other difference is the clock's.
    if (step.byPeer) continue;
    if (step.sameOutput) differ('stdout', sorted(ours.stdout, step.ordered), sorted(theirs.stdout, step.ordered));
    const [mine, peers] = [lastLine(ours.stderr, worlds.ours), lastLine(theirs.stderr, worlds.theirs)];
    if (step.sameMessage) differ('message', mine, peers);
    else differ('has a message', mine.startsWith('error: '), peers.startsWith('error: '));
    const [here, there] = [snapshot(worlds.ours), snapshot(worlds.theirs)];
    for (const path of new Set([...Object.keys(here), ...Object.keys(there)])) differ(path, here[path], there[path]);
    // After the worlds have parted every line would differ.
    if (!isDeepStrictEqual(here, there)) break;
  }
  assert.equal(differences.join('\n'), '');
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? 'nothing';
}

function sorted(text: string, ordered: boolean): string {
  return ordered ? text : text.split('\n').sort().join('\n');
}

function lastLine(text: string, world: string): string {
  return text.trimEnd().split('\n').at(-1)?.replaceAll(world, '') ?? '';
}

/** A tree with something of every kind that a commit takes. */
export function buildWorld(world: string): void {
  const tree = join(world, 'tree');
  mkdirSync(join(tree, 'dir/deep'), { recursive: true });
  mkdirSync(join(tree, 'empty'));
  writeFileSync(join(tree, 'file'), 'content\n', { mode: 0o644 });
  writeFileSync(join(tree, 'script'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(tree, 'nothing'), '');
  writeFileSync(join(tree, 'dir/é'), 'accent');
  writeFileSync(join(tree, 'dir/deep/😀'), 'x'.repeat(100_000));
  symlinkSync('../file', join(tree, 'dir/link'));
  cpSync(tree, join(world, 'second'), { recursive: true, verbatimSymlinks: true });
  writeFileSync(join(world, 'second/file'), 'changed\n');
  writeFileSync(join(world, 'second/new'), 'new\n');
}

/** What is in a world: paths, kinds, modes, link targets, and the content of all but compressed objects. */
export function snapshot(world: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (path: string): void => {
    for (const name of readdirSync(join(world, path)).sort()) {
      const at = path === '' ? name : `${path}/${name}`;
      // Leftovers of transactions have random names; a lock file says nothing.
      if (/^[^/]+\/(?:tmp|\.lock)$/.test(at)) continue;
      const full = join(world, at);
      const stat = lstatSync(full);
      if (stat.isDirectory()) {
        // Which of the 256 directories exist may differ when they are empty.
        if (!/\/objects\/..$/.test(at)) found[at] = `directory ${(stat.mode & 0o7777).toString(8)}`;
        visit(at);
      } else if (stat.isSymbolicLink()) found[at] = `link ${readlinkSync(full)}`;
      else found[at] = `file ${(stat.mode & 0o7777).toString(8)} ${at.endsWith('.filez') ? '' : readFileSync(full, 'latin1').slice(0, 4096)}`;
    }
  };
  visit('');
  return found;
}

export const COMMIT: string = 'commit -b main -s subject --owner-uid=0 --owner-gid=0';
export const SECOND: string = `${COMMIT} --tree=dir=second -m a_body`;
export const skip: string | false = needsPeer('ostree');
/** libostree 2022.7 lists refs in the order of a hash table; later versions, and ours, sort them. */
export const ANY_ORDER: Partial<Step> = { ordered: false };
