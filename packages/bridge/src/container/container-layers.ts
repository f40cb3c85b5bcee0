/**
 * The tar streams of an encapsulated commit: the commit layer with all metadata, and chunk layers with file objects.
 * Format: `docs/formats/ostree-container.md`.
 */
import type { Bytes, Checksum } from '@cambium/base';
import { type Commit, type DirMeta, type DirTree, encodeMetadata, encodeXattrList, isSymlink, type Repo, walkTree } from '@cambium/ostree';
import { S_IFLNK, S_IFMT } from '@cambium/tree';
import { LAYER_END, type LayerEntry, layerHeader, padding, paxEntry } from './layer-tar.ts';

/** The content objects of a layer, each with the paths it has in the commit. */
export type LayerContent = ReadonlyMap<Checksum, readonly string[]>;

export interface CommitLayerOptions {
  /** Content that is in no chunk; absent: all of it, file by file where it stands. */
  remainder?: LayerContent;
  signal?: AbortSignal | undefined;
}

const REPO = 'sysroot/ostree/repo';
const CONFIG = '[core]\nrepo_version=1\nmode=bare-split-xattrs\n';
/** Up to this size a file is read and verified at once; larger ones stream. */
const WHOLE_FILE_BYTES = 4 * 1024 * 1024;
/** Small pieces are joined: each costs its consumers as much as a large one. */
const BATCH_BYTES = 512 * 1024;

/** Gives the layer that comes first: metadata and directories, and what is in no chunk. Contents are verified while they are read. */
export function commitLayer(repo: Repo, checksum: Checksum, commit: Commit, options: CommitLayerOptions = {}): Bytes {
  return batched(commitPieces(repo, checksum, commit, options), options.signal);
}

/** Gives a layer of file objects. @param parents with each path come its directories, for readers that would invent them */
export function chunkLayer(repo: Repo, content: LayerContent, options: { parents?: ParentDirectories; signal?: AbortSignal | undefined } = {}): Bytes {
  return batched(chunkPieces(repo, content, options.parents), options.signal);
}

/** What a directory of the commit has, by its path in the image. */
export type ParentDirectories = (path: string) => DirMeta | undefined;

type Piece = Uint8Array | Bytes;

function* commitPieces(repo: Repo, checksum: Checksum, commit: Commit, { remainder }: CommitLayerOptions): Generator<Piece, void, undefined> {
  const { uid, gid, mode } = repo.readDirMeta(commit.root.meta);
  yield layerHeader({ path: './', type: 'directory', mode: mode & 0o7777, uid, gid });
  yield* skeleton('./');
  yield* metadata(`./${objectPath(checksum, 'commit')}`, repo.readMetadata('commit', checksum));
  const detached = repo.readDetachedMetadata(checksum);
  if (detached !== undefined) yield* metadata(`./${objectPath(checksum, 'commitmeta')}`, encodeMetadata(detached));

  const written = new Set<string>();
  const once = function* (type: 'dirtree' | 'dirmeta', object: Checksum): Generator<Piece, void, undefined> {
    const name = `${object}.${type}`;
    if (written.has(name)) return;
    written.add(name);
    yield* metadata(`./${objectPath(object, type)}`, repo.readMetadata(type, object));
  };
  const files = new FileEntries(repo, './');
  let hasVarTmp = false;
  const hidden: Checksum[] = [];
  // A stack of its own: a tree may be as deep as its maker likes.
  const walk = function* (tree: Checksum, path: string, isShown: boolean): Generator<Piece, void, undefined> {
    const stack: { path: string; dirs: DirTree['dirs']; next: number }[] = [];
    const enter = function* (tree: Checksum, path: string): Generator<Piece, void, undefined> {
      yield* once('dirtree', tree);
      const { files: entries, dirs } = repo.readDirTree(tree);
      if (remainder === undefined && isShown) for (const { name, checksum: object } of entries) yield* files.add(object, [`${path}${name}`]);
      stack.push({ path, dirs, next: 0 });
    };
    yield* enter(tree, path);
    for (let at = stack.at(-1); at !== undefined; at = stack.at(-1)) {
      const dir = at.dirs[at.next++];
      if (dir === undefined) {
        stack.pop();
        continue;
      }
      const child = `${at.path}${dir.name}`;
      yield* once('dirmeta', dir.meta);
      if (child === 'sysroot') {
        hidden.push(dir.tree);
        continue;
      }
      if (isShown) {
        const found = repo.readDirMeta(dir.meta);
        yield layerHeader({ path: `./${imagePath(child)}`, type: 'directory', mode: found.mode & 0o7777, uid: found.uid, gid: found.gid });
        if (child === 'var/tmp') hasVarTmp = true;
      }
      yield* enter(dir.tree, `${child}/`);
    }
  };
  yield* once('dirmeta', commit.root.meta);
  yield* walk(commit.root.tree, '', true);
  // What lies below /sysroot has no path in an image; what is needed of it for a complete commit comes last, where others leave it out.
  for (const tree of hidden) yield* walk(tree, 'sysroot/', false);
  for (const object of hiddenFiles(repo, hidden)) yield* files.add(object, []);
  if (!hasVarTmp) yield layerHeader({ path: './var/tmp', type: 'directory', mode: 0o1777, uid: 0, gid: 0 });
  if (remainder !== undefined) for (const [object, paths] of sorted(remainder)) yield* files.add(object, paths);
  yield LAYER_END;
}

