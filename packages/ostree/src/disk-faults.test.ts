/**
 * No room, no inodes, nothing writable: each operation that writes says so with a code of its kind, leaves refs and objects as
 * `ostree fsck` wants them, and completes once there is room.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, cpSync, globSync, mkdirSync, openSync, readFileSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, needsRoot, readOnly, scratch, tmpfs } from '@cambium/testkit';
import { prune } from './check/prune.ts';
import { repair } from './check/repair.ts';
import { repoSource } from './check/repair-source.ts';
import { checkout } from './checkout/checkout.ts';
import { commitDirectory } from './commit/commit-directory.ts';
import { writeCommitObject } from './commit/commit-object.ts';
import { MutableTree } from './commit/mutable-tree.ts';
import { generateDelta } from './delta/generate.ts';
import { applyDeltaOffline } from './delta/offline.ts';
import { openDelta } from './delta/open-delta.ts';
import { push } from './publish/push.ts';
import { directoryTarget } from './publish/push-target.ts';
import { pull } from './pull/pull.ts';
import { pullLocal } from './pull/pull-local.ts';
import { ostree } from './real-ostree.test.ts';
import { Repo } from './repo/repo.ts';
import { regenerateSummary } from './summary/summary-write.ts';
import { Transaction } from './write/transaction.ts';

const skip = firstReason(needsPeer('ostree', 'cp', 'mount'), needsRoot());

interface World {
  /** Has both commits of `main`. */
  source: string;
  first: Checksum;
  second: Checksum;
  /** A tree that is in no commit. */
  tree: string;
  delta: string;
}

interface Operation {
  name: string;
  /** Works on the repository `ours`, that has the first commit. */
  run(ours: string, world: World): Promise<unknown>;
  /** It may find the room that it needs in what it removes. */
  frees?: true;
}

const OPERATIONS: readonly Operation[] = [
  {
    name: 'commit',
    run: async (ours, { tree }) => {
      await using transaction = await Transaction.begin(await Repo.open(ours));
      const root = MutableTree.empty();
      await commitDirectory(transaction, root, tree, { ownerUid: 0, ownerGid: 0 });
      transaction.setRef('new', writeCommitObject(transaction, { root: root.write(transaction), timestamp: 5n, bindRefs: ['new'] }));
      await transaction.commit();
    },
  },
  { name: 'pull', run: async (ours, { source }) => pull(await Repo.open(ours), { remote: 'origin', refs: ['main'], url: `file://${source}` }) },
  { name: 'pull-local', run: async (ours, { source }) => pullLocal(await Repo.open(ours), await Repo.open(source), { refs: ['main'] }) },
  { name: 'apply a delta', run: async (ours, { delta }) => applyDeltaOffline(await Repo.open(ours), openDelta(delta)) },
  { name: 'generate a delta', run: async (ours, { first }) => generateDelta(await Repo.open(ours), { from: undefined, to: first }) },
  { name: 'summary', run: async (ours) => regenerateSummary(await Repo.open(ours)) },
  { name: 'push', run: async (ours, { source }) => push(await Repo.open(source), directoryTarget(ours), { refs: ['main'] }) },
  { name: 'checkout', run: async (ours, { first }) => checkout(await Repo.open(ours), first, { destination: join(ours, '..', 'out'), userMode: true }) },
  {
    name: 'detached metadata',
    run: async (ours, { first }) => (await Repo.open(ours)).writeDetachedMetadata(first, [['key', new Variant('ay', Buffer.alloc(20_000, 'x'))]]),
  },
  { name: 'a ref', run: async (ours, { first }) => (await Repo.open(ours)).refs.write('another/ref', first) },
  {
    name: 'repair',
    frees: true,
    run: async (ours, { source, first }) => {
      const repo = await Repo.open(ours);
      for (const path of globSync('objects/*/*.filez', { cwd: ours }).slice(0, 2)) rmSync(join(ours, path));
      const { left } = (await repair(repo, [repoSource(await Repo.open(source))], {})) as unknown as { left?: unknown };
      return [left, first];
    },
  },
  { name: 'prune', frees: true, run: async (ours) => prune(await Repo.open(ours), { refsOnly: true }) },
];

function makeWorld(directory: string): World {
  const [source, tree] = [join(directory, 'source'), join(directory, 'tree')];
  mkdirSync(join(tree, 'sub'), { recursive: true });
  const noise = (seed: number, length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (Math.imul(i + seed, 2_654_435_761) >>> 13) & 0xff));
  const commit = (): Checksum => ostree(source, 'commit', '-b', 'main', '--owner-uid=0', '--owner-gid=0', '--timestamp=@1000000000', tree).trim() as Checksum;
  ostree(source, 'init', '--mode=archive');
  for (let i = 0; i < 6; i++) writeFileSync(join(tree, `sub/f${i}`), noise(i, 3000));
  const first = commit();
  for (let i = 3; i < 12; i++) writeFileSync(join(tree, `sub/f${i}`), noise(i * 77, 9000));
  const second = commit();
  ostree(source, 'static-delta', 'generate', '--inline', `--from=${first}`, `--to=${second}`, `--filename=${join(directory, 'delta')}`);
  for (let i = 0; i < 12; i++) writeFileSync(join(tree, `sub/f${i}`), noise(i * 101, 9000));
  return { source, first, second, tree, delta: join(directory, 'delta') };
}

