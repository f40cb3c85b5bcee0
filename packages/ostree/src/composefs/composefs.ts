/**
 * Composefs images of commits: one small file that, mounted over a repository's `objects/`, is the commit's tree, each file
 * checked by fs-verity while it is read. Byte for byte what libostree 2026.4 writes, so the digest that a publisher
 * has put into a commit (`ostree.composefs.digest.v0`) holds for what is made here.
 */

import { randomUUID } from 'node:crypto';
import { closeSync, constants, fchmodSync, fdatasyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Checksum, compareBytes, errnoOf, isKnownError, systemError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { isSymlink } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import type { TreeRoot } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { encodeImage } from './erofs-image.ts';
import { FsVerityHasher } from './fs-verity.ts';
import { completeRoot, entryOf, type ImageInode, type ImageNode, InodeMaker, linkDots } from './image-tree.ts';

/** Key of a commit's metadata: the fs-verity digest of the image of its tree (ay, 32 bytes). */
const COMPOSEFS_DIGEST_KEY = 'ostree.composefs.digest.v0';

export interface ComposefsOptions {
  /** The image; one that is there is replaced. Its directory exists. */
  destination: string;
  /** Name the digest of each file, so that mounting can demand it. Without it nothing guards the content. */
  verity: boolean;
  /** Flush the image to disk before it has its name. */
  fsync?: boolean;
}

/**
 * Writes the composefs image of a commit and returns the image's own fs-verity digest. All content is read, and verified
 * by its checksums, when `verity` is set; a digest that the commit names is then compared.
 *
 * @throws OSTREE_COMPOSEFS_MISMATCH OSTREE_FILE_UNSUPPORTED OSTREE_PATH_NOT_FOUND OSTREE_CHECKOUT_EXISTS OSTREE_OBJECT_MISSING
 *   OSTREE_OBJECT_CORRUPT SYSTEM_DENIED SYSTEM_NO_SPACE, the signal's reason
 */
export async function writeComposefs(repo: Repo, commit: Checksum, options: ComposefsOptions, signal?: AbortSignal): Promise<Uint8Array> {
  const { destination } = options;
  const { root, metadata } = repo.readCommit(commit);
  const image = await imageOf(repo, root, options.verity, signal);
  const temporary = join(dirname(destination), `.tmp-${randomUUID()}`);
  try {
    const hasher = new FsVerityHasher();
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      encodeImage(image, (piece) => {
        hasher.update(piece);
        for (let at = 0; at < piece.byteLength; ) at += writeSync(fd, piece, at);
      });
      fchmodSync(fd, 0o644);
      if (options.fsync === true) fdatasyncSync(fd);
    } finally {
      closeSync(fd);
    }
    const digest = hasher.digest();
    const expected = metadata.find(([key]) => key === COMPOSEFS_DIGEST_KEY)?.[1];
    if (options.verity && expected !== undefined) compareDigest(commit, digest, expected);
    renameSync(temporary, destination);
    return digest;
  } catch (error) {
    rmSync(temporary, { force: true });
    throw explained(error, destination);
  }
}

function explained(error: unknown, destination: string): unknown {
  const action = `Cannot write composefs image "${destination}"`;
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return ostreeError('OSTREE_PATH_NOT_FOUND', `${action}: its parent directory does not exist`, { cause: error });
    case 'EISDIR':
    case 'EEXIST':
    case 'ENOTEMPTY':
      return ostreeError('OSTREE_CHECKOUT_EXISTS', `${action}: a directory has this name`, { cause: error });
    default:
      return systemError(error, action) ?? error;
  }
}

/** Returns the metadata entry that names the digest of a tree's image; all content is read. @throws as {@link writeComposefs} */
export async function composefsMetadata(repo: Repo, root: TreeRoot, signal?: AbortSignal): Promise<readonly [string, Variant]> {
  const hasher = new FsVerityHasher();
  encodeImage(await imageOf(repo, root, true, signal), (piece) => hasher.update(piece));
  return [COMPOSEFS_DIGEST_KEY, new Variant('ay', new Uint8Array(hasher.digest()))];
}

