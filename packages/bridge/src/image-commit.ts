/**
 * Image commits: one image's squashed root filesystem as an OSTree commit under a ref by its manifest digest,
 * with the documents that made it. Format: `docs/formats/layer-commits.md`.
 */
import { type Checksum, type DiffId, type Digest, parseDiffId, parseDigest, splitDigest } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import type { DocumentCache } from '@cambium/oci';
import { type Metadata, MutableTree, type Repo, type Transaction, type TreeRoot } from '@cambium/ostree';
import { createSquash, type DirectoryStore } from '@cambium/tree';
import { bridgeError } from './errors.ts';
import { DEFAULT_META, IMPLIED_META, type LayerCommit, type LayerLink, type SkippedEntry } from './layer-commit.ts';
import { byName } from './layer-tree.ts';

export const IMAGE_REF_PREFIX = 'cambium/images/';
/** Changes whenever the same layers would give another tree. */
const FORMAT_VERSION = 1;

export interface ImageDocuments {
  manifest: { digest: Digest; bytes: Uint8Array };
  config: { digest: Digest; bytes: Uint8Array };
  diffIds: readonly DiffId[];
}

export interface StoredImage extends ImageDocuments {
  commit: Checksum;
  /** The squashed root filesystem. */
  root: TreeRoot;
  /** Bytes of regular files, summed over the layers. */
  contentBytes: bigint;
  skipped: readonly SkippedEntry[];
}

export function imageRef(manifest: Digest): string {
  const { algorithm, hex } = splitDigest(manifest);
  return `${IMAGE_REF_PREFIX}${algorithm}/${hex}`;
}

/** Squashes layers that are in the repository or the open transaction and writes the image's commit; the caller sets the ref. */
export function writeImageCommit(repo: Repo, transaction: Transaction, documents: ImageDocuments, layers: readonly LayerCommit[]): StoredImage {
  const root = squashLayers(repo, transaction, layers);
  const contentBytes = layers.reduce((sum, layer) => sum + layer.contentBytes, 0n);
  const skipped = layers.flatMap((layer) => layer.skipped);
  const metadata: Metadata = [
    ['ostree.ref-binding', new Variant('as', [imageRef(documents.manifest.digest)])],
    ['cambium.image.version', new Variant('u', FORMAT_VERSION)],
    ['cambium.image.manifest-digest', new Variant('s', documents.manifest.digest)],
    ['cambium.image.manifest', new Variant('ay', documents.manifest.bytes)],
    ['cambium.image.config-digest', new Variant('s', documents.config.digest)],
    ['cambium.image.config', new Variant('ay', documents.config.bytes)],
    ['cambium.image.diffids', new Variant('as', documents.diffIds)],
    ['cambium.image.content-bytes', new Variant('t', contentBytes)],
    [
      'cambium.image.skipped',
      new Variant(
        'a(ss)',
        skipped.map(({ path, kind }) => [path, kind]),
      ),
    ],
  ];
  const commit = transaction.writeCommit({
    metadata,
    parent: undefined,
    related: [],
    subject: `image ${documents.manifest.digest}`,
    body: '',
    timestamp: 0n,
    root,
  });
  return { ...documents, commit, root, contentBytes, skipped };
}

/** Returns the image kept under its ref, or undefined when the repository does not have it (or has it in an older form). */
export function findImageCommit(repo: Repo, manifest: Digest): StoredImage | undefined {
  const checksum = repo.refs.read(imageRef(manifest));
  return checksum === undefined || !repo.hasObject('commit', checksum) ? undefined : readImageCommit(repo, checksum);
}

function readImageCommit(repo: Repo, checksum: Checksum): StoredImage | undefined {
  const commit = repo.readCommit(checksum);
  const values = new Map(commit.metadata);
  const value = (key: string, type: string): unknown => {
    const variant = values.get(`cambium.image.${key}`);
    if (variant?.type !== type) {
      throw bridgeError('BRIDGE_IMAGE_COMMIT_INVALID', `Cannot use commit ${checksum}: not an image commit, it has no ${key}`, {
        hint: `Delete its ref below ${IMAGE_REF_PREFIX}; the image is then made again`,
      });
    }
    return variant.value;
  };
  if (value('version', 'u') !== FORMAT_VERSION) return undefined;
  return {
    commit: checksum,
    root: commit.root,
    manifest: { digest: parseDigest(value('manifest-digest', 's') as string), bytes: value('manifest', 'ay') as Uint8Array },
    config: { digest: parseDigest(value('config-digest', 's') as string), bytes: value('config', 'ay') as Uint8Array },
    diffIds: (value('diffids', 'as') as string[]).map(parseDiffId),
    contentBytes: value('content-bytes', 't') as bigint,
    skipped: (value('skipped', 'a(ss)') as [string, string][]).map(([path, kind]) => ({ path, kind })),
  };
}

/** Returns the manifests and configs of all images in the repository, read when first asked for. */
export function storedDocuments(repo: Repo): DocumentCache {
  let documents: Map<Digest, Uint8Array> | undefined;
  return {
    get(digest) {
      if (documents === undefined) {
        documents = new Map();
        for (const checksum of repo.refs.list(IMAGE_REF_PREFIX).values()) {
          const image = repo.hasObject('commit', checksum) ? readImageCommit(repo, checksum) : undefined;
          if (image === undefined) continue;
          documents.set(image.manifest.digest, image.manifest.bytes);
          documents.set(image.config.digest, image.config.bytes);
        }
      }
      return documents.get(digest);
    },
  };
}

function squashLayers(repo: Repo, transaction: Transaction, layers: readonly LayerCommit[]): TreeRoot {
  const store: DirectoryStore = {
    read: (tree) => repo.readDirTree(tree),
    write: (listing) => transaction.writeDirTree({ files: listing.files.toSorted(byName), dirs: listing.dirs.toSorted(byName) }),
    impliedMeta: transaction.writeDirMeta(IMPLIED_META),
    defaultMeta: transaction.writeDirMeta(DEFAULT_META),
  };
  const squash = createSquash(store);
  let stack: TreeRoot[] = [];
  for (const layer of layers) {
    // A hard link to a file that its own layer does not hold means the file as the layers below have it.
    const below = layer.links.length > 0 ? MutableTree.of(repo, squash(stack)) : undefined;
    stack.push(layer.root);
    if (below !== undefined) stack = [linkFiles(repo, transaction, squash(stack), below, layer)];
  }
  return squash(stack);
}

function linkFiles(repo: Repo, transaction: Transaction, root: TreeRoot, below: MutableTree, layer: { links: readonly LayerLink[]; diffId: DiffId }): TreeRoot {
  const tree = MutableTree.of(repo, root);
  for (const link of layer.links) {
    const checksum = below.lookup(link.target);
    if (typeof checksum !== 'string') {
      throw bridgeError('BRIDGE_LINK_TARGET_MISSING', `Cannot store link "${link.path}" of layer ${layer.diffId}: no file "${link.target}" in the image`, {
        data: { layer: layer.diffId, entry: link.path, target: link.target },
      });
    }
    const cut = link.path.lastIndexOf('/');
    const parent = tree.lookup(link.path.slice(0, Math.max(cut, 0)));
    if (!(parent instanceof MutableTree)) continue; // removed by a later entry of the same layer
    const name = link.path.slice(cut + 1);
    parent.remove(name);
    parent.setFile(name, checksum);
  }
  return tree.write(transaction);
}
