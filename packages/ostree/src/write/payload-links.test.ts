/** Payload links on a file system that has reflinks: as libostree makes and uses them, beside it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, copyFileSync, lstatSync, mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, sha256Hex } from '@cambium/base';
import { firstReason, needsPeer, needsReflinks, needsRoot, reflinkFileSystem, scratch } from '@cambium/testkit';
import { prune } from '../check/prune.ts';
import { commitDirectory } from '../commit/commit-directory.ts';
import { writeCommitObject } from '../commit/commit-object.ts';
import { MutableTree } from '../commit/mutable-tree.ts';
import { loosePath } from '../format/object-path.ts';
import type { RepoMode } from '../format/types.ts';
import { pullLocal } from '../pull/pull-local.ts';
import { ostree } from '../real-ostree.test.ts';
import { findPath } from '../repo/lookup.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from './transaction.ts';

const skip = firstReason(needsPeer('ostree', 'filefrag'), needsReflinks());
const THRESHOLD = 10_000;
/** Over the size that is kept in memory until its checksum is known. */
const LARGE_BYTES = 12_000_000;

function tree(directory: string): string {
  const root = join(directory, 'tree');
  mkdirSync(root);
  for (const [name, bytes] of [
    ['small', 9_999],
    ['middle', 70_001],
    ['large', LARGE_BYTES],
  ] as const) {
    const content = Buffer.alloc(bytes, `${name} content `);
    for (const [i, mode] of [0o644, 0o755].entries()) {
      writeFileSync(join(root, `${name}-${i}`), content);
      chmodSync(join(root, `${name}-${i}`), mode);
    }
  }
  symlinkSync('x'.repeat(THRESHOLD / 3), join(root, 'link'));
  return root;
}

async function repoWith(path: string, mode: RepoMode, threshold: number | undefined = THRESHOLD): Promise<Repo> {
  await Repo.init(path, { mode });
  if (threshold !== undefined) appendFileSync(join(path, 'config'), `payload-link-threshold=${threshold}\n`);
  return Repo.open(path);
}

async function commit(repo: Repo, root: string, ref = 'main'): Promise<void> {
  await using transaction = await Transaction.begin(repo);
  const mutable = MutableTree.empty();
  await commitDirectory(transaction, mutable, root, { ownerUid: 0, ownerGid: 0 });
  transaction.setRef(ref, writeCommitObject(transaction, { root: mutable.write(transaction), subject: '', timestamp: 1n, bindRefs: [ref] }));
  await transaction.commit();
}

function linksOf(repo: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const directory of readdirSync(join(repo, 'objects')))
    for (const name of readdirSync(join(repo, 'objects', directory)))
      if (name.endsWith('.payload-link')) found.set(`${directory}${basename(name, '.payload-link')}`, readlinkSync(join(repo, 'objects', directory, name)));
  return found;
}

/** Returns where on the disk a file's content begins. */
function extentOf(path: string): string {
  const text = execFileSync('filefrag', ['-v', path], { encoding: 'utf8' });
  return /^\s*0:\s+\d+\.\.\s*\d+:\s+(\d+)\.\./m.exec(text)?.[1] ?? text;
}

function objectOf(repo: Repo, name: string, ref = 'main'): string {
  const entry = findPath(repo, repo.readCommit(repo.refs.resolve(ref)).root, `/${name}`) as { checksum: Checksum };
  return join(repo.path, 'objects', loosePath('file', entry.checksum, repo.mode));
}

