/** `--tree=tar=FILE`: a tar or cpio stream into a tree, without unpacking it. */
import { CPIO_MAGIC_BYTES, CpioParser, isCpio, type TarEntry, type TarHandler, type TarLimits, TarParser } from '@cambium/archive';
import { type Bytes, type Checksum, decodeUtf8 } from '@cambium/base';
import { S_IFDIR, S_IFLNK, S_IFREG } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { canonicalXattrs } from '../format/framing.ts';
import type { FileHeader } from '../format/types.ts';
import { type CommitModifiers, checkAllMatched, type MatchedPaths } from '../write/commit-modifiers.ts';
import type { ContentStream } from '../write/content-writer.ts';
import { modifyEntry } from '../write/modify-entry.ts';
import { withSelinuxLabel } from '../write/selinux-label.ts';
import type { Transaction } from '../write/transaction.ts';
import { modifiersFor } from './commit-directory.ts';
import type { MutableTree } from './mutable-tree.ts';

export interface CommitTarOptions {
  modifiers?: CommitModifiers | undefined;
  /**
   * Make missing directories, as 0755 with the owner of the entry that needs them, whatever the modifiers say. As
   * libostree does it, all directories above the entry are made anew then, the root included; and a root that is missing
   * at the end is 0755 root:root with the modifiers applied.
   */
  autocreateParents?: boolean | undefined;
  /** Changes the path of an entry, and the targets of hard links. It comes without leading `/` and `./`, directories' with the `/` at their end. */
  rename?: ((path: string) => string) | undefined;
  limits?: TarLimits | undefined;
  /** As for {@link commitDirectory}. */
  matched?: MatchedPaths | undefined;
}

/** Contents up to this size are gathered and hashed in one call; larger ones flow. */
const GATHER_BYTES = 256 * 1024;
/** Parsed at a time: all that a slice brings is queued, so that the writer is asked for room between slices. */
const SLICE_BYTES = 64 * 1024;
/** Holds a name for a file whose checksum is not known yet. */
const PENDING = '0'.repeat(64) as Checksum;
const NOTHING = new Uint8Array(0);
const AUTOCREATED_MODE: number = S_IFDIR | 0o755;

/**
 * Takes the entries of an uncompressed tar or cpio archive into `tree`, over what is there. Of entries with one name the last
 * counts; hard links are other names of what their target is at the end.
 *
 * @throws OSTREE_FILE_UNSUPPORTED for devices, FIFOs and names outside the format, OSTREE_PATH_NOT_FOUND for missing
 *   parents and link targets, OSTREE_TREE_CONFLICT, OSTREE_PATH_UNMATCHED, ARCHIVE_TAR_*, ARCHIVE_CPIO_*
 */
export async function commitTar(transaction: Transaction, tree: MutableTree, source: Bytes, options: CommitTarOptions = {}): Promise<void> {
  const modifiers = labelledAsIs(modifiersFor(transaction, options.modifiers ?? {}));
  const matched: MatchedPaths = options.matched ?? new Set();
  const importer = new TarImporter(transaction, tree, modifiers, matched, options);
  const parser = new ArchiveParser(importer, options.limits ?? {});
  const content = transaction.content();
  try {
    for await (const chunk of source) {
      transaction.signal?.throwIfAborted();
      for (let at = 0; at < chunk.byteLength; at += SLICE_BYTES) {
        parser.write(chunk.subarray(at, at + SLICE_BYTES));
        const room = content.ready();
        if (room !== undefined) await room;
      }
    }
    parser.end();
  } catch (error) {
    importer.abort();
    throw error;
  }
  await content.flush();
  importer.finish();
  if (options.matched === undefined) checkAllMatched(modifiers, matched);
}

/** Of an archive libostree labels /usr/etc as such in every labelling epoch. */
function labelledAsIs(modifiers: CommitModifiers): CommitModifiers {
  const { selinux } = modifiers;
  return selinux?.usrEtcAsEtc === true ? { ...modifiers, selinux: { contexts: selinux.contexts } } : modifiers;
}

/** Tells tar from cpio by the first bytes. */
class ArchiveParser {
  readonly #handler: TarHandler;
  readonly #limits: TarLimits;
  #head: Uint8Array = NOTHING;
  #parser: TarParser | CpioParser | undefined;

  constructor(handler: TarHandler, limits: TarLimits) {
    this.#handler = handler;
    this.#limits = limits;
  }

  write(chunk: Uint8Array): void {
    if (this.#parser !== undefined) {
      this.#parser.write(chunk);
      return;
    }
    this.#head = this.#head.byteLength === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    if (this.#head.byteLength >= CPIO_MAGIC_BYTES) this.#begin().write(this.#head);
    else this.#head = this.#head.slice();
  }

