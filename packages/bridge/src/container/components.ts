/** Who owns the content of a commit: components, as packages are, and how large they are and how often they change. */
import { type Checksum, isChecksum, isKnownError, isRecord, parseJson } from '@cambium/base';
import type { Repo, TreeRoot } from '@cambium/ostree';
import { walkTree } from '@cambium/ostree';
import { bridgeError } from '../errors.ts';
import type { LayerContent } from './container-layers.ts';

/** Of what changes with every build. */
export const ALWAYS_CHANGES = 0xffff_ffff;

export interface Component {
  /** Unique; may have the version in it. */
  identifier: string;
  /** The same from version to version. */
  name: string;
  /** Bytes of its regular files. */
  size: number;
  /** How often it changed in the last year; {@link ALWAYS_CHANGES} is the highest. */
  changeFrequency: number;
}

/** The components of a commit with what each owns; all content objects are somewhere. */
export interface ContentOwners {
  components: readonly Component[];
  /** By identifier. */
  content: ReadonlyMap<string, LayerContent>;
  /** Most chunk layers that they are to be packed into, when the owner says it. */
  maxLayers?: number;
  created?: string;
  labels?: Readonly<Record<string, string>>;
}

/** Returns every content object of a commit with its paths, without leading slashes, in the order of the tree. */
export function contentOf(repo: Repo, root: TreeRoot): Map<Checksum, string[]> {
  const found = new Map<Checksum, string[]>();
  for (const node of walkTree(repo, root.tree)) {
    if (node.kind !== 'file' || node.path.startsWith('/sysroot/')) continue;
    const path = node.path.slice(1);
    const paths = found.get(node.checksum);
    if (paths === undefined) found.set(node.checksum, [path]);
    else paths.push(path);
  }
  return found;
}

/**
 * Reads the content metadata of `ostree container encapsulate --contentmeta`: each of its layers becomes one, and one more is kept
 * for what comes later.
 *
 * @throws BRIDGE_CONTENT_META_INVALID
 */
export function ownersFromContentMeta(bytes: Uint8Array, content: LayerContent): ContentOwners {
  const fail = (reason: string): Error => bridgeError('BRIDGE_CONTENT_META_INVALID', `Cannot use the content metadata: ${reason}`);
  const { layers, mapping, created, labels } = parseContentMeta(bytes, fail);
  const owned = new Map<string, Map<Checksum, readonly string[]>>(Object.keys(layers).map((id) => [id, new Map()]));
  const missing: string[] = [];
  for (const [checksum, paths] of content) {
    const id = mapping[checksum];
    const owner = id === undefined ? undefined : owned.get(id);
    if (id !== undefined && owner === undefined) throw fail(`object ${checksum} is of the layer "${id.slice(0, 100)}", which it does not list`);
    if (owner === undefined) missing.push(paths[0] as string);
    else owner.set(checksum, paths);
  }
  if (missing.length > 0) throw fail(`it gives no layer to ${missing.length} of the commit's objects, as that of /${missing[0]}`);
  const components = Object.entries(layers).map(([identifier, name]) => ({
    identifier,
    name,
    size: 1,
    changeFrequency: identifier === 'unpackaged' ? ALWAYS_CHANGES : 1,
  }));
  return {
    components,
    content: owned,
    maxLayers: components.length + 1,
    ...(created === undefined ? {} : { created }),
    ...(labels === undefined ? {} : { labels }),
  };
}

interface ContentMeta {
  created?: string;
  labels?: Record<string, string>;
  layers: Record<string, string>;
  mapping: Record<string, string>;
}

function parseContentMeta(bytes: Uint8Array, fail: (reason: string) => Error): ContentMeta {
  let value: unknown;
  try {
    value = parseJson(bytes, 'content metadata');
  } catch (error) {
    if (!isKnownError(error)) throw error;
    throw fail('it is not JSON');
  }
  if (!isRecord(value)) throw fail('it is not an object');
  const { version, created, labels, layers, mapping, ordered } = value;
  if (version !== 1) throw fail('its version is not 1');
  if (ordered !== undefined && ordered !== false) throw fail('an order of layers is not supported');
  if (created !== undefined && (typeof created !== 'string' || Number.isNaN(Date.parse(created)))) throw fail('"created" is not a time');
  if (labels !== undefined && !isTexts(labels)) throw fail('"labels" are not texts');
  if (!isTexts(layers)) throw fail('"layers" is not a table of names');
  if (!isTexts(mapping) || !Object.keys(mapping).every(isChecksum)) throw fail('"mapping" is not a table from checksums to layers');
  return { layers, mapping, ...(created === undefined ? {} : { created }), ...(labels === undefined ? {} : { labels }) };
}

function isTexts(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((text) => typeof text === 'string');
}
