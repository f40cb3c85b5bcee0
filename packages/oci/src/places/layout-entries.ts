/** The entries of a layout's `index.json`: listed, added and removed. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stableJson } from '@cambium/base';
import { ociError } from '../errors.ts';
import { isIndex, MAX_MANIFEST_BYTES, parseManifestOrIndex } from '../image/documents.ts';
import { documentKind, OCI_INDEX } from '../image/media-types.ts';
import type { Descriptor, Index, Manifest } from '../image/types.ts';
import { lockFile, replaceFile } from './blob-file.ts';
import { directoryFiles, type ImageFiles } from './image-files.ts';
import { blobName, REF_NAME, readSmallFile } from './layout-files.ts';

/** Indexes in indexes: far above what anybody writes. */
const MAX_DEPTH = 8;

/** Returns `index.json`; an empty one where there is none. @throws OCI_LAYOUT_INVALID, OCI_MANIFEST_INVALID */
export async function readLayoutIndex(files: ImageFiles, signal?: AbortSignal): Promise<Index> {
  const bytes = await readSmallFile(files, 'index.json', MAX_MANIFEST_BYTES, signal);
  if (bytes === undefined) return { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] };
  const document = parseManifestOrIndex(bytes, { what: `"${files.path}" (index.json)` });
  if (!isIndex(document)) throw ociError('OCI_LAYOUT_INVALID', `Cannot use "${files.path}": its index.json is not an index`);
  return document.value;
}

export function nameOfEntry(entry: Descriptor): string | undefined {
  return entry.annotations?.[REF_NAME];
}

/** Shared by who writes blobs and exclusive to who deletes them. */
export const BLOBS_LOCK = '.blobs.lock';

/**
 * Changes the entries, alone among the processes that do. Nothing is written when nothing differs.
 *
 * @param change returns the new entries
 * @param options.before is called before new entries are seen
 */
export async function changeLayoutIndex(
  directory: string,
  change: (entries: readonly Descriptor[]) => Descriptor[],
  { signal, before }: { signal?: AbortSignal | undefined; before?: () => void } = {},
): Promise<void> {
  const files = directoryFiles(directory);
  const present = await readLayoutIndex(files, signal);
  if (stableJson(change(present.manifests)) === stableJson(present.manifests)) return;
  before?.();
  const lock = await lockFile(join(directory, '.index.json.lock'), 'exclusive', signal);
  try {
    const index = await readLayoutIndex(files, signal);
    await replaceFile(join(directory, 'index.json'), JSON.stringify({ ...index, manifests: change(index.manifests) }));
  } finally {
    await lock.release();
  }
}

/** Returns entries with `entry` in place of the one of its name, or of its digest when it has none. */
export function withEntry(entries: readonly Descriptor[], entry: Descriptor): Descriptor[] {
  const name = nameOfEntry(entry);
  const same = (present: Descriptor): boolean =>
    name === undefined ? present.digest === entry.digest && nameOfEntry(present) === undefined : nameOfEntry(present) === name;
  const at = entries.findIndex(same);
  const others = entries.filter((present) => !same(present));
  others.splice(at < 0 ? others.length : at, 0, entry);
  return others;
}

/**
 * Removes the blobs that no entry of the index leads to, alone with the layout, and returns their number. Where the index leads to something
 * that is not understood nothing is removed: it may lead further.
 *
 * @throws OCI_LAYOUT_INVALID, OCI_MANIFEST_INVALID
 */
export async function removeUnusedBlobs(directory: string, signal?: AbortSignal): Promise<{ blobs: number }> {
  const lock = await lockFile(join(directory, BLOBS_LOCK), 'exclusive', signal);
  try {
    const used = await usedBlobs(directory, signal);
    let blobs = 0;
    for (const algorithm of ['sha256', 'sha512']) {
      const names = await readdir(join(directory, 'blobs', algorithm)).catch(() => []);
      for (const name of names) {
        if (used.has(`${algorithm}:${name}`)) continue;
        await rm(join(directory, 'blobs', algorithm, name), { force: true });
        blobs++;
      }
    }
    return { blobs };
  } finally {
    await lock.release();
  }
}

async function usedBlobs(directory: string, signal: AbortSignal | undefined): Promise<Set<string>> {
  const files = directoryFiles(directory);
  const used = new Set<string>();
  const visited = new Set<string>();
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    used.add(descriptor.digest);
    if (visited.has(descriptor.digest)) return;
    visited.add(descriptor.digest);
    const what = `"${directory}" (${descriptor.digest})`;
    if (documentKind(descriptor.mediaType) === undefined || depth > MAX_DEPTH) {
      throw ociError(
        'OCI_LAYOUT_INVALID',
        `Cannot remove blobs from "${directory}": its index leads to ${descriptor.digest}, of the kind "${descriptor.mediaType.slice(0, 120)}"`,
        {
          hint: 'The image is deleted; its blobs stay',
        },
      );
    }
    const bytes = await readSmallFile(files, blobName(descriptor.digest), MAX_MANIFEST_BYTES, signal);
    // An image of which only some platforms were copied.
    if (bytes === undefined) return;
    const document = parseManifestOrIndex(bytes, { what, digest: descriptor.digest });
    if (isIndex(document)) for (const entry of document.value.manifests) await visit(entry, depth + 1);
    else for (const blob of [(document.value as Manifest).config, ...(document.value as Manifest).layers]) used.add(blob.digest);
  };
  for (const entry of (await readLayoutIndex(files, signal)).manifests) await visit(entry, 1);
  return used;
}