function makeOurs(at: string, { source, first }: World): void {
  rmSync(at, { recursive: true, force: true });
  rmSync(join(at, '..', 'out'), { recursive: true, force: true });
  ostree(at, 'init', '--mode=archive');
  ostree(at, 'config', 'set', 'core.min-free-space-size', '0MB');
  ostree(at, 'remote', 'add', '--no-gpg-verify', 'origin', 'http://127.0.0.1:9/');
  ostree(at, 'pull-local', source, first);
  ostree(at, 'refs', `--create=main`, first);
}

function refsOf(repo: string): string[] {
  return globSync('refs/heads/**', { cwd: repo, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.name} ${readFileSync(join(entry.parentPath, entry.name), 'utf8')}`)
    .sort();
}

/** Runs an operation that may fail for want of something; returns the code. */
async function attempt(operation: Operation, ours: string, world: World, kinds: readonly string[], what: string): Promise<string | undefined> {
  const before = refsOf(ours);
  let code: string | undefined;
  try {
    await operation.run(ours, world);
  } catch (error) {
    assert.ok(isKnownError(error), `${what}: ${error instanceof Error ? error.stack : error}`);
    assert.ok(kinds.includes(error.kind), `${what}: ${error.code} (${error.kind}): ${error.message}`);
    assert.doesNotMatch(error.message, /undefined|\[object/);
    code = error.code;
    assert.deepEqual(refsOf(ours), before, what);
  }
  // A repair begins with something broken.
  if (operation.name !== 'repair') assert.match(ostree(ours, 'fsck'), /no errors found/, what);
  return code;
}

/** Takes all but `slackBytes` of a file system; returns what gives it back. */
function fill(disk: string, slackBytes: number): () => void {
  const filler = join(disk, 'filler');
  const { bavail, bsize } = statfsSync(disk);
  const fd = openSync(filler, 'w');
  const piece = Buffer.alloc(bsize);
  for (let left = bavail - Math.ceil(slackBytes / bsize); left > 0; left--) writeSync(fd, piece);
  closeSync(fd);
  return () => rmSync(filler);
}

/** Each operation on a disk with ever more room: it fails and does nothing by halves, and goes through when there is room again. */
interface Shortage {
  name: string;
  /** Of the tmpfs. */
  sizeMiB: number;
  mountOptions?: readonly string[];
  /** What is left when an operation begins. */
  slacks: readonly number[];
  unit: string;
  /** Uses up all but that; returns how to give it back. */
  fill: (disk: string, slack: number) => () => void;
}

const SHORTAGES: readonly Shortage[] = [
  { name: 'a full disk', sizeMiB: 3, slacks: [0, 4096, 5 * 4096, 14 * 4096, 26 * 4096], unit: 'bytes', fill },
  { name: 'no inodes left', sizeMiB: 8, mountOptions: ['nr_inodes=400'], slacks: [0, 2, 7], unit: 'inodes', fill: fillInodes },
];

function fillInodes(disk: string, slack: number): () => void {
  const folder = join(disk, 'filler');
  mkdirSync(folder);
  for (let left = statfsSync(disk).ffree - slack; left > 0; left--) closeSync(openSync(join(folder, String(left)), 'w'));
  return () => rmSync(folder, { recursive: true });
}

for (const { name: shortage, sizeMiB, mountOptions, slacks, unit, fill } of SHORTAGES) {
  test(shortage, { skip }, async (t) => {
    const disk = await tmpfs(t, sizeMiB, mountOptions);
    const world = makeWorld(scratch(t));
    const pristine = join(scratch(t), 'ours');
    makeOurs(pristine, world);
    const ours = join(disk, 'ours');
    for (const operation of OPERATIONS)
      await t.test(operation.name, async () => {
        const codes = new Set<string | undefined>();
        for (const slack of slacks) {
          for (const name of ['ours', 'out']) rmSync(join(disk, name), { recursive: true, force: true });
          cpSync(pristine, ours, { recursive: true });
          const release = fill(disk, slack);
          const what = `${operation.name} with room for ${slack} ${unit}`;
          const code = await attempt(operation, ours, world, ['space'], what);
          codes.add(code);
          release();
          rmSync(join(disk, 'out'), { recursive: true, force: true });
          if (code !== undefined) await operation.run(ours, world);
          assert.match(ostree(ours, 'fsck'), /no errors found/, what);
        }
        if (operation.frees !== true) assert.ok(codes.has('SYSTEM_NO_SPACE'), [...codes].join(', '));
      });
  });
}

test('a read-only file system', { skip }, async (t) => {
  const world = makeWorld(scratch(t));
  const top = scratch(t);
  const ours = join(top, 'ours');
  makeOurs(ours, world);
  for (const path of globSync('objects/*/*.filez', { cwd: ours }).slice(0, 1)) cpSync(join(ours, path), join(top, 'saved'));
  const before = execFileSync('find', [ours, '-printf', '%P %s %T@\\n'], { encoding: 'utf8' });
  await readOnly(t, top);
  for (const operation of OPERATIONS.filter(({ name }) => name !== 'repair'))
    await t.test(operation.name, async () => {
      assert.notEqual(await attempt(operation, ours, world, ['denied'], operation.name), undefined);
    });
  await assert.rejects(repair(await Repo.open(ours), [], {}), { code: 'OSTREE_REPO_READ_ONLY' });
  assert.equal(execFileSync('find', [ours, '-printf', '%P %s %T@\\n'], { encoding: 'utf8' }), before);
});
