/**
 * The podman store: a read-only additional image store (containers/storage, overlay driver) as an OSTree tree.
 *
 * Each image is one squashed layer with its original manifest and config, so that its original digests resolve.
 * Format: `docs/formats/podman-store.md`.
 */
import { type DiffId, type Digest, isRecord, sha256Hex, splitDigest, stableJson } from '@cambium/base';
import { type FileHeader, MutableTree, type Transaction, type TreeRoot } from '@cambium/ostree';
import { S_IFLNK, S_IFREG } from '@cambium/tree';
import { DEFAULT_META } from './layer-commit.ts';

export interface StoreImage {
  /** Fully qualified names with tag, as in `docker.io/library/nginx:1.25`. */
  names: readonly string[];
  /** The index the reference named, when it named one. */
  index: { digest: Digest; bytes: Uint8Array } | undefined;
  manifest: { digest: Digest; bytes: Uint8Array };
  config: { digest: Digest; bytes: Uint8Array };
  diffIds: readonly DiffId[];
  root: TreeRoot;
  contentBytes: bigint;
}

const FILE: FileHeader = { uid: 0, gid: 0, mode: S_IFREG | 0o644, target: '', xattrs: [] };
const LINK: FileHeader = { uid: 0, gid: 0, mode: S_IFLNK | 0o777, target: '', xattrs: [] };
const EPOCH = '1970-01-01T00:00:00Z';
const NOTHING = new Uint8Array(0);

/** Writes the store's metadata beside the squashed trees; the same images give the same tree, in any order. */
export async function writePodmanStore(transaction: Transaction, images: readonly StoreImage[]): Promise<TreeRoot> {
  const content = transaction.content();
  const meta = transaction.writeDirMeta(DEFAULT_META);
  const pending: Promise<void>[] = [];
  const put = (directory: MutableTree, name: string, header: FileHeader, bytes: Uint8Array): void => {
    pending.push(content.add(header, bytes).then((checksum) => directory.setFile(name, checksum)));
  };
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const directoryIn = (parent: MutableTree, name: string): MutableTree => {
    const child = parent.ensureDirectory(name);
    child.meta = meta;
    return child;
  };

  const store = MutableTree.empty();
  store.meta = meta;
  const overlay = directoryIn(store, 'overlay');
  const links = directoryIn(overlay, 'l');
  const layerRecords = directoryIn(store, 'overlay-layers');
  const imageRecords = directoryIn(store, 'overlay-images');

  const layers = new Map<string, Record<string, unknown>>();
  const roots: { id: string; root: TreeRoot }[] = [];
  const records = mergeRecords(images);
  for (const record of records) {
    if (!layers.has(record.layerId)) {
      const layer = directoryIn(overlay, record.layerId);
      const link = linkName(record.layerId);
      put(layer, 'link', FILE, text(link));
      put(links, link, { ...LINK, target: `../${record.layerId}/diff` }, NOTHING);
      roots.push({ id: record.layerId, root: record.root });
      layers.set(record.layerId, { id: record.layerId, created: record.created, 'diff-digest': record.diffDigest, 'diff-size': Number(record.contentBytes) });
    }
    const directory = directoryIn(imageRecords, record.id);
    for (const [key, bytes] of record.bigData) put(directory, bigDataName(key), FILE, bytes);
  }
  put(layerRecords, 'layers.json', FILE, text(stableJson([...layers.values()])));
  put(layerRecords, 'layers.lock', FILE, NOTHING);
  put(imageRecords, 'images.json', FILE, text(stableJson(records.map(imageJson))));
  put(imageRecords, 'images.lock', FILE, NOTHING);
  // Together: a promise that is waited for only later would end the process when it fails first.
  await Promise.all([content.flush(), ...pending]);
  for (const { id, root } of roots) overlay.ensureDirectory(id).setDirectory('diff', MutableTree.of(transaction.repo, root));
  return store.write(transaction);
}

interface ImageRecord {
  id: string;
  layerId: string;
  diffDigest: string;
  digest: Digest;
  names: string[];
  created: string;
  root: TreeRoot;
  contentBytes: bigint;
  bigData: Map<string, Uint8Array>;
}

/** One record per image ID: two references may name one image, even through different indexes. */
function mergeRecords(images: readonly StoreImage[]): ImageRecord[] {
  const records = new Map<string, ImageRecord>();
  for (const image of images.toSorted((a, b) => (order(a) < order(b) ? -1 : 1))) {
    const id = splitDigest(image.config.digest).hex;
    let record = records.get(id);
    if (record === undefined) {
      const layerId = chainId(image.diffIds) ?? sha256Hex(image.config.digest);
      const [only, ...others] = image.diffIds;
      record = {
        id,
        layerId,
        // Engines reuse layers by this digest when they pull: a squashed layer must not claim to be one of its parts.
        diffDigest: only !== undefined && others.length === 0 ? only : `sha256:${layerId}`,
        digest: image.index?.digest ?? image.manifest.digest,
        names: [],
        created: createdOf(image.config.bytes),
        root: image.root,
        contentBytes: image.contentBytes,
        bigData: new Map([
          [image.config.digest, image.config.bytes],
          ['manifest', image.manifest.bytes],
        ]),
      };
      records.set(id, record);
    }
    record.bigData.set(`manifest-${image.manifest.digest}`, image.manifest.bytes);
    if (image.index !== undefined) record.bigData.set(`manifest-${image.index.digest}`, image.index.bytes);
    for (const name of image.names) if (!record.names.includes(name)) record.names.push(name);
  }
  return [...records.values()];
}

function order(image: StoreImage): string {
  return `${image.config.digest} ${image.index?.digest ?? ''} ${image.manifest.digest} ${image.names.join(' ')}`;
}

function imageJson(record: ImageRecord): Record<string, unknown> {
  const keys = [...record.bigData.keys()];
  return {
    id: record.id,
    digest: record.digest,
    layer: record.layerId,
    names: record.names,
    created: record.created,
    'big-data-names': keys,
    'big-data-sizes': Object.fromEntries(Array.from(record.bigData, ([key, bytes]) => [key, bytes.byteLength])),
    'big-data-digests': Object.fromEntries(Array.from(record.bigData, ([key, bytes]) => [key, `sha256:${sha256Hex(bytes)}`])),
  };
}

/** Returns the chain ID of a stack of layers as 64 hex digits. Source: OCI image-spec 1.1, config.md "Layer ChainID". */
export function chainId(diffIds: readonly DiffId[]): string | undefined {
  let chain: string | undefined;
  for (const diffId of diffIds) chain = chain === undefined ? diffId : `sha256:${sha256Hex(`${chain} ${diffId}`)}`;
  return chain === undefined ? undefined : splitDigest(chain as Digest).hex;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** Returns the 26 characters by which overlay mounts a layer: random in podman, here derived so that stores are reproducible. */
export function linkName(layerId: string): string {
  const bits = BigInt(`0x${sha256Hex(layerId)}`);
  let name = '';
  for (let shift = 251n; name.length < 26; shift -= 5n) name += BASE32[Number((bits >> shift) & 31n)];
  return name;
}

/** Returns the file name of a big-data item: the key itself when plain, else `=` and its base64. */
export function bigDataName(key: string): string {
  return /^[0-9a-z.]+$/.test(key) ? key : `=${Buffer.from(key).toString('base64')}`;
}

function createdOf(config: Uint8Array): string {
  const value: unknown = JSON.parse(new TextDecoder().decode(config));
  const created = isRecord(value) ? value.created : undefined;
  return typeof created === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/.test(created) ? created : EPOCH;
}
