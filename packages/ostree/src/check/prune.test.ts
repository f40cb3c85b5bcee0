/** Pruning beside the real `ostree`: what is printed, and what is left. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { decodeDeltaChecksum, encodeDeltaChecksum } from '../format/delta-path.ts';
import { makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { markPartial } from '../repo/commit-markers.ts';
import { Repo } from '../repo/repo.ts';
import { type PruneOptions, prune } from './prune.ts';
import { formatPruneResult } from './prune-text.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

/** Names of everything that counts in a repository. */
function contents(repo: string): string[] {
  const found = execFileSync('find', ['.', '-not', '-type', 'd', '-not', '-path', './tmp/*', '-not', '-name', '.lock'], {
    cwd: repo,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 1 << 26,
  });
  return found.split('\n').sort();
}

function copy(from: string, to: string): string {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
  return to;
}

for (const mode of ['archive', 'bare-user'] as const) {
  test(`prune of ${mode} repositories`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo: original, first, second, other } = makeRepo(directory, mode);
    const third = ostree(original, 'commit', '-b', 'main', '--timestamp=@1300000000', '--tree=ref=deep/other', '--add-detached-metadata-string=k=v').trim();
    for (const name of ['deltas', 'delta-indexes']) mkdirSync(join(original, name), { recursive: true });
    if (mode === 'archive') {
      ostree(original, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
      ostree(original, 'static-delta', 'generate', '--empty', `--to=${other}`);
    }
    const cases: [string[], PruneOptions][] = [
      [[], {}],
      [['--depth=0'], { depth: 0 }],
      [['--refs-only'], { refsOnly: true }],
      [['--refs-only', '--depth=0'], { refsOnly: true, depth: 0 }],
      [['--refs-only', '--depth=1'], { refsOnly: true, depth: 1 }],
      [['--refs-only', '--depth=0', '--commit-only'], { refsOnly: true, depth: 0, commitOnly: true }],
      [['--commit-only'], { commitOnly: true }],
      [['--keep-younger-than=2005-01-01'], { keepYoungerThan: 1_104_537_600n }],
      [['--keep-younger-than=2002-01-01'], { keepYoungerThan: 1_009_843_200n }],
      [['--keep-younger-than=2030-01-01'], { keepYoungerThan: 1_893_456_000n }],
      [['--retain-branch-depth=main=1', '--depth=0'], { retainBranchDepth: new Map([['main', 1]]), depth: 0 }],
      [['--retain-branch-depth=main=1', '--keep-younger-than=2030-01-01'], { retainBranchDepth: new Map([['main', 1]]), keepYoungerThan: 1_893_456_000n }],
      [['--only-branch=main', '--depth=0'], { onlyBranches: ['main'], depth: 0 }],
      [['--only-branch=deep/other', '--depth=0'], { onlyBranches: ['deep/other'], depth: 0 }],
      [['--only-branch=nothing', '--depth=0'], { onlyBranches: ['nothing'], depth: 0 }],
      [[`--delete-commit=${second}`], { deleteCommit: second as Checksum }],
      [[`--delete-commit=${third}`], { deleteCommit: third as Checksum }],
      [[`--delete-commit=${'0'.repeat(64)}`], { deleteCommit: '0'.repeat(64) as Checksum }],
      [[`--delete-commit=${second}`, '--static-deltas-only'], { deleteCommit: second as Checksum, staticDeltasOnly: true }],
      [[`--delete-commit=${second}`, '--commit-only'], { deleteCommit: second as Checksum, commitOnly: true }],
    ];
    for (const tombstones of [false, true]) {
      ostree(original, 'config', 'set', 'core.tombstone-commits', String(tombstones));
      for (const [flags, options] of cases) {
        const [theirs, ours] = [copy(original, join(directory, 'theirs')), copy(original, join(directory, 'ours'))];
        const expected = tryOstree(theirs, ['prune', ...flags]);
        const repo = await Repo.open(ours);
        const before = contents(ours);
        if (expected.status !== 0) {
          await assert.rejects(prune(repo, options), (error) => isKnownError(error), `${flags}: ${expected.stderr}`);
          assert.deepEqual(contents(ours), before, String(flags));
          continue;
        }
        if (options.deleteCommit === undefined) {
          const plan = formatPruneResult(await prune(repo, { ...options, dryRun: true }), { ...options, dryRun: true });
          assert.equal(plan, ostree(original, 'prune', '--no-prune', ...flags), String(flags));
          assert.deepEqual(contents(ours), before, String(flags));
        }
        assert.equal(formatPruneResult(await prune(repo, options), options), expected.stdout, String(flags));
        assert.deepEqual(contents(ours), contents(theirs), String(flags));
        assert.equal(tryOstree(ours, ['fsck', '-q']).status, tryOstree(theirs, ['fsck', '-q']).status);
      }
    }
  });
}