function compareDigest(commit: Checksum, actual: Uint8Array, expected: Variant): void {
  const wanted = expected.type === 'ay' ? (expected.value as Uint8Array) : undefined;
  if (wanted?.byteLength === actual.byteLength && compareBytes(wanted, actual) === 0) return;
  const hex = (bytes: Uint8Array | undefined): string => (bytes === undefined ? 'none' : Buffer.from(bytes).toString('hex'));
  const ostreeMessage =
    wanted?.byteLength === actual.byteLength
      ? `Generated composefs image digest (${hex(actual)}) doesn't match expected digest (${hex(wanted)})`
      : 'Expected composefs fs-verity in metadata has the wrong size';
  throw ostreeError('OSTREE_COMPOSEFS_MISMATCH', `Composefs image of commit ${commit} has digest ${hex(actual)}, and its metadata names ${hex(wanted)}`, {
    data: { commit, actual: hex(actual), expected: hex(wanted), ostreeMessage },
  });
}

/** Files up to this size are read in one piece. */
const SCRATCH_BYTES = 4 * 1024 * 1024;
/** Between two turns that others get. */
const NODES_PER_TURN = 256;
/** A few objects can stand for any number of places; each costs some hundred bytes. Real systems have under a million. */
const MAX_NODES = 16_000_000;

/** Returns the tree of an image. No recursion: a tree may be as deep as its maker likes. */
async function imageOf(repo: Repo, root: TreeRoot, verity: boolean, signal: AbortSignal | undefined): Promise<ImageNode> {
  const maker = new InodeMaker();
  const files = new FileInodes(repo, maker, verity);
  const directory = (meta: Checksum, isRoot: boolean): ImageNode => ({ inode: maker.directory(repo.readDirMeta(meta), isRoot), entries: [] });
  const top = directory(root.meta, true);
  const stack = [{ node: top, parent: top, tree: root.tree }];
  let seen = 0;
  const count = async (): Promise<void> => {
    if (seen++ % NODES_PER_TURN !== 0) return;
    await nextTurn();
    signal?.throwIfAborted();
    if (seen > MAX_NODES) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot make a composefs image: the tree has over ${MAX_NODES} files and directories`);
  };
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const { node, parent, tree } = at;
    const { files: inside, dirs } = repo.readDirTree(tree);
    for (const { name, checksum } of inside) {
      await count();
      node.entries?.push(entryOf(name, { inode: await files.of(checksum, signal), entries: undefined }));
    }
    for (const { name, tree: below, meta } of dirs) {
      await count();
      const child = directory(meta, false);
      node.entries?.push(entryOf(name, child));
      stack.push({ node: child, parent: node, tree: below });
    }
    linkDots(node, parent);
  }
  completeRoot(maker, top);
  return top;
}

class FileInodes {
  readonly #known = new Map<Checksum, ImageInode>();
  readonly #repo: Repo;
  readonly #maker: InodeMaker;
  readonly #verity: boolean;
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  readonly #hasher = new FsVerityHasher();

  constructor(repo: Repo, maker: InodeMaker, verity: boolean) {
    this.#repo = repo;
    this.#maker = maker;
    this.#verity = verity;
  }

  async of(checksum: Checksum, signal: AbortSignal | undefined): Promise<ImageInode> {
    const known = this.#known.get(checksum);
    if (known !== undefined) return known;
    const inode = this.#verity ? await this.#read(checksum, signal) : this.#inode(checksum, undefined);
    this.#known.set(checksum, inode);
    return inode;
  }

  async #read(checksum: Checksum, signal: AbortSignal | undefined): Promise<ImageInode> {
    try {
      const { header, content } = this.#repo.loadFile(checksum, SCRATCH_BYTES / 2, this.#scratch);
      if (content.byteLength === 0) return this.#maker.file(header, 0, undefined);
      this.#hasher.update(content);
      return this.#maker.file(header, content.byteLength, { path: pathOf(checksum), digest: this.#hasher.digest() });
    } catch (error) {
      if (!isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) throw error;
    }
    const atOnce = this.#repo.readPieces(checksum, this.#scratch, (piece) => this.#hasher.update(piece));
    if (!atOnce) for await (const piece of this.#repo.openFile(checksum, signal)) this.#hasher.update(piece);
    return this.#inode(checksum, this.#hasher.digest());
  }

  #inode(checksum: Checksum, digest: Uint8Array | undefined): ImageInode {
    const { header, sizeBytes } = this.#repo.readFileHeader(checksum);
    return this.#maker.file(header, sizeBytes, isSymlink(header) || sizeBytes === 0 ? undefined : { path: pathOf(checksum), digest });
  }
}

/** Where a booted system's repository, which is always bare, has the file. */
function pathOf(checksum: Checksum): string {
  return loosePath('file', checksum, 'bare');
}