/** Returns the content below /sysroot, each object once. */
function hiddenFiles(repo: Repo, trees: readonly Checksum[]): Set<Checksum> {
  const found = new Set<Checksum>();
  for (const tree of trees) for (const node of walkTree(repo, tree)) if (node.kind === 'file') found.add(node.checksum);
  return found;
}

function* chunkPieces(repo: Repo, content: LayerContent, parents: ParentDirectories | undefined): Generator<Piece, void, undefined> {
  yield* skeleton('');
  const files = new FileEntries(repo, '', parents);
  for (const [object, paths] of sorted(content)) yield* files.add(object, paths);
  yield LAYER_END;
}

function sorted(content: LayerContent): [Checksum, readonly string[]][] {
  return [...content].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The directories and the configuration of the repository inside. */
function* skeleton(prefix: string): Generator<Uint8Array, void, undefined> {
  const directory = (path: string): Uint8Array => layerHeader({ path: `${prefix}${path}`, type: 'directory', mode: 0o755, uid: 0, gid: 0 });
  for (const path of ['sysroot', 'sysroot/ostree', REPO, `${REPO}/objects`]) yield directory(path);
  for (let i = 0; i < 256; i++) yield directory(`${REPO}/objects/${i.toString(16).padStart(2, '0')}`);
  for (const path of ['extensions', 'refs', 'refs/heads', 'refs/mirrors', 'refs/remotes', 'state', 'tmp', 'tmp/cache']) yield directory(`${REPO}/${path}`);
  yield* metadata(`${prefix}${REPO}/config`, Buffer.from(CONFIG));
}

function* metadata(path: string, bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  yield layerHeader({ path, type: 'file', mode: 0o644, uid: 0, gid: 0, size: bytes.byteLength });
  yield bytes;
  yield padding(bytes.byteLength);
}

function objectPath(checksum: Checksum, extension: string): string {
  return `${REPO}/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${extension}`;
}

/** `/usr/etc` is `/etc` in an image. */
export function imagePath(path: string): string {
  return path === 'usr/etc' || path.startsWith('usr/etc/') ? path.slice(4) : path;
}

/** File objects of one layer, each once, and their paths as links to them. */
class FileEntries {
  readonly #repo: Repo;
  readonly #prefix: string;
  readonly #parents: ParentDirectories | undefined;
  readonly #objects = new Set<Checksum>();
  readonly #directories = new Set<string>();

  constructor(repo: Repo, prefix: string, parents?: ParentDirectories) {
    this.#repo = repo;
    this.#prefix = prefix;
    this.#parents = parents;
  }

  *add(checksum: Checksum, paths: readonly string[]): Generator<Piece, void, undefined> {
    const whole = this.#repo.readFileHeader(checksum);
    const { header, sizeBytes } = whole;
    const { uid, gid } = header;
    const mode = header.mode & 0o7777;
    const object = objectPath(checksum, 'file');
    if (!this.#objects.has(checksum)) {
      this.#objects.add(checksum);
      yield* metadata(
        `${this.#prefix}${objectPath(checksum, 'file-xattrs-link')}`,
        header.xattrs.length === 0 ? new Uint8Array(0) : encodeXattrList(header.xattrs),
      );
      // The label is the business of whoever puts the image in place.
      const shown = header.xattrs.filter(([name]) => Buffer.from(name).toString('latin1') !== 'security.selinux');
      if (shown.length > 0) yield paxEntry(shown.map(([name, value]) => [`SCHILY.xattr.${Buffer.from(name).toString('utf8')}`, value]));
      const entry: LayerEntry = { path: `${this.#prefix}${object}`, type: 'file', mode, uid, gid };
      if (isSymlink(header)) yield layerHeader({ ...entry, type: 'symlink', linkPath: header.target });
      else if (sizeBytes <= WHOLE_FILE_BYTES) {
        const content = this.#repo.readFile(checksum, WHOLE_FILE_BYTES);
        yield layerHeader({ ...entry, size: content.byteLength });
        yield content;
        yield padding(content.byteLength);
      } else {
        yield layerHeader({ ...entry, size: sizeBytes });
        yield this.#repo.openFile(checksum);
        yield padding(sizeBytes);
      }
    }
    // An empty file of its own at its path: what a build appends to it must not grow into the object.
    const isEmptyFile = sizeBytes === 0 && (header.mode & S_IFMT) !== S_IFLNK;
    for (const path of paths) {
      const shown = imagePath(path);
      yield* this.#directoriesOf(shown);
      const entry = { path: `${this.#prefix}${shown}`, mode, uid, gid };
      yield layerHeader(isEmptyFile ? { ...entry, type: 'file' } : { ...entry, type: 'hardlink', linkPath: object });
    }
  }

  *#directoriesOf(path: string): Generator<Piece, void, undefined> {
    if (this.#parents === undefined) return;
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      const directory = path.slice(0, slash);
      if (this.#directories.has(directory)) continue;
      this.#directories.add(directory);
      const meta = this.#parents(directory);
      if (meta !== undefined)
        yield layerHeader({ path: `${this.#prefix}${directory}`, type: 'directory', mode: meta.mode & 0o7777, uid: meta.uid, gid: meta.gid });
    }
  }
}

/** Joins small pieces, and reads large files in their turn. */
async function* batched(pieces: Iterable<Piece>, signal: AbortSignal | undefined): Bytes {
  let buffer = Buffer.allocUnsafe(BATCH_BYTES);
  let filled = 0;
  for (const piece of pieces) {
    if (!(piece instanceof Uint8Array)) {
      if (filled > 0) yield buffer.subarray(0, filled);
      buffer = Buffer.allocUnsafe(BATCH_BYTES);
      filled = 0;
      yield* piece;
      continue;
    }
    if (filled + piece.byteLength > BATCH_BYTES) {
      signal?.throwIfAborted();
      if (filled > 0) yield buffer.subarray(0, filled);
      buffer = Buffer.allocUnsafe(BATCH_BYTES);
      filled = 0;
    }
    if (piece.byteLength > BATCH_BYTES) yield piece;
    else {
      buffer.set(piece, filled);
      filled += piece.byteLength;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}
