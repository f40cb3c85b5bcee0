/** Layers of every ordinary shape, against what `umoci unpack` and podman make of the same image. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { list } from '@cambium/ostree';
import {
  type BuiltLayout,
  buildImageLayout,
  type CleanUp,
  defer,
  firstReason,
  type LayerSpec,
  needsPeer,
  needsPodman,
  needsRoot,
  output,
  podmanEnvironment,
  type TarEntrySpec,
} from '@cambium/testkit';
import { checkedOut, folder, newRepo, readTree, storeImage, unpackedByUmoci } from './image-trees.test.ts';
import { findImageCommit, findLayerCommit } from './index.ts';

const NEEDS = firstReason(needsPeer('ostree', 'umoci', 'getfattr'), needsRoot());
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');
const LONG = `long/${'x'.repeat(120)}/${'y'.repeat(200)}/file`;

/** Four layers with one of each thing that ordinary images hold. */
const LAYERS: readonly (readonly TarEntrySpec[])[] = [
  [
    { path: './', mode: 0o755 },
    { path: 'etc/', uid: 3, gid: 4, mode: 0o750 },
    { path: 'etc/passwd', content: 'root:x:0:0\n', uid: 3, gid: 4 },
    { path: 'etc/gone', content: 'removed above' },
    { path: 'var/', mode: 0o711 },
    { path: 'var/lib/', mode: 0o700 },
    { path: 'var/lib/old', content: 'hidden by the opaque directory' },
    { path: 'var/lib/deep/' },
    { path: 'var/lib/deep/older', content: 'as well' },
    { path: 'becomes-file/' },
    { path: 'becomes-file/inside', content: 'gone with its directory' },
    { path: 'becomes-dir', content: 'a file at first' },
    { path: 'becomes-link/' },
    { path: 'becomes-link/x', content: 'gone' },
    { path: 'fifo-over-file', content: 'hidden by a FIFO' },
    { path: 'dev/' },
    { path: 'dev/null', kind: 'char', device: [1, 3], mode: 0o666 },
    { path: 'lib', kind: 'symlink', target: 'usr/lib' },
    { path: 'usr/lib/' },
    { path: 'usr/lib/libc', content: 'libc' },
    { path: 'same', content: 'a file at first' },
    { path: 'lower-target', content: 'linked from above', uid: 1, gid: 2, mode: 0o640 },
  ],
  [
    { path: 'etc/.wh.gone' },
    { path: 'var/lib/', mode: 0o755, uid: 9 },
    { path: 'var/lib/.wh..wh..opq' },
    { path: 'var/lib/new', content: 'stays' },
    { path: 'becomes-file', content: 'now a file' },
    { path: 'becomes-dir/', mode: 0o1777 },
    { path: 'becomes-dir/child', content: 'in it' },
    { path: 'becomes-link', kind: 'symlink', target: '../outside/../../x' },
    { path: 'fifo-over-file', kind: 'fifo', mode: 0o600 },
    { path: 'dev/sda', kind: 'block', device: [8, 0] },
    { path: 'implied/by/path', content: 'no entries for its directories' },
  ],
  [
    { path: 'bin/' },
    { path: 'bin/su', content: 'su\n', mode: 0o4755 },
    { path: 'bin/wall', content: 'wall\n', mode: 0o2755, gid: 5 },
    { path: 'bin/ping', content: 'ping\n', mode: 0o755, xattrs: { 'security.capability': CAPABILITY, 'user.note': 'bytes \x01\n=' } },
    { path: 'bin/ping6', kind: 'hardlink', target: 'bin/ping', mode: 0o755 },
    { path: 'bin/ping-too', kind: 'hardlink', target: '/bin/ping6', mode: 0o755 },
    { path: 'bin/sh', kind: 'symlink', target: 'dash' },
    { path: 'linked', kind: 'hardlink', target: 'lower-target' },
    { path: 'linked-still', kind: 'hardlink', target: 'lower-target' },
    { path: 'empty/', mode: 0o755 },
    { path: 'locked/', mode: 0 },
    { path: 'locked/secret', content: 'secret', mode: 0 },
    { path: 'tmp/', mode: 0o1777, xattrs: { 'user.dir': 'attribute' } },
    { path: 'owned', content: '', uid: 4_000_000_000, gid: 3_000_000_000 },
    { path: LONG, content: 'far down' },
    { path: 'unicode/日本語 é 🎉', content: 'ok' },
    { path: 'unicode/sp ace\ttab', content: 'ok' },
    { path: './dotted/./file', content: 'x' },
    { path: 'large', content: Buffer.alloc(700_000, 'large content\n') },
  ],
  [
    { path: 'becomes-dir/.wh.child' },
    { path: '.wh.same' },
    { path: 'same/' },
    { path: 'same/now', content: 'a directory' },
    { path: 'etc/passwd', content: 'root:x:0:0\nuser:x:1:1\n', uid: 3, gid: 4 },
    { path: 'linked', content: 'no longer linked' },
  ],
];

function allIn(t: CleanUp, layers: readonly LayerSpec[], more: object = {}): Promise<BuiltLayout> {
  return buildImageLayout(folder(t, 'layout'), { images: [{ layers, ...more }] });
}