for (const mode of ['bare', 'bare-user', 'bare-user-only'] as const) {
  test(`objects of one content share its blocks, ${mode}`, { skip }, async (t) => {
    const directory = await reflinkFileSystem(t, 300);
    const root = tree(directory);
    const repo = await repoWith(join(directory, 'ours'), mode);
    await commit(repo, root);
    const links = linksOf(repo.path);
    const payloads = ['middle', 'large'].map((name) => sha256Hex(Buffer.alloc(name === 'middle' ? 70_001 : LARGE_BYTES, `${name} content `)));
    assert.deepEqual([...links.keys()].sort(), payloads.sort());
    for (const target of links.values()) assert.match(target, /^\.\.\/[0-9a-f]{2}\/[0-9a-f]{62}\.file$/);
    execFileSync('sync', ['-f', directory]);
    for (const name of ['middle', 'large']) assert.equal(extentOf(objectOf(repo, `${name}-0`)), extentOf(objectOf(repo, `${name}-1`)), name);
    assert.notEqual(extentOf(objectOf(repo, 'small-0')), extentOf(objectOf(repo, 'small-1')));
    assert.match(ostree(repo.path, 'fsck'), /no errors found/);

    // libostree uses our links, and we use libostree's.
    const other = join(directory, 'other');
    mkdirSync(other);
    copyFileSync(join(root, 'middle-0'), join(other, 'third'));
    chmodSync(join(other, 'third'), 0o700);
    ostree(repo.path, 'commit', '-b', 'theirs', '--owner-uid=0', '--owner-gid=0', other);
    const theirs = await repoWith(join(directory, 'theirs'), mode);
    ostree(theirs.path, 'commit', '-b', 'main', '--owner-uid=0', '--owner-gid=0', root);
    await commit(theirs, other, 'ours');
    execFileSync('sync', ['-f', directory]);
    const again = await Repo.open(repo.path);
    if (mode !== 'bare-user-only') assert.equal(extentOf(objectOf(again, 'third', 'theirs')), extentOf(objectOf(again, 'middle-0')));
    // Canonical permissions take libostree past its own links: then there are none to use.
    if (linksOf(theirs.path).size > 1) assert.equal(extentOf(objectOf(theirs, 'third', 'ours')), extentOf(objectOf(theirs, 'middle-0')));
    else assert.equal(mode, 'bare-user-only');

    // Links go with what they lead to.
    ostree(repo.path, 'refs', '--delete', 'main', 'theirs');
    await prune(await Repo.open(repo.path), { refsOnly: true });
    assert.equal(linksOf(repo.path).size, 0);
  });
}

test('a damaged object lends nothing, a dangling link goes, and copies between repositories get links', { skip }, async (t) => {
  const directory = await reflinkFileSystem(t, 200);
  const root = tree(directory);
  const repo = await repoWith(join(directory, 'repo'), 'bare-user');
  await commit(repo, root);
  const other = join(directory, 'other');
  mkdirSync(other);
  for (const name of ['middle', 'large']) {
    copyFileSync(join(root, `${name}-0`), join(other, name));
    chmodSync(join(other, name), 0o700);
  }
  for (const [payload, target] of linksOf(repo.path)) {
    const object = join(repo.path, 'objects', payload.slice(0, 2), target);
    if (lstatSync(object).size === LARGE_BYTES) {
      // Same size, another content.
      writeFileSync(object, Buffer.alloc(LARGE_BYTES, 'y'));
    } else rmSync(object);
  }
  const before = linksOf(repo.path);
  await commit(repo, other, 'other');
  const client = await repoWith(join(directory, 'client'), 'bare');
  await pullLocal(client, await Repo.open(repo.path), { refs: ['other'] });
  assert.match(ostree(client.path, 'fsck'), /no errors found/);
  assert.equal(linksOf(client.path).size, 2);
  const after = linksOf(repo.path);
  assert.equal(after.size, 2);
  assert.equal([...after].filter(([payload, target]) => before.get(payload) !== target).length, 1);
});

test('none without a threshold, in archives, or where blocks cannot be shared', { skip: firstReason(needsRoot(), needsPeer('ostree')) }, async (t) => {
  const directory = scratch(t);
  const root = tree(directory);
  const plain = await repoWith(join(directory, 'plain'), 'bare-user');
  await commit(plain, root);
  // ext4 and tmpfs; where the tests run on a file system that can, this says nothing.
  const can = reflinks(directory);
  assert.equal(linksOf(plain.path).size, can ? 2 : 0);
  for (const [mode, threshold] of [
    ['bare-user', undefined],
    ['bare-user', -1],
    ['archive', 0],
  ] as const) {
    const repo = await repoWith(join(directory, `${mode}-${threshold}`), mode, threshold);
    await commit(repo, root);
    assert.equal(linksOf(repo.path).size, 0);
  }
});

function reflinks(directory: string): boolean {
  try {
    execFileSync('cp', ['--reflink=always', join(directory, 'tree/small-0'), join(directory, 'probe')], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(join(directory, 'probe'), { force: true });
  }
}
