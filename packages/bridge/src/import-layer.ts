/**
 * Imports a layer: bytes stream from their source through decompression, hashing and the tar parser into objects.
 * Nothing is unpacked.
 */
import { createHash } from 'node:crypto';
import { decompressAny, type TarEntry, TarParser } from '@cambium/archive';
import { type Bytes, type Checksum, concat, type DiffId, decodeUtf8, isKnownError, KnownError, splitDigest } from '@cambium/base';
import type { ContentStream, ContentWriter, FileHeader, Transaction } from '@cambium/ostree';
import { S_IFLNK, S_IFREG, type Xattr } from '@cambium/tree';
import { bridgeError } from './errors.ts';
import { type LayerCommit, WHITEOUT_HEADER, writeLayerCommit } from './layer-commit.ts';
import { directoryMode, LayerTree } from './layer-tree.ts';

/** Contents up to this size travel to the writer whole; larger ones in pieces. */
const WHOLE_FILE_BYTES = 256 * 1024;
/** The largest layer accepted; real ones stay far below. */
export const MAX_LAYER_BYTES: number = 128 * 1024 ** 3;

/** 32 bits; the highest value means "leave as it is" to the kernel. */
const MAX_ID = 0xffff_fffe;

const NOTHING = new Uint8Array(0);
const ZEROS = new Uint8Array(256 * 1024);

export interface LayerInput {
  diffId: DiffId;
  /** Compressed or plain tar, verified against its descriptor while it is read. */
  open(signal?: AbortSignal): Bytes;
  limitBytes?: number;
}

export interface ImportedLayer {
  layer: LayerCommit;
  entries: number;
  /** Bytes of the uncompressed tar. */
  tarBytes: number;
}

/**
 * Stores one layer in the open transaction and returns its commit; the caller sets the ref.
 *
 * @throws BRIDGE_LAYER_ENTRY_REFUSED, BRIDGE_LAYER_PARENT_REFUSED, BRIDGE_LAYER_DIFFID_MISMATCH, and what source, tar and repository throw
 */
export async function importLayer(transaction: Transaction, input: LayerInput, signal?: AbortSignal): Promise<ImportedLayer> {
  const content = transaction.content();
  const [whiteout] = await Promise.all([content.add(WHITEOUT_HEADER, NOTHING), content.flush()]);
  const tree = new LayerTree(transaction, input.diffId, whiteout);
  const receiver = new EntryReceiver(transaction, content, tree, input.diffId);
  const limitBytes = input.limitBytes ?? MAX_LAYER_BYTES;
  const parser = new TarParser(receiver, { maxTotalBytes: limitBytes });
  const { algorithm, hex } = splitDigest(input.diffId);
  const hash = createHash(algorithm);
  let tarBytes = 0;
  try {
    // The compression is read from the bytes: media types of real images are wrong often enough.
    for await (const chunk of decompressAny(input.open(signal), { limitBytes, ...(signal === undefined ? {} : { signal }) })) {
      signal?.throwIfAborted();
      tarBytes += chunk.byteLength;
      hash.update(chunk);
      parser.write(chunk);
      await receiver.drain(signal);
      await content.ready();
    }
    parser.end();
    await receiver.drain(signal);
  } catch (error) {
    receiver.abort();
    throw namingLayer(error, input.diffId);
  }
  if (hash.digest('hex') !== hex) {
    throw bridgeError('BRIDGE_LAYER_DIFFID_MISMATCH', `Cannot use layer ${input.diffId}: its uncompressed content has another digest`, {
      hint: 'The image is damaged or was built wrongly: pull or build it again',
    });
  }
  await content.flush();
  const { root, skipped, links } = await tree.write();
  const facts = { diffId: input.diffId, contentBytes: BigInt(receiver.contentBytes), skipped, links };
  const commit = writeLayerCommit(transaction, root, facts);
  return { layer: { ...facts, commit, root }, entries: receiver.entries, tarBytes };
}

/** The archive's parsers do not know of which layer they read. */
function namingLayer(error: unknown, diffId: DiffId): unknown {
  if (!isKnownError(error) || !error.code.startsWith('ARCHIVE_')) return error;
  const { code, kind, message, hint, retryable, data } = error;
  return new KnownError({ code, kind, message: `Cannot store layer ${diffId}: ${message}`, hint, retryable, data: { ...data, layer: diffId }, cause: error });
}

/** Where the bytes of the entry at hand go. */
interface EntryBody {
  data(chunk: Uint8Array): void;
  end(): void;
  abort(): void;
}

/** What waits behind a hole: a few bytes of archive may stand for gigabytes of zeros, which must not all be queued at once. */
type Backlogged = (() => void) | { body: EntryBody; zeros: number };

/** Takes what the tar parser finds and hands it on. */
class EntryReceiver {
  readonly #transaction: Transaction;
  readonly #content: ContentWriter;
  readonly #tree: LayerTree;
  readonly #layer: string;
  #body: EntryBody | undefined;
  #backlog: Backlogged[] = [];
  entries = 0;
  contentBytes = 0;

  constructor(transaction: Transaction, content: ContentWriter, tree: LayerTree, layer: string) {
    this.#transaction = transaction;
    this.#content = content;
    this.#tree = tree;
    this.#layer = layer;
  }

