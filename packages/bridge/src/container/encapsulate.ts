/** A commit as a container image: one layer, or its content in chunks that components share. Format: `docs/formats/ostree-container.md`. */
import { createHash } from 'node:crypto';
import { gzipParallel } from '@cambium/archive';
import { type Bytes, bytesOf, type Checksum, type Digest, digestOf, stableJson } from '@cambium/base';
import { type Descriptor, type ImageSink, type Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '@cambium/oci';
import { type Commit, type DirMeta, findPath, type Repo } from '@cambium/ostree';
import { chunkName, MAX_LAYERS, packComponents } from './chunk-plan.ts';
import type { ContentOwners } from './components.ts';
import { chunkLayer, commitLayer, type LayerContent, type ParentDirectories } from './container-layers.ts';
import { COMPONENTS_ANNOTATION, configOf, FINAL_DIFF_ID_LABEL, type LabelOptions, labelsOf } from './image-labels.ts';

export type EncapsulateEvent =
  | { type: 'plan'; layers: readonly { name: string; objects: number; components: readonly string[] }[] }
  | { type: 'layer'; name: string; digest: string; diffId: string; size: number };

export interface EncapsulateOptions extends LabelOptions {
  /** Puts the content into chunk layers; absent: all of it into one layer. */
  owners?: ContentOwners | undefined;
  /** Most chunk layers; those of the owners, or {@link MAX_LAYERS}, unless stated. */
  maxLayers?: number | undefined;
  /** Manifest of the image of before: what is in one layer stays in one. */
  previous?: Manifest | undefined;
  /** 1: chunks hold files alone; 2: with the directories that they are in. Changes every layer. */
  formatVersion?: 1 | 2 | undefined;
  platform: { os: string; architecture: string; variant?: string };
  created?: string | undefined;
  config?: Readonly<Record<string, unknown>> | undefined;
  cmd?: readonly string[] | undefined;
  /** Of gzip, 1 to 9. */
  compressionLevel?: number | undefined;
  signal?: AbortSignal | undefined;
  on?: ((event: EncapsulateEvent) => void) | undefined;
}

export interface Encapsulated {
  digest: Digest;
  layers: readonly { name: string; digest: Digest; diffId: string; size: number; components?: readonly string[] }[];
}

/** A layer before it is written. */
interface Planned {
  name: string;
  components?: string[];
  objects: number;
  open(): Bytes;
}

/**
 * Writes a commit as an image; the sink's name appears last.
 *
 * @throws BRIDGE_COMMIT_META_MISSING, BRIDGE_LAYERS_TOO_FEW, OSTREE_OBJECT_MISSING, OSTREE_OBJECT_CORRUPT, and what the sink throws
 */
export async function encapsulate(repo: Repo, checksum: Checksum, sink: ImageSink, options: EncapsulateOptions): Promise<Encapsulated> {
  const { signal, on } = options;
  const commit = repo.readCommit(checksum);
  const labels = labelsOf(checksum, commit, { ...options, labels: { ...options.labels, ...options.owners?.labels } });
  const planned = planLayers(repo, checksum, commit, options);
  on?.({ type: 'plan', layers: planned.map(({ name, objects, components = [] }) => ({ name, objects, components })) });

  const layers: (Encapsulated['layers'][number] & { descriptor: Descriptor })[] = [];
  for (const layer of planned) {
    let diffId = '';
    const open = (): Bytes =>
      gzipParallel(
        hashed(layer.open(), (digest) => (diffId = digest)),
        options.compressionLevel,
      );
    const { digest, size } = await sink.putBlob({ open }, signal);
    const annotations = layer.components === undefined ? {} : { annotations: { [COMPONENTS_ANNOTATION]: layer.components.join(',') } };
    const { name, components } = layer;
    layers.push({
      name,
      digest,
      diffId,
      size,
      ...(components === undefined ? {} : { components }),
      descriptor: { mediaType: `${OCI_LAYER}+gzip`, digest, size, ...annotations },
    });
    on?.({ type: 'layer', name, digest, diffId, size });
  }
  labels[FINAL_DIFF_ID_LABEL] = (layers.at(-1) as (typeof layers)[number]).diffId;
  const config = configOf({
    commit,
    ...options.platform,
    created: options.created ?? options.owners?.created,
    base: options.config,
    cmd: options.cmd,
    labels,
    layers: layers.map(({ diffId, name }) => ({ diffId, createdBy: name })),
  });
  const configBytes = new TextEncoder().encode(stableJson(config));
  const known = { digest: digestOf(configBytes), size: configBytes.byteLength };
  if (!(await sink.hasBlob(known, signal))) await sink.putBlob({ known, open: () => bytesOf(configBytes) }, signal);
  const value: Manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: OCI_CONFIG, ...known },
    layers: layers.map(({ descriptor }) => descriptor),
    annotations: labels,
  };
  const bytes = new TextEncoder().encode(stableJson(value));
  const digest = digestOf(bytes);
  await sink.finish({ mediaType: OCI_MANIFEST, digest, bytes, value }, signal);
  return { digest, layers: layers.map(({ descriptor: _descriptor, ...layer }) => layer) };
}

function planLayers(repo: Repo, checksum: Checksum, commit: Commit, options: EncapsulateOptions): Planned[] {
  const { owners, signal } = options;
  const first = commit.subject === '' ? `ostree export of commit ${checksum}` : commit.subject;
  if (owners === undefined) return [{ name: first, objects: 0, open: () => commitLayer(repo, checksum, commit, { signal }) }];
  const previous = options.previous?.layers
    .slice(1)
    .map(({ annotations }) => (annotations?.[COMPONENTS_ANNOTATION] ?? '').split(',').filter((name) => name !== ''));
  const bins = packComponents(owners.components, options.maxLayers ?? owners.maxLayers ?? MAX_LAYERS, previous);
  const parents = options.formatVersion === 2 ? parentsOf(repo, commit) : undefined;
  const chunks = bins.map((bin): Planned => {
    const content = new Map<Checksum, readonly string[]>();
    for (const { identifier } of bin)
      for (const [object, paths] of owners.content.get(identifier) ?? []) content.set(object, [...(content.get(object) ?? []), ...paths]);
    return {
      name: chunkName(bin),
      components: bin.map(({ name }) => name).sort(),
      objects: content.size,
      open: () => chunkLayer(repo, content, { signal, ...(parents === undefined ? {} : { parents }) }),
    };
  });
  const remainder: LayerContent = new Map();
  return [{ name: first, objects: 0, open: () => commitLayer(repo, checksum, commit, { remainder, signal }) }, ...chunks];
}

/** Directories by their path in the image. */
function parentsOf(repo: Repo, commit: Commit): ParentDirectories {
  const known = new Map<string, DirMeta | undefined>();
  return (path) => {
    if (!known.has(path)) {
      const inCommit = path === 'etc' || path.startsWith('etc/') ? `usr/${path}` : path;
      const node = findPath(repo, commit.root, `/${inCommit}`);
      known.set(path, node?.kind === 'directory' ? repo.readDirMeta(node.meta) : undefined);
    }
    return known.get(path);
  };
}

async function* hashed(source: Bytes, tell: (digest: string) => void): Bytes {
  const hash = createHash('sha256');
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
  tell(`sha256:${hash.digest('hex')}`);
}