  end(): void {
    if (this.#parser !== undefined) this.#parser.end();
    else {
      const parser = this.#begin();
      parser.write(this.#head);
      parser.end();
    }
  }

  #begin(): TarParser | CpioParser {
    this.#parser = isCpio(this.#head) ? new CpioParser(this.#handler, this.#limits) : new TarParser(this.#handler, this.#limits);
    return this.#parser;
  }
}

interface CurrentFile {
  header: FileHeader;
  buffer: Uint8Array;
  filled: number;
  stream: ContentStream | undefined;
  /** Puts it where it belongs, once it is stored. */
  place(checksum: Checksum): void;
}

class TarImporter {
  readonly #transaction: Transaction;
  readonly #tree: MutableTree;
  readonly #modifiers: CommitModifiers;
  readonly #matched: MatchedPaths;
  readonly #options: CommitTarOptions;
  /** Which entry has a path whose checksum is not known yet: of two with one name the later wins, whichever is stored first. */
  readonly #pending = new Map<string, number>();
  #entries = 0;
  readonly #hardLinks = new Map<string, string>();
  readonly #noParents: string[] = [];
  #gathered: Uint8Array | undefined;
  #current: CurrentFile | undefined;

  constructor(transaction: Transaction, tree: MutableTree, modifiers: CommitModifiers, matched: MatchedPaths, options: CommitTarOptions) {
    this.#transaction = transaction;
    this.#tree = tree;
    this.#modifiers = modifiers;
    this.#matched = matched;
    this.#options = options;
  }

