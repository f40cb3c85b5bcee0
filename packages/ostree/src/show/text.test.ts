/** `log`, `show`, `ls`, `diff` and reachability, byte for byte beside the real `ostree`. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import type { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { checkout } from '../checkout/checkout.ts';
import { encodeCommit, metadataValue } from '../format/commit-format.ts';
import { checksumOf } from '../format/object-format.ts';
import { MODES, makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { findPath } from '../repo/lookup.ts';
import { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';
import { commitSide, type DiffSide, diff, diffStats, formatDiff, formatDiffStats } from './diff.ts';
import { formatListEntry, list } from './list.ts';
import { log } from './log.ts';
import { formatCommit, formatDirMeta, formatDirTree, formatFileObject, formatLogEntry, formatMetadataValue, formatSize, formatTimestamp } from './rev-text.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());
const BYTESWAP = { noByteswap: true };

for (const mode of MODES) {
  test(`log, show and ls of ${mode} repositories print what ostree prints`, { skip }, async (t) => {
    const { repo: path, first, second } = makeRepo(scratch(t), mode);
    const repo = await Repo.open(path);
    const logged = (options = {}): string => [...log(repo, 'main')].map((entry) => formatLogEntry(entry, options)).join('');
    assert.equal(logged(), ostree(path, 'log', 'main'));
    assert.equal(logged({ raw: true }), ostree(path, 'log', '--raw', 'main').replace(/\n\n$/, '\n'));
    for (const [flags, options] of [
      [[], {}],
      [['--raw'], { raw: true }],
      [['-B'], BYTESWAP],
      [['--raw', '-B'], { raw: true, ...BYTESWAP }],
    ] as const) {
      assert.equal(formatCommit(second as Checksum, repo.readCommit(second as Checksum), options), ostree(path, 'show', ...flags, 'main'));
      const { tree, meta } = repo.readCommit(first as Checksum).root;
      assert.equal(formatDirTree(tree, repo.readDirTree(tree), options), ostree(path, 'show', ...flags, tree));
      assert.equal(formatDirMeta(meta, repo.readDirMeta(meta), options), ostree(path, 'show', ...flags, meta));
      for (const { checksum } of repo.readDirTree(tree).files) {
        const { header, sizeBytes } = repo.readFileHeader(checksum);
        assert.equal(formatFileObject(checksum, header, sizeBytes), ostree(path, 'show', ...flags, checksum));
      }
    }
    for (const [flags, options, format] of [
      [[], {}, {}],
      [['-R'], { recursive: true }, {}],
      [['-d'], { directoryOnly: true }, {}],
      [['-R', '-C', '-X'], { recursive: true }, { checksums: true, xattrs: true }],
    ] as const) {
      for (const at of ['/', '/d', 'd/sub', '/a', '/d/dangling', 'empty']) {
        for (const rev of ['main', 'main^', 'deep/other']) {
          const { root } = repo.readCommit(repo.refs.resolve(rev));
          const theirs = tryOstree(path, ['ls', ...flags, rev, at]);
          const ours = (): string => [...list(repo, root, at, options)].map((entry) => `${formatListEntry(entry, format)}\n`).join('');
          if (theirs.status === 0) assert.equal(ours(), theirs.stdout);
          else assert.throws(ours, (error) => isKnownError(error) && /^OSTREE_PATH_NOT_/.test(error.code));
        }
      }
    }
    const value = repo.readCommit(second as Checksum).metadata.find(([key]) => key === 'n')?.[1] as Variant;
    assert.equal(`${formatMetadataValue(value)}\n`, ostree(path, 'show', '--print-metadata-key=n', 'main'));
    assert.equal(`${formatMetadataValue(value, BYTESWAP)}\n`, ostree(path, 'show', '-B', '--print-metadata-key=n', 'main'));
    assert.equal(metadataValue(repo.readCommit(second as Checksum).metadata, 'version', 's'), '1.2.3');
  });

  test(`diff in ${mode} repositories prints what ostree prints`, { skip }, async (t) => {
    const { repo: path, trees } = makeRepo(scratch(t), mode);
    const repo = await Repo.open(path);
    const revs = ['main^', 'main', 'deep/other'];
    const sides: [name: string, side: DiffSide][] = [
      ...revs.map((rev): [string, DiffSide] => [rev, commitSide(repo, repo.refs.resolve(rev))]),
      ...trees.map((tree): [string, DiffSide] => [tree, { kind: 'directory', path: tree }]),
    ];
    for (const [nameA, a] of sides) {
      for (const [nameB, b] of sides) {
        assert.equal(formatDiff(diff(repo, a, b), a, b), ostree(path, 'diff', nameA, nameB), `${nameA} ${nameB}`);
        if (b.kind === 'directory') {
          const options = { noXattrs: true, ownerUid: 0, ownerGid: 0 };
          assert.equal(
            formatDiff(diff(repo, a, b, options), a, b),
            ostree(path, 'diff', '--no-xattrs', '--owner-uid=0', '--owner-gid=0', nameA, nameB),
            `${nameA} ${nameB}`,
          );
        }
      }
    }
    for (const a of revs) {
      for (const b of revs) assert.equal(formatDiffStats(diffStats(repo, repo.refs.resolve(a), repo.refs.resolve(b))), ostree(path, 'diff', '--stats', a, b));
    }
    const whole = traverse(repo, [repo.refs.resolve('main')]);
    const found = [...repo.listObjects()].filter(({ type }) => ['commit', 'dirtree', 'dirmeta', 'file'].includes(type)).length;
    const all = traverse(repo, [repo.refs.resolve('main'), repo.refs.resolve('deep/other')]);
    assert.equal(all.size, found);
    assert.ok(whole.size < found);
    assert.equal(traverse(repo, [repo.refs.resolve('main')], { commitOnly: true }).size, 2);
    assert.equal(traverse(repo, [repo.refs.resolve('main')], { commitOnly: true, depth: 0 }).size, 1);
  });
}

test('history that ends early, and times outside of the calendar', { skip }, async (t) => {
  const { repo: path, first, second } = makeRepo(scratch(t), 'archive');
  const repo = await Repo.open(path);
  // The real ostree keeps the file open nowhere: removing it is losing it.
  writeFileSync(join(path, 'objects', first.slice(0, 2), `${first.slice(2)}.commit`), '');
  assert.throws(() => [...log(repo, 'main')], { code: 'OSTREE_OBJECT_CORRUPT' });
  rmSync(join(path, 'objects', first.slice(0, 2), `${first.slice(2)}.commit`));
  assert.equal([...log(repo, 'main')].map((entry) => formatLogEntry(entry)).join(''), ostree(path, 'log', 'main'));
  assert.throws(() => [...log(repo, first)], { code: 'OSTREE_OBJECT_MISSING' });
  const commit = repo.readCommit(second as Checksum);
  assert.throws(() => formatCommit(second as Checksum, { ...commit, timestamp: 253402300800n }), { code: 'OSTREE_COMMIT_INVALID' });
  assert.equal(formatTimestamp(253402300799n), '9999-12-31 23:59:59 +0000');
  assert.equal(formatTimestamp(0n), '1970-01-01 00:00:00 +0000');
});

test('sizes as GLib writes them', () => {
  const table: [number, string][] = [
    [0, '0 bytes'],
    [1, '1 byte'],
    [999, '999 bytes'],
    [1000, '1.0\u00a0kB'],
    [99_950, '100.0\u00a0kB'],
    [999_949, '999.9\u00a0kB'],
    [999_950, '1000.0\u00a0kB'],
    [1_500_000, '1.5\u00a0MB'],
  ];
  for (const [size, text] of table) assert.equal(formatSize(size), text);
});

test('a directory tree with names that lead elsewhere is refused everywhere', { skip }, async (t) => {
  const { repo: path, second } = makeRepo(scratch(t), 'archive');
  const repo = await Repo.open(path);
  const base = repo.readCommit(second as Checksum);
  const file = repo.readDirTree(base.root.tree).files[0]!.checksum;
  for (const name of ['..', '.', 'a/b', '../../etc', '/x', '', 'a\0b']) {
    // The encoder refuses such names: these bytes are laid out by hand, `(a(say)a(sayay))` with one file.
    const entry = Buffer.concat([Buffer.from(`${name}\0`), Buffer.from(file, 'hex'), Buffer.of(Buffer.byteLength(name) + 1)]);
    const files = Buffer.concat([entry, Buffer.of(entry.length)]);
    const tree = Buffer.concat([files, Buffer.of(files.length)]);
    const checksum = checksumOf(tree);
    const commit = encodeCommit({ ...base, root: { tree: checksum, meta: base.root.meta } });
    const hostile = checksumOf(commit);
    const store = (bytes: Uint8Array, sum: string, type: string): void => {
      mkdirSync(join(path, 'objects', sum.slice(0, 2)), { recursive: true });
      writeFileSync(join(path, 'objects', sum.slice(0, 2), `${sum.slice(2)}.${type}`), bytes);
    };
    store(tree, checksum, 'dirtree');
    store(commit, hostile, 'commit');
    const corrupt = (error: unknown): boolean => isKnownError(error, 'OSTREE_OBJECT_CORRUPT');
    assert.throws(() => [...list(repo, repo.readCommit(hostile).root, '/', { recursive: true })], corrupt, JSON.stringify(name));
    assert.throws(() => traverse(repo, [hostile]), corrupt);
    assert.throws(() => findPath(repo, repo.readCommit(hostile).root, `/${name || 'x'}`), corrupt);
    await assert.rejects(checkout(repo, hostile, { destination: join(path, 'out'), userMode: true, overwrite: 'union' }), corrupt);
  }
});
