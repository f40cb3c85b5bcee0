/**
 * Imports a layer: bytes stream from their source through decompression, hashing and the tar parser into objects.
 * Nothing is unpacked.
 */
import { createHash } from 'node:crypto';
import { decompress, detectCompression, type TarEntry, TarParser } from '@cambium/archive';
import { type Bytes, type Checksum, concat, type DiffId, decodeUtf8, splitDigest } from '@cambium/base';
import type { ContentWriter, FileHeader, Transaction } from '@cambium/ostree';
import { S_IFLNK, S_IFREG, type Xattr } from '@cambium/tree';
import { bridgeError } from './errors.ts';
import { type LayerCommit, WHITEOUT_HEADER, writeLayerCommit } from './layer-commit.ts';
import { directoryMode, LayerTree } from './layer-tree.ts';

/** Contents up to this size travel to the writer whole; larger ones in pieces. */
const WHOLE_FILE_BYTES = 256 * 1024;
/** The largest layer accepted; real ones stay far below. */
export const MAX_LAYER_BYTES: number = 128 * 1024 ** 3;

const NOTHING = new Uint8Array(0);

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
  const whiteout = content.add(WHITEOUT_HEADER, NOTHING);
  const flushed = content.flush();
  const tree = new LayerTree(transaction, input.diffId, await whiteout);
  await flushed;
  const receiver = new EntryReceiver(transaction, content, tree, input.diffId);
  const parser = new TarParser(receiver);
  const { algorithm, hex } = splitDigest(input.diffId);
  const hash = createHash(algorithm);
  let tarBytes = 0;
  try {
    for await (const chunk of uncompressed(input, signal)) {
      signal?.throwIfAborted();
      tarBytes += chunk.byteLength;
      hash.update(chunk);
      parser.write(chunk);
      await content.ready();
    }
    parser.end();
  } catch (error) {
    receiver.abort();
    throw error;
  }
  if (hash.digest('hex') !== hex) {
    throw bridgeError('BRIDGE_LAYER_DIFFID_MISMATCH', `Cannot use layer ${input.diffId}: its uncompressed content has another digest`, {
      hint: 'The image is damaged or was built wrongly: pull or build it again',
    });
  }
  await content.flush();
  const root = await tree.write();
  const facts = { diffId: input.diffId, contentBytes: BigInt(receiver.contentBytes), skipped: tree.skipped, links: tree.links };
  const commit = writeLayerCommit(transaction, root, facts);
  return { layer: { ...facts, commit, root }, entries: receiver.entries, tarBytes };
}

/** The compression is read from the bytes: media types of real images are wrong often enough. */
async function* uncompressed(input: LayerInput, signal: AbortSignal | undefined): Bytes {
  const source = input.open(signal)[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  while (size < 6 && !ended) {
    const next = await source.next();
    if (next.done === true) ended = true;
    else {
      head.push(new Uint8Array(next.value));
      size += next.value.byteLength;
    }
  }
  const start = concat(head);
  const whole: Bytes = {
    async *[Symbol.asyncIterator]() {
      try {
        if (start.byteLength > 0) yield start;
        while (!ended) {
          const next = await source.next();
          if (next.done === true) return;
          yield next.value;
        }
      } finally {
        await source.return?.();
      }
    },
  };
  yield* decompress(whole, detectCompression(start), { limitBytes: input.limitBytes ?? MAX_LAYER_BYTES, ...(signal === undefined ? {} : { signal }) });
}

/** Where the bytes of the entry at hand go. */
interface EntryBody {
  data(chunk: Uint8Array): void;
  end(): void;
  abort(): void;
}

/** Takes what the tar parser finds and hands it on. */
class EntryReceiver {
  readonly #transaction: Transaction;
  readonly #content: ContentWriter;
  readonly #tree: LayerTree;
  readonly #layer: string;
  #body: EntryBody | undefined;
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
    const path = this.#tree.path(entry.path);
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
        this.#tree.addHardLink(path, this.#tree.path(entry.linkPath));
        break;
      case 'file':
        this.#file(path, entry);
        break;
      default:
        this.#tree.skip(path, entry.type);
    }
  }

  data(chunk: Uint8Array): void {
    this.#body?.data(chunk);
  }

  entryEnd(): void {
    this.#body?.end();
    this.#body = undefined;
  }

  abort(): void {
    this.#body?.abort();
  }

  #symlink(path: string[], entry: TarEntry): void {
    const target = decodeUtf8(entry.linkPath);
    if (target === undefined || target === '') {
      throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store link "${path.join('/')}" of layer ${this.#layer}: its target is not UTF-8 text`);
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
    const stream = this.#content.begin(header, size);
    return { data: (chunk) => stream.write(chunk), end: () => stream.end().then(resolve, reject), abort: () => stream.abort() };
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
  return entry.xattrs.filter(([name, value]) => value.byteLength > 0 && !OVERLAY_PREFIXES.some((prefix) => prefix.compare(name, 0, prefix.length) === 0));
}
