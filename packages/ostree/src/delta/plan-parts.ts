/**
 * Which objects a static delta brings, and which part makes which: a matter of the commits and the options alone, so that equal
 * input makes equal deltas with any number of threads.
 */
import type { Checksum } from '@cambium/base';
import { encodeXattrList } from '../format/framing.ts';
import { isSymlink } from '../format/object-format.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { FileHeader } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';
import { MAX_COMPARED_BYTES, type PlannedObject } from './make-part.ts';
import type { FileMode } from './part.ts';
import { type NewName, SimilarFiles } from './similar.ts';

export interface PlannedPart {
  modes: readonly FileMode[];
  /** Each an encoded `a(ayay)`. */
  xattrs: readonly Uint8Array[];
  objects: readonly PlannedObject[];
  /** Of contents that are compared in memory, at most at a time. */
  comparedBytes: number;
  /** Whether contents of tens of megabytes pass through, in pieces. */
  streams: boolean;
}

export interface DeltaPlan {
  parts: readonly PlannedPart[];
  /** Files that are compared with an old one, in any part. */
  modified: number;
  /** The commit too. */
  metadata: number;
  regular: number;
  symlinks: number;
}

/** Larger files are not compared, nor put into parts: who applies a part may want it in memory. */
export const MAX_FILE_BYTES: number = 512 * 1024 * 1024;
/** Parts are made at the same time, one by each thread: as many as this, unless they would be small. */
const WANTED_PARTS = 8;
const MIN_PART_BYTES = 4_000_000;
/** The pieces of larger contents are more than the garbage collector keeps up with. */
const STREAMED_BYTES = 8_000_000;

/** @param maxChunkBytes payload of a part, unless a single object is larger @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
export function planParts(repo: Repo, from: Checksum | undefined, to: Checksum, maxChunkBytes: number): DeltaPlan {
  const { metadata, regular, symlinks } = newObjects(repo, from, to);
  const similar = from === undefined ? undefined : new SimilarFiles(repo, from, regular);
  const like: NewFile[] = [];
  const unlike: NewFile[] = [];
  for (const file of regular) {
    const source = file.sizeBytes > MAX_FILE_BYTES ? undefined : similar?.find(file, file.sizeBytes);
    if (source === undefined || source.sizeBytes > MAX_FILE_BYTES) unlike.push(file);
    else like.push({ ...file, source });
  }
  // What is alike compresses better side by side.
  unlike.sort((a, b) => compareText(kindOf(a.path), kindOf(b.path)) || compareText(a.path, b.path));
  const objects = [...metadata, ...like, ...unlike, ...symlinks];
  const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const partBytes = Math.min(maxChunkBytes, Math.max(MIN_PART_BYTES, Math.ceil(totalBytes / WANTED_PARTS)));
  return {
    parts: [...fill(objects, partBytes)],
    modified: like.length,
    metadata: metadata.length + 1,
    regular: regular.length,
    symlinks: symlinks.length,
  };
}

interface NewObject {
  type: PlannedObject['type'];
  checksum: Checksum;
  sizeBytes: number;
  header?: FileHeader;
  source?: PlannedObject['source'];
}

interface NewFile extends NewObject, NewName {
  header: FileHeader;
}

/** Everything the new commit reaches and the old one does not, without the commit itself, in the order of the tree. */
function newObjects(repo: Repo, from: Checksum | undefined, to: Checksum): { metadata: NewObject[]; regular: NewFile[]; symlinks: NewFile[] } {
  const seen = from === undefined ? new ObjectSet() : traverse(repo, [from], { depth: 0 });
  const found: ReturnType<typeof newObjects> = { metadata: [], regular: [], symlinks: [] };
  const headers = new Headers();
  const { root } = repo.readCommit(to);
  const stack: { path: string; tree: Checksum; meta: Checksum }[] = [{ path: '', ...root }];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (seen.add('dirmeta', at.meta)) found.metadata.push({ type: 'dirmeta', checksum: at.meta, sizeBytes: repo.readMetadata('dirmeta', at.meta).byteLength });
    if (!seen.add('dirtree', at.tree)) continue;
    const tree = repo.readDirTree(at.tree);
    found.metadata.push({ type: 'dirtree', checksum: at.tree, sizeBytes: DIR_ENTRY_BYTES * (tree.files.length + tree.dirs.length) });
    for (const { name, checksum } of tree.files) {
      if (!seen.add('file', checksum)) continue;
      const { header, sizeBytes } = repo.readFileHeader(checksum);
      const file = { type: 'file' as const, checksum, path: `${at.path}/${name}`, header: headers.shared(header), sizeBytes };
      if (isSymlink(header)) found.symlinks.push({ ...file, sizeBytes: header.target.length });
      else found.regular.push(file);
    }
    for (const { name, tree: below, meta } of tree.dirs.toReversed()) stack.push({ path: `${at.path}/${name}`, tree: below, meta });
  }
  return found;
}