test('an image of every ordinary kind of entry is what umoci unpacks', { skip: NEEDS }, async (t) => {
  const layout = await allIn(
    t,
    LAYERS.map((entries) => ({ entries })),
  );
  const repo = await newRepo(t);
  const image = await storeImage(repo, layout);
  await output('ostree', [`--repo=${repo.path}`, 'fsck', '--quiet']);

  const wanted = await unpackedByUmoci(t, layout);
  const special = [...wanted].filter(([, line]) => line.startsWith('special')).map(([path]) => path);
  for (const path of special) wanted.delete(path);
  const found = await checkedOut(t, repo, image.commit);
  assert.deepEqual(found, wanted);
  // The comparison would hold for two empty trees as well.
  assert.equal(found.get('bin/su')?.startsWith('file 4755 0:0 3 '), true);
  assert.match(found.get('bin/ping') ?? '', /security\.capability=0x0100000200040000000000000000000000000000 user\.note=/);
  assert.equal(found.get('locked'), 'directory 0 0:0');
  assert.equal(found.has(LONG), true);
  assert.equal(found.get('owned')?.startsWith('file 644 4000000000:3000000000'), true);
  assert.equal(found.has('fifo-over-file'), false);
  assert.equal(found.get('bin/ping6'), found.get('bin/ping'));

  assert.deepEqual(
    image.skipped.map(({ path, kind }) => `${kind} ${path}`),
    ['char dev/null', 'block dev/sda', 'fifo fifo-over-file'],
  );
  assert.deepEqual(image.skipped.map(({ path }) => path).sort(), special.sort(), 'all that umoci makes special');
  assert.deepEqual(findImageCommit(repo, image.manifest.digest)?.skipped, image.skipped);
  const layer = findLayerCommit(repo, image.diffIds[2] as (typeof image.diffIds)[number]);
  assert.deepEqual(layer?.links, [
    { path: 'linked', target: 'lower-target' },
    { path: 'linked-still', target: 'lower-target' },
  ]);
  assert.equal(found.get('linked-still'), found.get('lower-target'));
});

test('…and what podman shows of it', { skip: firstReason(NEEDS, needsPodman({ rootless: false })) }, async (t) => {
  // Podman unpacks each layer by itself, so it refuses links to files of lower layers.
  const layout = await allIn(
    t,
    LAYERS.map((entries) => ({ entries: entries.filter(({ path }) => !String(path).startsWith('linked')) })),
  );
  const repo = await newRepo(t);
  const image = await storeImage(repo, layout);
  const podman = await podmanEnvironment({ rootless: false });
  defer(t, () => podman.stop());
  const id = await podman.podman('pull', '--quiet', layout.reference);
  const wanted = await readTree(await podman.podman('image', 'mount', id));
  for (const [path, line] of wanted) if (line.startsWith('special')) wanted.delete(path);
  const found = await checkedOut(t, repo, image.commit);
  // Directories that a layer goes through without an entry: podman resets them, umoci and we keep what lower layers say.
  for (const path of ['', 'etc', 'var', 'becomes-dir']) {
    assert.match(wanted.get(path) ?? '', /^directory (755|555) 0:0$/);
    wanted.set(path, found.get(path) as string);
  }
  assert.deepEqual(found, wanted);
});

