/** Layers that must be refused: the message names layer and entry, and nothing of them is visible afterwards. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { digestOf, isKnownError } from '@cambium/base';
import { type Repo, Transaction } from '@cambium/ostree';
import { needsPeer, output, type TarEntrySpec, tarBytes } from '@cambium/testkit';
import { newRepo, storeLayer } from './image-trees.test.ts';
import { findLayerCommit, type LayerInput, layerRef } from './index.ts';

const GOOD: readonly TarEntrySpec[] = [{ path: 'etc/' }, { path: 'etc/motd', content: 'hello' }];

function layerOf(tar: Uint8Array, more: Partial<LayerInput> & { cut?: number } = {}): LayerInput {
  const bytes = gzipSync(tar).subarray(0, more.cut);
  return {
    diffId: digestOf(tar) as string as LayerInput['diffId'],
    async *open() {
      yield bytes;
    },
    ...more,
  };
}

async function refused(repo: Repo, input: LayerInput, code: string, words: RegExp): Promise<void> {
  const transaction = await Transaction.begin(repo);
  try {
    await assert.rejects(storeLayer(transaction, input), (error: unknown) => {
      assert.ok(isKnownError(error), String((error as Error).stack));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, words);
      assert.ok(error.message.includes(input.diffId), `names the layer: ${error.message}`);
      return true;
    });
    // What is whole in the same transaction still goes in.
    await storeLayer(transaction, layerOf(tarBytes(GOOD)));
    await transaction.commit();
  } finally {
    await transaction.abort();
  }
  assert.equal(repo.refs.read(layerRef(input.diffId)), undefined);
  assert.notEqual(findLayerCommit(repo, layerOf(tarBytes(GOOD)).diffId), undefined);
}

const NAMES: readonly (readonly [why: string, entry: TarEntrySpec, words: RegExp])[] = [
  ['..', { path: '../escape', content: 'x' }, /"\.\.\/escape".*upwards/],
  ['.. inside', { path: 'a/../../escape', content: 'x' }, /"a\/\.\.\/\.\.\/escape"/],
  ['.. as a directory', { path: '../up/' }, /"\.\.\/up\/"/],
  ['an absolute name', { path: '/etc/shadow', content: 'x' }, /"\/etc\/shadow".*absolute/],
  ['the root by an absolute name', { path: '/' }, /absolute/],
  ['not UTF-8', { path: Buffer.from('caf\xe9', 'latin1'), content: 'x' }, /"caf\\xe9".*UTF-8/],
  ['a name over 255 bytes', { path: `d/${'n'.repeat(256)}`, content: 'x' }, /"d\/nnn.*255 bytes/],
  ['a NUL in a PAX name', { path: 'x', pax: { path: 'a\0b' }, content: 'x' }, /NUL/],
  ['a hard link to the outside', { path: 'link', kind: 'hardlink', target: '../../etc/shadow' }, /"\.\.\/\.\.\/etc\/shadow".*upwards/],
  ['a hard link to the root', { path: 'link', kind: 'hardlink', target: '/' }, /"link".*target/],
  ['a link target that is not UTF-8', { path: 'link', kind: 'symlink', target: Buffer.from('\xff', 'latin1') }, /"link".*UTF-8/],
  ['a whiteout of the parent', { path: 'd/.wh...', content: '' }, /"d\/\.wh\.\.\."/],
  ['a whiteout of nothing', { path: 'd/.wh.', content: '' }, /"d\/\.wh\."/],
  ['a whiteout as a directory', { path: 'd/.wh.x/y', content: '' }, /"d\/\.wh\.x\/y"/],
  ['a file as the root', { path: './', kind: 'file', typeFlag: '0', content: '' }, /root is not a directory/],
];

test('entries that cannot be stored', async (t) => {
  const repo = await newRepo(t);
  for (const [why, entry, words] of NAMES) {
    await t.test(why, async () => {
      const code = why.startsWith('a NUL') ? /ARCHIVE_TAR_PAX_INVALID|BRIDGE_LAYER_ENTRY_REFUSED/ : /BRIDGE_LAYER_ENTRY_REFUSED/;
      const input = layerOf(tarBytes([...GOOD, entry]));
      await refused(repo, input, await codeOf(repo, input, code), words);
    });
  }
});

/** Finds out the code first where the archive's parser may be the one who refuses. */
async function codeOf(repo: Repo, input: LayerInput, allowed: RegExp): Promise<string> {
  const transaction = await Transaction.begin(repo);
  try {
    const error = await storeLayer(transaction, input).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    assert.ok(isKnownError(error), String(error));
    assert.match(error.code, allowed);
    return error.code;
  } finally {
    await transaction.abort();
  }
}

