/** The store's metadata: derived names, merged records, the same bytes in any order. Podman itself reads one in the tests of the command. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DiffId, type Digest, digestOf, sha256Hex } from '@cambium/base';
import { list, type Repo, Transaction } from '@cambium/ostree';
import { newRepo } from './image-trees.test.ts';
import { bigDataName, chainId, DEFAULT_META, linkName, type StoreImage, writePodmanStore } from './index.ts';

const A = `sha256:${'a'.repeat(64)}` as DiffId;
const B = `sha256:${'b'.repeat(64)}` as DiffId;

test('chain IDs are those of the OCI specification', () => {
  assert.equal(chainId([]), undefined);
  assert.equal(chainId([A]), 'a'.repeat(64));
  assert.equal(chainId([A, B]), sha256Hex(`${A} ${B}`));
  assert.equal(chainId([A, B, A]), sha256Hex(`sha256:${sha256Hex(`${A} ${B}`)} ${A}`));
});

test('link names are 26 characters of base32, as podman makes them, and differ', () => {
  const names = Array.from({ length: 500 }, (_, i) => linkName(sha256Hex(String(i))));
  for (const name of names) assert.match(name, /^[A-Z2-7]{26}$/);
  assert.equal(new Set(names).size, 500);
  // The first 130 bits of the hash: computed apart, bit by bit.
  const bits = [...sha256Hex(sha256Hex('0'))].map((digit) => Number.parseInt(digit, 16).toString(2).padStart(4, '0')).join('');
  const wanted = (bits.slice(0, 130).match(/.{5}/g) ?? []).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(five, 2)]).join('');
  assert.equal(linkName(sha256Hex('0')), wanted);
});

test('big data is filed as containers/storage files it', () => {
  assert.equal(bigDataName('manifest'), 'manifest');
  assert.equal(bigDataName('sha256:ab'), `=${Buffer.from('sha256:ab').toString('base64')}`);
  assert.equal(bigDataName('Upper'), '=VXBwZXI=');
});

function image(
  repo: { root: StoreImage['root'] },
  name: string,
  diffIds: readonly DiffId[],
  more: Partial<StoreImage> & { created?: string } = {},
): StoreImage {
  const config = Buffer.from(JSON.stringify({ name, ...(more.created === undefined ? {} : { created: more.created }) }));
  const manifest = Buffer.from(`manifest of ${name}`);
  return {
    names: [`registry.example/${name}:1`],
    index: undefined,
    manifest: { digest: digestOf(manifest), bytes: manifest },
    config: { digest: digestOf(config), bytes: config },
    diffIds,
    root: repo.root,
    contentBytes: 42n,
    ...more,
  };
}

async function storeOf(repo: Repo, make: (at: { root: StoreImage['root'] }) => StoreImage[]): Promise<{ tree: string; files: Map<string, string> }> {
  const transaction = await Transaction.begin(repo);
  try {
    const root = { tree: transaction.writeDirTree({ files: [], dirs: [] }), meta: transaction.writeDirMeta(DEFAULT_META) };
    const store = await writePodmanStore(transaction, make({ root }));
    const files = new Map<string, string>();
    for (const { path, kind, checksum, target } of list(repo, store, '/', { recursive: true })) {
      files.set(
        path,
        kind === 'symlink' ? target : kind === 'file' && checksum !== undefined ? Buffer.from(repo.readFile(checksum, 1 << 20)).toString() : kind,
      );
    }
    return { tree: store.tree, files };
  } finally {
    await transaction.abort();
  }
}

test('the same images in any order give the same store; equal ones are one record, equal layers one layer', async (t) => {
  const repo = await newRepo(t);
  const index = { digest: digestOf('index'), bytes: Buffer.from('index') };
  const make = (at: { root: StoreImage['root'] }): StoreImage[] => [
    image(at, 'web', [A, B], { created: '2024-05-06T07:08:09.123456789Z' }),
    image(at, 'web', [A, B], { names: ['registry.example/alias:2'], index, created: '2024-05-06T07:08:09.123456789Z' }),
    image(at, 'other', [A, B], { created: 'yesterday' }),
    image(at, 'single', [A]),
    image(at, 'empty', []),
  ];
  const first = await storeOf(repo, make);
  for (const order of [(list: StoreImage[]) => list.toReversed(), (list: StoreImage[]) => [list[3], list[0], list[4], list[2], list[1]] as StoreImage[]]) {
    assert.equal((await storeOf(repo, (at) => order(make(at)))).tree, first.tree);
  }

  const images = JSON.parse(first.files.get('/overlay-images/images.json') ?? '') as {
    id: string;
    names: string[];
    layer: string;
    'big-data-names': string[];
    'big-data-digests': Record<string, Digest>;
  }[];
  const layers = JSON.parse(first.files.get('/overlay-layers/layers.json') ?? '') as {
    id: string;
    created: string;
    'diff-digest': string;
    'diff-size': number;
  }[];
  assert.deepEqual(
    images.map(({ names }) => names.toSorted()).sort(),
    [['registry.example/alias:2', 'registry.example/web:1'], ['registry.example/empty:1'], ['registry.example/other:1'], ['registry.example/single:1']].sort(),
  );
  assert.deepEqual(
    images.map(({ id }) => id),
    images.map(({ id }) => id).toSorted(),
  );
  assert.equal(layers.length, 3);
  for (const { layer, id, ...record } of images) {
    assert.ok(layers.some((known) => known.id === layer));
    for (const key of record['big-data-names']) {
      const content = first.files.get(`/overlay-images/${id}/${bigDataName(key)}`) as string;
      assert.equal(digestOf(content), record['big-data-digests'][key]);
    }
  }
  const merged = images.find(({ names }) => names.length === 2);
  assert.equal(merged?.['big-data-names'].includes(`manifest-${index.digest}`), true);
  // A squashed layer must not pass for one of the layers that it was made of.
  assert.equal(layers.find(({ id }) => id === chainId([A]))?.['diff-digest'], A);
  assert.equal(layers.find(({ id }) => id === chainId([A, B]))?.['diff-digest'], `sha256:${chainId([A, B])}`);
  for (const { id, created, ...layer } of layers) {
    assert.match(created, /^(2024-05-06T07:08:09\.123456789Z|1970-01-01T00:00:00Z)$/);
    assert.equal(layer['diff-size'], 42);
    const link = first.files.get(`/overlay/${id}/link`) as string;
    assert.equal(first.files.get(`/overlay/l/${link}`), `../${id}/diff`);
    assert.equal(first.files.get(`/overlay/${id}/diff`), 'directory');
  }
  assert.equal(first.files.get('/overlay-images/images.lock'), '');
});