test('the same layers in every compression and tar dialect give the same tree', async (t) => {
  const repo = await newRepo(t);
  const entries = LAYERS[2]?.filter(({ path }) => !String(path).startsWith('linked')) ?? [];
  const trees = new Set<string>();
  const layerCommits = new Set<string>();
  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    for (const format of ['oci', 'docker'] as const) {
      const image = await storeImage(repo, await allIn(t, [{ entries, compression }], { format }));
      trees.add(image.root.tree);
      for (const { layer } of image.layers) layerCommits.add(layer.commit);
    }
  }
  const gnu = entries.map((entry) => ({ ...entry, longNames: 'gnu' as const }));
  trees.add((await storeImage(repo, await allIn(t, [{ entries: gnu }]))).root.tree);
  // A media type that lies about the compression, as some registries' do.
  trees.add((await storeImage(repo, await allIn(t, [{ entries, compression: 'zstd', mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' }]))).root.tree);
  assert.equal(trees.size, 1);
  assert.equal(layerCommits.size, 1);
});

test('tars of GNU tar in every format, sparse files too', { skip: firstReason(NEEDS, needsPeer('tar')) }, async (t) => {
  const source = folder(t, 'source');
  mkdirSync(join(source, 'etc'), { mode: 0o755 });
  writeFileSync(join(source, 'etc/hosts'), 'localhost\n', { mode: 0o644 });
  // Data, a hole, data, a long hole to the end: both kinds that the reader must expand.
  writeFileSync(join(source, 'sparse'), Buffer.alloc(8192, 'a'));
  truncateSync(join(source, 'sparse'), 3_000_000);
  writeFileSync(join(source, 'sparse'), 'middle', { flag: 'a' });
  truncateSync(join(source, 'sparse'), 6_000_000);
  writeFileSync(join(source, 'hole'), '');
  truncateSync(join(source, 'hole'), 5_000_000);
  writeFileSync(join(source, 'after'), 'what follows a hole stays in place\n');

  const repo = await newRepo(t);
  const trees = new Map<string, string>();
  for (const args of [
    ['--format=v7'],
    ['--format=ustar'],
    ['--format=gnu'],
    ['--format=pax'],
    ['--format=gnu', '--sparse'],
    ['--format=pax', '--sparse', '--sparse-version=0.0'],
    ['--format=pax', '--sparse', '--sparse-version=0.1'],
    ['--format=pax', '--sparse', '--sparse-version=1.0'],
  ]) {
    const made = spawnSync('tar', [...args, '--sort=name', '--owner=0', '--group=0', '-C', source, '-cf', '-', '.'], { maxBuffer: 1 << 27 });
    assert.equal(made.status, 0, made.stderr.toString());
    if (args.includes('--sparse')) assert.ok(made.stdout.byteLength < 200_000, 'the tar is sparse');
    const image = await storeImage(repo, await allIn(t, [{ tar: made.stdout }]));
    trees.set(args.join(' '), image.root.tree);
    if (args.at(-1) === '--sparse-version=1.0') {
      const found = await checkedOut(t, repo, image.commit);
      const wanted = await readTree(source);
      wanted.set('', found.get('') as string);
      assert.deepEqual(found, wanted);
    }
  }
  assert.equal(new Set(trees.values()).size, 1, JSON.stringify([...trees], null, 1));
});

test('what happens within a layer happens in the order of its entries', async (t) => {
  const repo = await newRepo(t);
  const lower = [{ path: 'd/' }, { path: 'd/low', content: 'low' }, { path: 'f', content: 'f' }, { path: 'e/' }, { path: 'e/low', content: 'low' }];
  const upper: TarEntrySpec[] = [
    // A file over a lower directory, then a directory again: the lower one does not come back.
    { path: 'd', content: 'for a moment' },
    { path: 'd/' },
    { path: 'd/up', content: 'up' },
    // The same with a FIFO, and a link.
    { path: 'e', kind: 'fifo' },
    { path: 'e/' },
    { path: 'e/up', content: 'up' },
    // A link to a link to a lower file, whatever the order of their names; the target changes afterwards.
    { path: 'z', kind: 'hardlink', target: 'f' },
    { path: 'a', kind: 'hardlink', target: 'z' },
    { path: 'f', content: 'changed' },
    // Links to what is left out are left out.
    { path: 'node', kind: 'char', device: [1, 5] },
    { path: 'node-too', kind: 'hardlink', target: 'node' },
    // Replaced before the end: not skipped after all; and a link that goes with its directory.
    { path: 'replaced', kind: 'fifo' },
    { path: 'replaced', content: 'a file in the end' },
    { path: 'short/' },
    { path: 'short/link', kind: 'hardlink', target: 'f' },
    { path: 'short/fifo', kind: 'fifo' },
    { path: 'short', content: 'lived' },
    { path: 'twice', content: 'one' },
    { path: 'twice', content: 'the later entry holds' },
    // A kind that umoci does not know, a file everywhere else.
    { path: 'contiguous', kind: 'contiguous', content: 'as a file' },
    // Book-keeping of aufs.
    { path: '.wh..wh.plnk/' },
    { path: '.wh..wh.plnk/12.34', content: 'aufs' },
    { path: '.wh..wh.aufs', content: 'aufs' },
  ];
  const image = await storeImage(repo, await allIn(t, [{ entries: lower }, { entries: upper }]));
  const paths = [...list(repo, image.root, '/', { recursive: true })].map(({ path }) => path);
  assert.deepEqual(paths.sort(), ['/', '/a', '/contiguous', '/d', '/d/up', '/e', '/e/up', '/f', '/replaced', '/short', '/twice', '/z']);
  const checksum = (path: string): string | undefined => [...list(repo, image.root, path)][0]?.checksum;
  assert.equal(checksum('/a'), checksum('/z'));
  assert.notEqual(checksum('/a'), checksum('/f'));
  assert.deepEqual(image.skipped, [
    { path: 'node', kind: 'char' },
    { path: 'node-too', kind: 'char' },
  ]);
});

test('a hard link to a lower file replaces a lower directory', async (t) => {
  const repo = await newRepo(t);
  const layers = [
    { entries: [{ path: 'file', content: 'f' }, { path: 'dir/' }, { path: 'dir/x', content: 'x' }] },
    { entries: [{ path: 'dir', kind: 'hardlink' as const, target: 'file' }] },
  ];
  const image = await storeImage(repo, await allIn(t, layers));
  assert.deepEqual(
    [...list(repo, image.root, '/', { recursive: true })].map(({ path }) => path),
    ['/', '/dir', '/file'],
  );
});

test('an image without layers is an empty tree', async (t) => {
  const repo = await newRepo(t);
  const image = await storeImage(repo, await allIn(t, []));
  assert.equal([...list(repo, image.root, '/', { recursive: true })].length, 1);
});
