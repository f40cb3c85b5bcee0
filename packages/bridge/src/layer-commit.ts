/**
 * Layer commits: one image layer as an OSTree commit under a ref by its diffID.
 *
 * The tree is the layer's own content, whiteouts as `.wh.` files; directories that the layer does not describe itself
 * carry {@link IMPLIED_META}. Format: `docs/formats/layer-commits.md`.
 */
import { type Checksum, type DiffId, splitDigest } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import type { Commit, DirMeta, FileHeader, Metadata, Repo, Transaction, TreeRoot } from '@cambium/ostree';
import { S_IFDIR, S_IFREG } from '@cambium/tree';
import { bridgeError } from './errors.ts';

export const LAYER_REF_PREFIX = 'cambium/layers/';
const FORMAT_VERSION = 1;

/** Marks a directory that exists only because a path of the layer goes through it. */
export const IMPLIED_META: DirMeta = {
  uid: 0,
  gid: 0,
  mode: S_IFDIR | 0o755,
  xattrs: [[new TextEncoder().encode('user.cambium.implied'), new TextEncoder().encode('1')]],
};
/** What a directory gets that no layer describes: as container engines create it. */
export const DEFAULT_META: DirMeta = { uid: 0, gid: 0, mode: S_IFDIR | 0o755, xattrs: [] };
/** The one empty object behind every whiteout. */
export const WHITEOUT_HEADER: FileHeader = { uid: 0, gid: 0, mode: S_IFREG | 0o644, target: '', xattrs: [] };

/** What OSTree cannot hold: device nodes, FIFOs and sockets. */
export interface SkippedEntry {
  path: string;
  kind: string;
}

/** A hard link to a file of a lower layer, resolved when layers are squashed. */
export interface LayerLink {
  path: string;
  target: string;
}

export interface LayerFacts {
  diffId: DiffId;
  /** Bytes of regular files. */
  contentBytes: bigint;
  skipped: readonly SkippedEntry[];
  links: readonly LayerLink[];
}

export function layerRef(diffId: DiffId): string {
  const { algorithm, hex } = splitDigest(diffId);
  return `${LAYER_REF_PREFIX}${algorithm}/${hex}`;
}

/** Writes the commit of a layer; the same layer gives the same commit everywhere. */
export function writeLayerCommit(transaction: Transaction, root: TreeRoot, facts: LayerFacts): Checksum {
  const metadata: Metadata = [
    ['ostree.ref-binding', new Variant('as', [layerRef(facts.diffId)])],
    ['cambium.layer.version', new Variant('u', FORMAT_VERSION)],
    ['cambium.layer.diffid', new Variant('s', facts.diffId)],
    ['cambium.layer.content-bytes', new Variant('t', facts.contentBytes)],
    [
      'cambium.layer.skipped',
      new Variant(
        'a(ss)',
        facts.skipped.map(({ path, kind }) => [path, kind]),
      ),
    ],
    [
      'cambium.layer.links',
      new Variant(
        'a(ss)',
        facts.links.map(({ path, target }) => [path, target]),
      ),
    ],
  ];
  const commit: Commit = { metadata, parent: undefined, related: [], subject: `layer ${facts.diffId}`, body: '', timestamp: 0n, root };
  return transaction.writeCommit(commit);
}

export interface LayerCommit extends LayerFacts {
  commit: Checksum;
  root: TreeRoot;
}

/** Returns the layer kept under its ref, or undefined when the repository does not have it. */
export function findLayerCommit(repo: Repo, diffId: DiffId): LayerCommit | undefined {
  const checksum = repo.refs.read(layerRef(diffId));
  if (checksum === undefined || !repo.hasObject('commit', checksum)) return undefined;
  const commit = repo.readCommit(checksum);
  const values = new Map(commit.metadata);
  const pairs = (key: string): [string, string][] => (values.get(key)?.value ?? []) as [string, string][];
  if (values.get('cambium.layer.version')?.value !== FORMAT_VERSION || values.get('cambium.layer.diffid')?.value !== diffId) {
    throw bridgeError('BRIDGE_LAYER_COMMIT_INVALID', `Cannot use ref "${layerRef(diffId)}": not a layer commit of version ${FORMAT_VERSION}`, {
      hint: 'Delete the ref; the layer is then fetched again',
    });
  }
  return {
    commit: checksum,
    root: commit.root,
    diffId,
    contentBytes: values.get('cambium.layer.content-bytes')?.value as bigint,
    skipped: pairs('cambium.layer.skipped').map(([path, kind]) => ({ path, kind })),
    links: pairs('cambium.layer.links').map(([path, target]) => ({ path, target })),
  };
}
