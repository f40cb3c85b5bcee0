/** What needs which checkouts: containers, and images that podman keeps itself on top of a layer of ours. */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, listContainers, type PodmanOptions, podmanStorage } from './podman.ts';
import { type Checkout, imagesInStore } from './state.ts';
import { readStoreRecords } from './store-records.ts';

/** An image in podman's own storage that stands on a layer it does not have there: built on, or pulled beside, one of a read-only store. */
export interface DependentImage {
  id: string;
  /** First name, else the ID. */
  name: string;
  /** The layers of other stores below it. */
  layers: readonly string[];
}

export interface Users {
  containers: readonly Container[];
  images: readonly DependentImage[];
}

/** Asks podman for everything that may need a store. @throws DEVICE_PODMAN_MISSING DEVICE_PODMAN_FAILED */
export async function listUsers(podman: PodmanOptions, signal?: AbortSignal): Promise<Users> {
  const containers = await listContainers(podman, signal);
  const { graphRoot } = await podmanStorage(podman, signal);
  return { containers, images: graphRoot === '' ? [] : dependentImages(graphRoot) };
}

/**
 * Returns what needs `checkouts`: containers made from an image that only they offer or with files of theirs mounted,
 * and images with a layer that only they offer.
 *
 * @param others checkouts that stay and are listed: an image or layer that one of them has keeps its users going, since equal IDs mean equal files
 */
export function usersOf(checkouts: readonly Checkout[], others: readonly Checkout[], users: Users): Users {
  const only = (read: (store: string) => string[]): Set<string> => {
    const elsewhere = new Set(others.flatMap(({ store }) => read(store)));
    return new Set(checkouts.flatMap(({ store }) => read(store)).filter((id) => !elsewhere.has(id)));
  };
  const images = only(imagesInStore);
  const layers = only((store) => recordsIn(join(store, 'overlay-layers/layers.json')).map(({ id }) => id));
  const roots = checkouts.flatMap(({ path }) => [path, resolved(path)]).map((path) => join(path, '/'));
  const mounts = (container: Container): boolean => container.sources.some((source) => roots.some((root) => join(source, '/').startsWith(root)));
  return {
    containers: users.containers.filter((container) => images.has(container.imageId) || mounts(container)),
    images: users.images.filter((image) => image.layers.some((layer) => layers.has(layer))),
  };
}

/** Returns the names, as in `container "web_1", image "localhost/mine:1"`; empty when there is nothing. */
export function describeUsers({ containers, images }: Users): string {
  const list = (kind: string, names: readonly string[]): string[] =>
    names.length === 0 ? [] : [`${kind}${names.length === 1 ? '' : 's'} ${names.map((name) => `"${name}"`).join(', ')}`];
  return [
    ...list(
      'container',
      containers.map(({ name }) => name),
    ),
    ...list(
      'image',
      images.map(({ name }) => name),
    ),
  ].join(', ');
}

/** Reads podman's own storage: its commands tell what an image is called and made of, not which store its layers are in. */
function dependentImages(graphRoot: string): DependentImage[] {
  const layers = new Map(recordsIn(join(graphRoot, 'overlay-layers/layers.json')).map((layer) => [layer.id, layer]));
  return recordsIn(join(graphRoot, 'overlay-images/images.json')).flatMap(({ id, layer, names }) => {
    const foreign: string[] = [];
    const seen = new Set<string>();
    for (let at = layer; at !== undefined && !seen.has(at); at = layers.get(at)?.parent) {
      seen.add(at);
      if (!layers.has(at)) foreign.push(at);
    }
    return foreign.length === 0 ? [] : [{ id, name: names[0] ?? id, layers: foreign }];
  });
}

interface StoreRecord {
  id: string;
  parent: string | undefined;
  layer: string | undefined;
  names: string[];
}

function recordsIn(path: string): StoreRecord[] {
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  return readStoreRecords(path).map((record) => ({
    id: text(record.id) ?? '',
    parent: text(record.parent),
    layer: text(record.layer),
    names: Array.isArray(record.names) ? record.names.filter((name) => typeof name === 'string') : [],
  }));
}

function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