test('entries below what the layer made a file, a link or a FIFO', async (t) => {
  const repo = await newRepo(t);
  const parents: TarEntrySpec[] = [
    { path: 'p', kind: 'symlink', target: '/etc' },
    { path: 'p', kind: 'symlink', target: 'elsewhere' },
    { path: 'p', content: 'file' },
    { path: 'p', kind: 'hardlink', target: 'lower' },
    { path: 'p', kind: 'fifo' },
  ];
  for (const parent of parents) {
    const input = layerOf(tarBytes([{ path: 'p/' }, { path: 'p/x', content: 'x' }, parent, { path: 'p/passwd', content: 'evil' }]));
    await refused(repo, input, 'BRIDGE_LAYER_PARENT_REFUSED', /"p\/passwd".*"p" is not a directory/);
  }
});

test('archives that are damaged, lie, or are none', async (t) => {
  const repo = await newRepo(t);
  const tar = tarBytes([...GOOD, { path: 'big', content: Buffer.alloc(3_000_000, 'content ') }]);
  const cases: [LayerInput, string, RegExp][] = [
    [layerOf(tar, { cut: 300 }), 'ARCHIVE_DECOMPRESS_TRUNCATED', /ends early/],
    [layerOf(tar.subarray(0, 700_000)), 'ARCHIVE_TAR_TRUNCATED', /ends/],
    [layerOf(tarBytes([{ ...GOOD[1], path: 'x', badChecksum: true }])), 'ARCHIVE_TAR_CHECKSUM', /tar/],
    [layerOf(Buffer.alloc(2000, 'no tar at all')), 'ARCHIVE_TAR_CHECKSUM', /not a tar/],
    [layerOf(tarBytes([{ path: 'huge', claimedSize: 2 ** 45 }])), 'ARCHIVE_TAR_TOO_LARGE', /bytes/],
    [layerOf(tar, { limitBytes: 2_500_000 }), 'ARCHIVE_TAR_TOO_LARGE', /2500000 bytes/],
    [layerOf(tarBytes(Array.from({ length: 800 }, (_, i) => ({ path: `f${i}` }))), { limitBytes: 300_000 }), 'ARCHIVE_DECOMPRESS_TOO_LARGE', /300000 bytes/],
    // A sparse file of a terabyte in a kilobyte.
    [layerOf(tarBytes([{ path: 's', pax: { 'GNU.sparse.size': String(2 ** 39), 'GNU.sparse.map': '0,0' } }])), 'ARCHIVE_TAR_TOO_LARGE', /bytes/],
  ];
  for (const [input, code, words] of cases) await refused(repo, input, code, words);
});

test('content with another diffID', async (t) => {
  const repo = await newRepo(t);
  const other = `sha256:${'5'.repeat(64)}` as LayerInput['diffId'];
  await refused(repo, layerOf(tarBytes([...GOOD, { path: 'unwanted', content: 'x' }]), { diffId: other }), 'BRIDGE_LAYER_DIFFID_MISMATCH', /another digest/);
});

test('owners beyond 32 bits are refused, and the repository stays whole', { skip: needsPeer('ostree') }, async (t) => {
  const repo = await newRepo(t);
  const input = layerOf(tarBytes([...GOOD, { path: 'owned', content: 'x', uid: 2 ** 40 }, { path: 'dir/', gid: 2 ** 40 }]));
  await refused(repo, input, 'BRIDGE_LAYER_ENTRY_REFUSED', /"owned"/);
  const directory = layerOf(tarBytes([{ path: 'dir/', gid: 2 ** 40 }]));
  await refused(repo, directory, 'BRIDGE_LAYER_ENTRY_REFUSED', /"dir"/);
  await output('ostree', [`--repo=${repo.path}`, 'fsck', '--quiet']);
});

test('what a kind of repository cannot hold is refused by name', async (t) => {
  const repo = await newRepo(t, 'bare-user-only');
  for (const size of [1, 600_000]) {
    const input = layerOf(
      tarBytes([...GOOD, { path: 'bin/' }, { path: 'bin/su', content: Buffer.alloc(size, 'su'), mode: 0o4755 }, { path: 'z', content: 'z' }]),
    );
    await refused(repo, input, 'BRIDGE_LAYER_ENTRY_REFUSED', /"bin\/su".*bare-user-only/);
  }
});

test('a hole of gigabytes in a small archive takes no memory', async (t) => {
  const repo = await newRepo(t);
  const size = 256 * 2 ** 20;
  const sparse = (path: string): TarEntrySpec => ({ path, pax: { 'GNU.sparse.size': String(size), 'GNU.sparse.map': '0,0' } });
  const transaction = await Transaction.begin(repo, { workers: 1 });
  const before = process.memoryUsage();
  let peakBytes = 0;
  const watch = setInterval(() => {
    const now = process.memoryUsage();
    peakBytes = Math.max(peakBytes, now.arrayBuffers + now.external - before.arrayBuffers - before.external);
  }, 5);
  try {
    const { layer } = await storeLayer(transaction, layerOf(tarBytes([sparse('one'), sparse('two'), ...GOOD])));
    assert.equal(layer.contentBytes, BigInt(2 * size + 5));
    assert.ok(peakBytes < 64 * 2 ** 20, `${peakBytes} bytes of buffers`);
  } finally {
    clearInterval(watch);
    await transaction.abort();
  }
});
