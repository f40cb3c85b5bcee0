/**
 * Which layer and image refs no packed app needs any more.
 */
import type { Checksum, DiffId, Digest } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import type { Commit, Repo } from '@cambium/ostree';
import { IMAGE_REF_PREFIX, imageRef } from './image-commit.ts';
import { LAYER_REF_PREFIX, layerRef } from './layer-commit.ts';

/** Metadata key of an app commit: which images it was made of. */
const IMAGES_KEY = 'cambium.images';
const IMAGES_TYPE = 'a(sssas)';

/** One image of a packed app, as its commit records it. */
export interface AppImage {
  /** The reference in the Compose model. */
  reference: string;
  pinned: string;
  manifest: Digest;
  diffIds: readonly DiffId[];
}

export function appImagesMetadata(images: readonly AppImage[]): readonly [string, Variant] {
  return [
    IMAGES_KEY,
    new Variant(
      IMAGES_TYPE,
      images.map((image) => [image.reference, image.pinned, image.manifest, image.diffIds]),
    ),
  ];
}

/** Returns the images of an app commit; none for other commits. */
export function appImagesOf(commit: Commit): AppImage[] {
  const entry = commit.metadata.find(([key]) => key === IMAGES_KEY)?.[1];
  if (entry?.type !== IMAGES_TYPE) return [];
  return (entry.value as [string, string, Digest, DiffId[]][]).map(([reference, pinned, manifest, diffIds]) => ({ reference, pinned, manifest, diffIds }));
}

export interface UnusedRef {
  ref: string;
  commit: Checksum;
}

/** Returns the refs under `cambium/` that no other ref's current commit was made of. */
export function findUnusedRefs(repo: Repo): UnusedRef[] {
  const caches: UnusedRef[] = [];
  const needed = new Set<string>();
  for (const [ref, commit] of repo.refs.list()) {
    if (ref.startsWith(LAYER_REF_PREFIX) || ref.startsWith(IMAGE_REF_PREFIX)) {
      caches.push({ ref, commit });
    } else if (repo.hasObject('commit', commit)) {
      for (const image of appImagesOf(repo.readCommit(commit))) {
        needed.add(imageRef(image.manifest));
        for (const diffId of image.diffIds) needed.add(layerRef(diffId));
      }
    }
  }
  return caches.filter(({ ref }) => !needed.has(ref));
}