/** About, for the room it takes in a part. */
const DIR_ENTRY_BYTES = 64;

/** Headers by the ten thousand, of which a few are different. */
class Headers {
  readonly #known = new Map<string, FileHeader>();

  shared(header: FileHeader): FileHeader {
    if (isSymlink(header)) return header;
    const key = headerKey(header);
    const known = this.#known.get(key);
    if (known === undefined) this.#known.set(key, header);
    return known ?? header;
  }
}

function headerKey({ uid, gid, mode, xattrs }: FileHeader): string {
  return `${uid}:${gid}:${mode}:${xattrKey(xattrs)}`;
}

function xattrKey(xattrs: FileHeader['xattrs']): string {
  return xattrs.length === 0 ? '' : encodeXattrList(xattrs).toString('latin1');
}

function* fill(objects: readonly NewObject[], partBytes: number): Generator<PlannedPart> {
  let part = new PartTables();
  let payloadBytes = 0;
  for (const object of objects) {
    // A patch is as long as what it makes, and compresses to nothing.
    if (payloadBytes > 0 && payloadBytes + object.sizeBytes > partBytes) {
      yield part.finish();
      part = new PartTables();
      payloadBytes = 0;
    }
    part.add(object);
    payloadBytes += object.sizeBytes;
  }
  // A delta of nothing but the commit has an empty part, as libostree's.
  yield part.finish();
}

class PartTables {
  readonly #objects: PlannedObject[] = [];
  readonly #modes = new Map<string, { index: number; mode: FileMode }>();
  readonly #xattrs = new Map<string, { index: number; list: Uint8Array }>();
  #comparedBytes = 0;
  #streams = false;

  add({ type, checksum, sizeBytes, header, source }: NewObject): void {
    const planned: PlannedObject = { type, checksum, sizeBytes, mode: 0, xattrs: 0 };
    if (header !== undefined) {
      planned.mode = this.#mode(header);
      planned.xattrs = this.#xattrList(header);
      if (isSymlink(header)) planned.target = header.target;
    }
    if (source !== undefined) {
      planned.source = source;
      const together = sizeBytes + source.sizeBytes;
      if (together <= MAX_COMPARED_BYTES) this.#comparedBytes = Math.max(this.#comparedBytes, together);
    }
    if (sizeBytes > STREAMED_BYTES) this.#streams = true;
    this.#objects.push(planned);
  }

  finish(): PlannedPart {
    return {
      modes: [...this.#modes.values()].map(({ mode }) => mode),
      xattrs: [...this.#xattrs.values()].map(({ list }) => list),
      objects: this.#objects,
      comparedBytes: this.#comparedBytes,
      streams: this.#streams,
    };
  }

  #mode({ uid, gid, mode }: FileHeader): number {
    const key = `${uid}:${gid}:${mode}`;
    const known = this.#modes.get(key) ?? { index: this.#modes.size, mode: { uid, gid, mode } };
    this.#modes.set(key, known);
    return known.index;
  }

  #xattrList({ xattrs }: FileHeader): number {
    const key = xattrKey(xattrs);
    const known = this.#xattrs.get(key) ?? { index: this.#xattrs.size, list: encodeXattrList(xattrs) };
    this.#xattrs.set(key, known);
    return known.index;
  }
}

/** What comes after the last dot of a name, then the name. */
function kindOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  return dot <= 0 ? `\0${name}` : `${name.slice(dot + 1)}\0${name}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
