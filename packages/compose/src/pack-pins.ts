/**
 * From the images of a model to pinned references, and back into the compose file.
 */
import { readFileSync } from 'node:fs';
import { type Digest, isKnownError } from '@cambium/base';
import type { StoredImage, StoreImage } from '@cambium/bridge';
import { parseImageReference, parsePlatform, type WantedPlatform } from '@cambium/oci';
import { composeError } from './errors.ts';
import type { PlannedImage, WantedImage } from './pack-images.ts';
import { pinImages } from './pin-source.ts';
import { portableModel } from './portable-model.ts';
import { printModel } from './print-model.ts';
import type { ImageUse, Project } from './types.ts';

/** Returns the images to pack. @throws COMPOSE_BUILD_ONLY, COMPOSE_IMAGE_SOURCE_UNUSED, OCI_REFERENCE_INVALID, OCI_PLATFORM_INVALID */
export function wantedImages(project: Project, options: { platform: WantedPlatform; imageSources?: ReadonlyMap<string, string> }): WantedImage[] {
  if (project.buildOnly.length > 0) {
    throw composeError('COMPOSE_BUILD_ONLY', `Cannot pack services that are only built: ${project.buildOnly.join(', ')}`, {
      hint: 'Build and push the images first, and name them with "image:"',
      data: { services: project.buildOnly },
    });
  }
  const sources = options.imageSources ?? new Map<string, string>();
  const references = new Set(project.images.map(({ reference }) => reference));
  for (const reference of sources.keys()) {
    if (!references.has(reference)) {
      throw composeError('COMPOSE_IMAGE_SOURCE_UNUSED', `Cannot read "${reference}" from another place: no service has this image`, {
        hint: `Images of the project: ${[...references].join(', ')}`,
      });
    }
  }
  return project.images.map((use) => ({
    reference: use.reference,
    services: use.services,
    place: sources.get(use.reference) ?? `docker://${checkedReference(use.reference)}`,
    platform: use.platform === undefined ? options.platform : servicePlatform(use),
    platformText: use.platform,
  }));
}

function checkedReference(reference: string): string {
  parseImageReference(reference);
  return reference;
}

/** `linux/arm64/v8` as a service states it. */
function servicePlatform(use: ImageUse): WantedPlatform {
  const parts = (use.platform ?? '').split('/');
  const [architecture, variant] = parts.length > 1 ? parts.slice(1) : parts;
  return { ...parsePlatform(architecture ?? '', variant), explicit: true };
}

/** Names an image of the model: one reference may be wanted for two platforms. */
export function imageKey(reference: string, platformText: string | undefined): string {
  return `${reference}\0${platformText ?? ''}`;
}

/**
 * Returns what the packed compose file says: the full name, the tag for people, the digest for machines.
 * @throws COMPOSE_IMAGE_MISMATCH when the reference itself names another digest
 */
export function pinnedReference(image: PlannedImage): string {
  const { registry, repositoryName, tag, digest } = parseImageReference(image.reference);
  if (digest !== undefined && digest !== image.digest && digest !== image.resolved.manifest.digest) {
    throw composeError('COMPOSE_IMAGE_MISMATCH', `Cannot use ${image.place} for "${image.reference}": it has digest ${image.digest}`);
  }
  return `${registry}/${repositoryName}${tag === undefined ? '' : `:${tag}`}@${image.pin === image.digest ? (digest ?? image.pin) : image.pin}`;
}

/** Returns the images for the store. A name stands for one of them only, as engines require; the others go by their digest. */
export function storeImages(images: readonly PlannedImage[], stored: readonly StoredImage[]): StoreImage[] {
  const named = new Map<string, Digest>();
  return images.map((image, i) => {
    const { registry, repositoryName, tag } = parseImageReference(image.reference);
    const name = `${registry}/${repositoryName}`;
    const config = image.resolved.config.digest;
    const tagged = tag === undefined ? `${name}@${image.pin}` : `${name}:${tag}`;
    if (!named.has(tagged)) named.set(tagged, config);
    return { ...(stored[i] as StoredImage), index: image.resolved.index, names: [named.get(tagged) === config ? tagged : `${name}@${image.pin}`] };
  });
}

/** Returns whether one compose file makes the project: it is then shipped as it was written. */
export function isSingleFile(project: Project): boolean {
  return project.files.filter(({ role }) => role !== 'env').length === 1;
}

export interface PinnedCompose {
  text: string;
  /** The source with its image scalars changed, or the resolved model where several files make the project or the source cannot say it. */
  form: 'as-written' | 'resolved';
  /** Images in the text that are not packed: those of services whose profiles are not. */
  unpinned: ImageUse[];
}

/** Returns the compose file to ship. */
export function pinnedCompose(project: Project, stdin: string | undefined, pins: ReadonlyMap<string, string>, warn: (message: string) => void): PinnedCompose {
  const pinOf = (use: { reference: string; platform?: string }): string => pins.get(imageKey(use.reference, use.platform)) as string;
  const [source] = project.files;
  const { needFiles, images: others } = project.inactive;
  const writtenServes = isSingleFile(project) && needFiles.length === 0;
  if (isSingleFile(project) && !writtenServes) {
    warn(`Services of other profiles need files that are not packed (${needFiles.join(', ')}): the resolved model is packed instead, without these services`);
  }
  if (source !== undefined && writtenServes) {
    const isPacked = (use: ImageUse): boolean => pins.has(imageKey(use.reference, use.platform));
    const replacements = new Map<string, string>();
    const elsewhere: { path: ImageUse['paths'][number]; value: string }[] = [];
    for (const use of [...project.images, ...others.filter(isPacked)]) {
      for (const path of use.paths) {
        if (path.length === 3 && path[2] === 'image') replacements.set(String(path[1]), pinOf(use));
        else elsewhere.push({ path, value: pinOf(use) });
      }
    }
    try {
      const text = source.path === '-' ? (stdin ?? '') : readFileSync(source.path, 'utf8');
      return {
        text: pinImages({ source: text, file: source.path, replacements, others: elsewhere }),
        form: 'as-written',
        unpinned: others.filter((use) => !isPacked(use)),
      };
    } catch (error) {
      if (!isKnownError(error, 'COMPOSE_PIN_NOT_IN_PLACE')) throw error;
      warn(`${error.message}: the resolved model is packed instead`);
    }
  }
  return { text: printModel(portableModel(project, { pin: pinOf })), form: 'resolved', unpinned: [] };
}