  entry(entry: TarEntry): void {
    this.entries++;
    const path = this.#tree.entryPath(entry.path);
    if (path === undefined) return;
    if (entry.uid > MAX_ID || entry.gid > MAX_ID) {
      throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store entry "${path.join('/')}" of layer ${this.#layer}: its owner is no number of Linux`, {
        data: { layer: this.#layer, entry: path.join('/'), uid: entry.uid, gid: entry.gid },
      });
    }
    switch (entry.type) {
      case 'directory':
        this.#tree.addDirectory(path, entry, (found) =>
          this.#transaction.writeDirMeta({ uid: found.uid, gid: found.gid, mode: directoryMode(found), xattrs: storedXattrs(found) }),
        );
        break;
      case 'symlink':
        this.#symlink(path, entry);
        break;
      case 'hardlink':
        this.#hardLink(path, entry);
        break;
      case 'file':
        this.#file(path, entry);
        break;
      default:
        this.#tree.skip(path, entry.type);
    }
  }

  data(chunk: Uint8Array): void {
    const body = this.#body;
    if (body === undefined) return;
    if (this.#backlog.length === 0) {
      body.data(chunk);
      return;
    }
    const copy = new Uint8Array(chunk);
    this.#backlog.push(() => body.data(copy));
  }

  hole(length: number): void {
    if (this.#body !== undefined) this.#backlog.push({ body: this.#body, zeros: length });
  }

  entryEnd(): void {
    const body = this.#body;
    this.#body = undefined;
    if (body === undefined) return;
    if (this.#backlog.length === 0) body.end();
    else this.#backlog.push(() => body.end());
  }

  /** Does what waits behind holes, as fast as the writer takes it. */
  async drain(signal: AbortSignal | undefined): Promise<void> {
    if (this.#backlog.length === 0) return;
    for (const item of this.#backlog) {
      if (typeof item === 'function') {
        item();
        continue;
      }
      for (let left = item.zeros; left > 0; left -= ZEROS.byteLength) {
        item.body.data(left < ZEROS.byteLength ? ZEROS.subarray(0, left) : ZEROS);
        await this.#content.ready();
        signal?.throwIfAborted();
      }
    }
    this.#backlog = [];
  }

  abort(): void {
    this.#body?.abort();
  }

  #hardLink(path: string[], entry: TarEntry): void {
    const target = this.#tree.path(entry.linkPath);
    if (target === undefined || target.length === 0) {
      throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store link "${path.join('/')}" of layer ${this.#layer}: its target is not a file of the image`, {
        data: { layer: this.#layer, entry: path.join('/') },
      });
    }
    this.#tree.addHardLink(path, target);
  }

  #symlink(path: string[], entry: TarEntry): void {
    const target = decodeUtf8(entry.linkPath);
    if (target === undefined || target === '') {
      throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store link "${path.join('/')}" of layer ${this.#layer}: its target is not UTF-8 text`, {
        data: { layer: this.#layer, entry: path.join('/') },
      });
    }
    const header = { uid: entry.uid, gid: entry.gid, mode: S_IFLNK | 0o777, target, xattrs: storedXattrs(entry) };
    this.#tree.addFile(path, () => this.#content.add(header, NOTHING));
  }

  #file(path: string[], entry: TarEntry): void {
    const header = { uid: entry.uid, gid: entry.gid, mode: S_IFREG | (entry.mode & 0o7777), target: '', xattrs: storedXattrs(entry) };
    const { promise, resolve, reject } = Promise.withResolvers<Checksum>();
    if (!this.#tree.addFile(path, () => promise)) return;
    this.contentBytes += entry.size;
    this.#body = entry.size > WHOLE_FILE_BYTES ? this.#inPieces(header, entry.size, resolve, reject) : this.#whole(header, entry.size, resolve, reject);
  }

  #inPieces(header: FileHeader, size: number, resolve: (checksum: Checksum) => void, reject: (error: unknown) => void): EntryBody {
    // Begun with the first bytes: entries that wait behind a hole must not hold a file each.
    let begun: ContentStream | undefined;
    let refused = false;
    const withStream = (use: (stream: ContentStream) => void): void => {
      if (refused) return;
      try {
        begun ??= this.#content.begin(header, size);
      } catch (error) {
        refused = true;
        reject(error);
        return;
      }
      use(begun);
    };
    return {
      data: (chunk) => withStream((stream) => stream.write(chunk)),
      end: () => withStream((stream) => void stream.end().then(resolve, reject)),
      abort: () => begun?.abort(),
    };
  }

  #whole(header: FileHeader, size: number, resolve: (checksum: Checksum) => void, reject: (error: unknown) => void): EntryBody {
    let pieces: Uint8Array[] | undefined = [];
    const add = (content: Uint8Array): void => {
      pieces = undefined;
      this.#content.add(header, content).then(resolve, reject);
    };
    return {
      data(chunk) {
        // Most files lie within one chunk and need no copy of their own: the writer makes one.
        if (chunk.byteLength === size) add(chunk);
        else pieces?.push(new Uint8Array(chunk));
      },
      end() {
        if (pieces !== undefined) add(concat(pieces));
      },
      abort() {},
    };
  }
}

const OVERLAY_PREFIXES = ['trusted.overlay.', 'user.overlay.'].map((prefix) => Buffer.from(prefix));

/**
 * Returns the attributes that are stored. Attributes of the overlay file system are not: below an overlay they would be
 * commands, not data. Empty values are not: libostree drops them wherever a file passes through it.
 */
function storedXattrs(entry: TarEntry): readonly Xattr[] {
  if (entry.xattrs.length === 0) return entry.xattrs;
  return entry.xattrs.filter(([name, value]) => value.byteLength > 0 && !OVERLAY_PREFIXES.some((prefix) => prefix.equals(name.subarray(0, prefix.byteLength))));
}