  entry(entry: TarEntry): void {
    const path = this.#pathOf(entry.path);
    const { uid, gid, mode } = entry;
    const meta = { uid, gid, xattrs: canonicalXattrs(entry.xattrs) };
    switch (entry.type) {
      case 'directory':
        this.#directory(path, { ...meta, mode: S_IFDIR | mode });
        return;
      case 'file':
        this.#file(path, { ...meta, mode: S_IFREG | mode, target: '' }, entry.size);
        return;
      case 'symlink':
        this.#file(path, { ...meta, mode: S_IFLNK | mode, target: textOf(entry.linkPath, 'symlink target') }, 0);
        return;
      case 'hardlink':
        // The lists of paths know it as a file; its metadata are the target's.
        if (modifyEntry(`/${path}`, { ...meta, mode: S_IFREG | mode, target: '' }, this.#modifiers, this.#matched) === undefined) return;
        if (this.#isLeftOut(path)) return;
        this.#hardLink(path, this.#pathOf(entry.linkPath), entry);
        return;
      default:
        throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Unsupported file type for path "${path}": ${entry.type}`, { data: { path, type: entry.type } });
    }
  }

  data(chunk: Uint8Array): void {
    const current = this.#current;
    if (current === undefined) return;
    if (current.stream !== undefined) current.stream.write(chunk);
    else {
      current.buffer.set(chunk, current.filled);
      current.filled += chunk.byteLength;
    }
  }

  hole(length: number): void {
    const current = this.#current;
    if (current === undefined) return;
    if (current.stream !== undefined) current.stream.zeros(length);
    else {
      current.buffer.fill(0, current.filled, current.filled + length);
      current.filled += length;
    }
  }

  entryEnd(): void {
    const current = this.#current;
    this.#current = undefined;
    if (current === undefined) return;
    const { header, stream, buffer, filled, place } = current;
    const stored = stream === undefined ? this.#transaction.content().add(header, buffer.subarray(0, filled)) : stream.end();
    stored.then(place, () => undefined); // flush() reports what fails
  }

  abort(): void {
    this.#current?.stream?.abort();
    this.#current = undefined;
  }

  /** Ends what had to wait until all files are stored. */
  finish(): void {
    if (this.#pending.size > 0) throw new Error('Files without a checksum');
    for (const [path, target] of this.#hardLinks) {
      const found = this.#tree.lookup(this.#resolveLink(target));
      if (typeof found !== 'string') throw ostreeError('OSTREE_PATH_NOT_FOUND', `No such file or directory: ${target}`, { data: { path, target } });
      (this.#existingParent(path) as MutableTree).setFile(lastName(path), found);
    }
    if (this.#options.autocreateParents !== true || this.#tree.meta !== undefined) return;
    const root = { uid: 0, gid: 0, mode: AUTOCREATED_MODE, xattrs: [] };
    this.#tree.meta = this.#transaction.writeDirMeta(modifyEntry('/', root, this.#modifiers, this.#matched) ?? root);
  }

  /** Follows hard links to hard links to the name of a file. */
  #resolveLink(target: string): string {
    const seen = new Set<string>();
    let at = target;
    for (let next = this.#hardLinks.get(at); next !== undefined && !seen.has(at); next = this.#hardLinks.get(at)) {
      seen.add(at);
      at = next;
    }
    return at;
  }

  #directory(path: string, plain: { uid: number; gid: number; mode: number; xattrs: FileHeader['xattrs'] }): void {
    const meta = modifyEntry(path === '' ? '/' : `/${path}`, plain, this.#modifiers, this.#matched);
    if (meta === undefined) {
      this.#noParents.push(`${path}/`);
      return;
    }
    if (this.#isLeftOut(path)) return;
    const directory = path === '' ? this.#tree : this.#parentFor(path, plain).ensureDirectory(lastName(path));
    directory.meta = this.#transaction.writeDirMeta(meta);
  }

  #file(path: string, plain: FileHeader, sizeBytes: number): void {
    if (path === '') throw ostreeError('OSTREE_FILE_UNSUPPORTED', 'The root of a tree cannot be a file');
    const header = modifyEntry(`/${path}`, plain, this.#modifiers, this.#matched);
    if (header === undefined || this.#isLeftOut(path)) return;
    // What is in the way shows now, and not when a gigabyte of content has been stored.
    const parent = this.#parentFor(path, plain);
    const name = lastName(path);
    parent.setFile(name, PENDING);
    this.#hardLinks.delete(path);
    const entry = this.#entries++;
    this.#pending.set(path, entry);
    const place = (checksum: Checksum): void => {
      if (this.#pending.get(path) !== entry) return;
      this.#pending.delete(path);
      parent.setFile(name, checksum);
    };
    const stream = sizeBytes > GATHER_BYTES ? this.#transaction.content().begin(header, sizeBytes) : undefined;
    // One after the other is gathered in the same memory: the writer copies it.
    if (sizeBytes > 0) this.#gathered ??= new Uint8Array(GATHER_BYTES);
    this.#current = { header, stream, buffer: this.#gathered ?? NOTHING, filled: 0, place };
  }

  #hardLink(path: string, target: string, owner: { uid: number; gid: number }): void {
    const parent = this.#parentFor(path, owner);
    // A file of that name is gone, so that a link to itself finds nothing.
    if (parent.file(lastName(path)) !== undefined) parent.remove(lastName(path));
    this.#pending.delete(path);
    this.#hardLinks.set(path, target);
  }

  /** Skipped directories take what is below them with them. */
  #isLeftOut(path: string): boolean {
    return this.#noParents.some((prefix) => `${path}/`.startsWith(prefix));
  }

  #existingParent(path: string): MutableTree | undefined {
    const names = path.split('/').slice(0, -1);
    return names.reduce<MutableTree | undefined>((at, name) => at?.directory(name), this.#tree);
  }

  /** Returns the directory for an entry, made where it may be. */
  #parentFor(path: string, owner: { uid: number; gid: number }): MutableTree {
    const existing = this.#existingParent(path);
    if (existing !== undefined) return existing;
    const names = path.split('/').slice(0, -1);
    if (this.#options.autocreateParents !== true) {
      let at: MutableTree | undefined = this.#tree;
      const missing = names.find((name) => {
        at = at?.directory(name);
        return at === undefined;
      });
      throw ostreeError('OSTREE_PATH_NOT_FOUND', `No such file or directory: ${missing}`, {
        data: { path },
        hint: 'The archive has no entry for this directory; --tar-autocreate-parents makes it',
      });
    }
    let at = this.#tree;
    at.meta = this.#autocreated('/', owner);
    for (const [i, name] of names.entries()) {
      at = at.ensureDirectory(name);
      at.meta = this.#autocreated(`/${names.slice(0, i + 1).join('/')}`, owner);
    }
    return at;
  }

  #autocreated(path: string, { uid, gid }: { uid: number; gid: number }): Checksum {
    const { selinux } = this.#modifiers;
    const xattrs = selinux === undefined ? [] : withSelinuxLabel([], selinux, path, AUTOCREATED_MODE);
    return this.#transaction.writeDirMeta({ uid, gid, mode: AUTOCREATED_MODE, xattrs });
  }

  #pathOf(bytes: Uint8Array): string {
    const text = textOf(bytes, 'filename').replace(/^(?:\.?\/)+/, '');
    const renamed = this.#options.rename?.(text) ?? text;
    const names = renamed.split('/').filter((name) => name !== '' && name !== '.');
    if (names.includes('..')) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Invalid uplink '..' in path ${renamed.slice(0, 300)}`);
    return names.join('/');
  }
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function textOf(bytes: Uint8Array, what: string): string {
  const text = decodeUtf8(bytes);
  if (text === undefined || text.includes('\0')) {
    throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Invalid UTF-8 in ${what}: ${JSON.stringify(Buffer.from(bytes).toString('latin1')).slice(0, 300)}`);
  }
  return text;
}
