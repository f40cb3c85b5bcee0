/**
 * Squashing: image layers to one tree, by merging directories. No file content is read or written.
 *
 * Layers hold their whiteouts as data (`.wh.NAME`, `.wh..wh..opq` files). Source: OCI image-spec 1.1, layer.md
 * "Whiteouts": a whiteout hides what came from lower layers only, whatever its place among its siblings.
 */
import type { Checksum } from '@cambium/base';
import { treeError } from './errors.ts';
import { parseWhiteout } from './whiteout.ts';

/** A directory's entries as references; a name stands in one of the lists only. Both are sorted by the bytes of the name. */
export interface DirectoryListing {
  files: readonly { name: string; checksum: Checksum }[];
  dirs: readonly { name: string; tree: Checksum; meta: Checksum }[];
}

/** A directory: its listing and its metadata, by reference. */
export interface DirectoryRef {
  tree: Checksum;
  meta: Checksum;
}

/** Where listings are kept. */
export interface DirectoryStore {
  read(tree: Checksum): DirectoryListing;
  /** Keeps a listing, sorting what it must, and returns its name. */
  write(listing: DirectoryListing): Checksum;
  /** Metadata that says "this layer names no metadata for the directory": the one of a lower layer holds. */
  readonly impliedMeta: Checksum;
  /** Metadata for a directory that no layer describes. */
  readonly defaultMeta: Checksum;
}

/** Deeper directories than any path of 4096 bytes can name are an attack on the stack. */
const MAX_DEPTH = 2048;

/**
 * Returns the tree that an overlay of `layers` (bottom first) shows.
 * A merge remembers what it has seen: pass the same function for images that share layers.
 *
 * @throws TREE_TOO_DEEP
 */
export function createSquash(store: DirectoryStore): (layers: readonly DirectoryRef[]) => DirectoryRef {
  const merged = new Map<string, Checksum>();

  /** `stack` holds the directories of one path, top layer first; lower ones than an opaque or replaced one are already gone. */
  function mergeDirectories(stack: readonly DirectoryRef[], depth: number): DirectoryRef {
    return { tree: mergeListings(stack, depth), meta: stack.find((directory) => directory.meta !== store.impliedMeta)?.meta ?? store.defaultMeta };
  }

  function mergeListings(stack: readonly DirectoryRef[], depth: number): Checksum {
    if (depth > MAX_DEPTH) throw treeError('TREE_TOO_DEEP', `Cannot squash layers: directories nested over ${MAX_DEPTH} deep`);
    const key = stack.map((directory) => directory.tree).join('');
    const known = merged.get(key);
    if (known !== undefined) return known;

    const files = new Map<string, Checksum>();
    const dirs = new Map<string, { open: boolean; stack: DirectoryRef[] }>();
    const hidden = new Set<string>();
    for (const layer of stack) {
      const listing = store.read(layer.tree);
      let opaque = false;
      const hides: string[] = [];
      for (const { name, tree, meta } of listing.dirs) {
        if (hidden.has(name) || files.has(name)) continue;
        const upper = dirs.get(name);
        if (upper === undefined) dirs.set(name, { open: true, stack: [{ tree, meta }] });
        else if (upper.open) upper.stack.push({ tree, meta });
      }
      for (const { name, checksum } of listing.files) {
        const whiteout = parseWhiteout(name);
        if (whiteout !== undefined) {
          if (whiteout.kind === 'opaque') opaque = true;
          else if (whiteout.kind === 'remove') hides.push(whiteout.name);
          continue;
        }
        if (hidden.has(name) || files.has(name)) continue;
        const upper = dirs.get(name);
        // A file below a directory ends it: what lies lower still was replaced by the file.
        if (upper === undefined) files.set(name, checksum);
        else upper.open = false;
      }
      if (opaque) break;
      for (const name of hides) {
        hidden.add(name);
        const upper = dirs.get(name);
        if (upper !== undefined) upper.open = false;
      }
    }

    const result: DirectoryListing = {
      files: Array.from(files, ([name, checksum]) => ({ name, checksum })),
      dirs: Array.from(dirs, ([name, directory]) => ({ name, ...mergeDirectories(directory.stack, depth + 1) })),
    };
    const tree = store.write(result);
    merged.set(key, tree);
    return tree;
  }

  return (layers) => mergeDirectories(layers.toReversed(), 0);
}