test('what else goes with a commit: detached metadata, markers, tombstones, payload links, cached summaries', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: path, first, second } = makeRepo(directory, 'bare-user');
  const repo = await Repo.open(path);
  const orphan = 'a'.repeat(64) as Checksum;
  markPartial(repo, first as Checksum);
  markPartial(repo, orphan);
  repo.writeDetachedMetadata(first as Checksum, []);
  repo.writeDetachedMetadata(orphan, []);
  mkdirSync(join(path, 'tmp/cache/summaries'), { recursive: true });
  for (const name of ['gone', 'gone.sig', 'kept']) writeFileSync(join(path, 'tmp/cache/summaries', name), '');
  ostree(path, 'remote', 'add', '--no-gpg-verify', 'kept', 'http://localhost:1/');
  const file = repo.readDirTree(repo.readCommit(second as Checksum).root.tree).files[0]!.checksum;
  const links = { [`${'b'.repeat(62)}`]: file, [`${'c'.repeat(62)}`]: 'd'.repeat(64) };
  mkdirSync(join(path, 'objects/00'), { recursive: true });
  for (const [name, target] of Object.entries(links))
    symlinkSync(`../${target.slice(0, 2)}/${target.slice(2)}.file`, join(path, `objects/00/${name}.payload-link`));
  const opened = await Repo.open(path);
  const result = await prune(opened, { refsOnly: true, depth: 0 });
  assert.ok(result.prunedObjects > 1);
  assert.equal(opened.hasObject('commit', first as Checksum), false);
  for (const checksum of [first as Checksum, orphan]) {
    assert.equal(existsSync(opened.objectPath('commitmeta', checksum)), false);
    assert.equal(opened.isPartial(checksum), false);
  }
  assert.deepEqual([existsSync(join(path, `objects/00/${'b'.repeat(62)}.payload-link`)), existsSync(join(path, 'tmp/cache/summaries/gone'))], [true, false]);
  assert.equal(existsSync(join(path, 'tmp/cache/summaries/kept')), true);
  assert.throws(() => readFileSync(join(path, `objects/00/${'c'.repeat(62)}.payload-link`)), { code: 'ENOENT' });
});

test('a commit that lacks an object: tolerated when marked partial, refused otherwise, and nothing is deleted', { skip }, async (t) => {
  const { repo: path, first, second } = makeRepo(scratch(t), 'archive');
  const repo = await Repo.open(path);
  const { tree } = repo.readCommit(first as Checksum).root;
  rmSync(repo.objectPath('dirtree', tree));
  const before = contents(path);
  await assert.rejects(prune(repo, { refsOnly: true }), { code: 'OSTREE_OBJECT_MISSING' });
  assert.deepEqual(contents(path), before);
  markPartial(repo, first as Checksum);
  await prune(repo, { refsOnly: true });
  assert.equal(repo.hasObject('commit', first as Checksum), true);
  assert.equal(tryOstree(path, ['checkout', '-U', second, join(path, 'out')]).status, 0);
});

test('pruning waits for the lock of others, and a reader cannot prune', { skip }, async (t) => {
  const { repo: path } = makeRepo(scratch(t), 'archive');
  ostree(path, 'config', 'set', 'core.lock-timeout-secs', '0');
  const [one, two] = [await Repo.open(path), await Repo.open(path)];
  const lock = await one.lock('shared');
  await assert.rejects(prune(two), { code: 'OSTREE_LOCK_TIMEOUT' });
  lock.release();
  await prune(two);
});

test('checksums in the names of static deltas', () => {
  const checksum = 'fbffff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1cff' as Checksum;
  const text = encodeDeltaChecksum(checksum);
  assert.match(text, /^[A-Za-z0-9+_]{43}$/);
  assert.equal(decodeDeltaChecksum(text), checksum);
  for (const bad of ['', text.slice(1), `${text}A`, text.replace(/.$/, '/'), text.replace(/.$/, '=')]) assert.equal(decodeDeltaChecksum(bad), undefined);
});
