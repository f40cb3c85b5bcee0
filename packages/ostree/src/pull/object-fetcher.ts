/**
 * Brings the objects below commits: from what is here, from repositories on this machine, or over the network with many
 * requests at once. Each object has its checksum before anything takes its name.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Checksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { checksumOf, headerLength, longestFilez, MAX_METADATA_BYTES, parseDirMeta, parseDirTree, parseFilezHeader } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { DirTree, MetadataType, TreeRoot } from '../format/types.ts';
import type { GrowingRoom } from '../repo/free-blocks.ts';
import { type ObjectPlace, PresentObjects } from '../repo/present-objects.ts';
import type { Repo } from '../repo/repo.ts';
import { checksumsIn, encodeChecksums, missingIn } from '../repo/tree-gaps.ts';
import { MAX_FILEZ_RECORD } from '../write/batching-writer.ts';
import { checkUserOnly } from '../write/content-copy.ts';
import type { ContentWriter } from '../write/content-writer.ts';
import type { Transaction } from '../write/transaction.ts';
import { FetchQueue } from './fetch-queue.ts';
import { missingFile } from './http-source.ts';
import { LocalObjects } from './local-objects.ts';
import type { PullEvent, PullOptions } from './pull-types.ts';
import type { IncomingFile, RemoteSource } from './remote-source.ts';

/** A record may claim to unpack to a thousand times its size; what does not fit the memory that a thread uses again is unpacked in pieces. */
const MAX_UNPACKED_RECORD: number = 1024 * 1024 - 16_384;
const DEFAULT_REQUESTS = 16;
/** Large objects that wait for a thread; more only fill the disk. */
const MAX_WAITING_BYTES: number = 64 * 1024 * 1024;
/** Trees of which only some paths are wanted, and those of repositories on this machine, are looked through so many at a time. */
const TREES_PER_TURN = 64;

/** A large object on its way to a thread. */
interface SpooledFile {
  path: string;
  sizeBytes: number;
  room: GrowingRoom | undefined;
}

type OpenSpool = Omit<SpooledFile, 'sizeBytes'> & { fd: number };

interface PendingTree {
  checksum: Checksum;
  /** Remaining components of the paths that are wanted below; undefined for all. */
  paths: readonly (readonly string[])[] | undefined;
}

export class ObjectFetcher {
  metadataFetched = 0;
  contentFetched = 0;
  metadataImported = 0;
  contentImported = 0;
  readonly #source: RemoteSource;
  readonly #transaction: Transaction;
  readonly #repo: Repo;
  readonly #options: PullOptions;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #on: (event: PullEvent) => void;
  readonly #locals: { repo: Repo; objects: LocalObjects }[];
  readonly #seen = new ObjectSet();
  readonly #queue: FetchQueue;
  readonly #trees: PendingTree[] = [];
  /** Trees that are here and wanted whole. */
  #here: Checksum[] = [];
  readonly #trusted: boolean;
  readonly #present: PresentObjects;
  /** Half-fetched large objects, in the staging directory: those of a killed pull go when it is taken over. */
  readonly #spool: string;
  #spooled = 0;
  /** Of whole files that no thread has worked off yet. */
  #waitingBytes = 0;
  #walking = false;
  #looking = false;
  #contentWanted = 0;
  #treesOpen = 0;

  constructor(source: RemoteSource, transaction: Transaction, options: PullOptions, signal: AbortSignal | undefined, on: (event: PullEvent) => void) {
    this.#source = source;
    this.#transaction = transaction;
    this.#repo = transaction.repo;
    // What new directories need is asked for singly; threads look for what those that are here have lost.
    this.#present = new PresentObjects(placesOf(transaction.repo), Number.POSITIVE_INFINITY);
    this.#options = options;
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    this.#on = on;
    const { untrusted = false, bareUserOnlyFiles = false } = options;
    const local = [...(source.repo === undefined ? [] : [source.repo]), ...(options.localCaches ?? [])];
    this.#locals = local.map((repo) => ({ repo, objects: new LocalObjects(repo, transaction, { untrusted, bareUserOnlyFiles }, this.#signal) }));
    this.#trusted = options.httpTrusted === true;
    // Of a name that no other pull uses: by the time it is removed, the directory may be somebody else's.
    this.#spool = join(transaction.staging, `fetch-${randomBytes(8).toString('hex')}`);
    this.#queue = new FetchQueue(options.requests ?? DEFAULT_REQUESTS, this.#stop, (checksum) => this.#fetchFile(checksum));
  }

  /** Aborted by the caller, or by the first failure of an object. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /**
   * Asks for all that a tree needs; {@link drain} waits for it. Also what an older commit has in common with it is looked at:
   * that commit may have been whole once and have lost objects since.
   */
  wantTree(root: TreeRoot): void {
    this.#present.refresh();
    const { subpaths } = this.#options;
    const paths = subpaths === undefined || subpaths.length === 0 ? undefined : subpaths.map((path) => path.split('/').filter((part) => part !== ''));
    this.#wantMetadata('dirmeta', root.meta);
    this.#wantTreeObject({ checksum: root.tree, paths: paths?.some((path) => path.length === 0) === true ? undefined : paths });
  }

  /** Puts one object into the transaction, now. */
  async fetchNow(type: MetadataType | 'file', checksum: Checksum): Promise<void> {
    if (type !== 'file') this.#transaction.writeMetadata(type, await this.fetchMetadata(type, checksum));
    else if (!this.#fromLocal('file', checksum)) await this.#fetchFile(checksum);
  }

  /** Returns a verified metadata object of the remote. @throws OSTREE_REMOTE_FILE_MISSING OSTREE_OBJECT_CORRUPT */
  async fetchMetadata(type: MetadataType, checksum: Checksum, limitBytes: number = MAX_METADATA_BYTES): Promise<Uint8Array> {
    const path = `objects/${loosePath(type, checksum, 'archive')}`;
    this.metadataFetched++;
    const file = await this.#source.get(path, { limitBytes, place: 'content' }, this.#signal);
    if (file === undefined || file === 'unchanged') throw missingFile(path);
    const actual = checksumOf(file.bytes);
    if (actual !== checksum) {
      throw ostreeError('OSTREE_OBJECT_CORRUPT', `Corrupted ${type} object; checksum expected='${checksum}' actual='${actual}'`, {
        data: { checksum, type, actual },
      });
    }
    return file.bytes;
  }

  /** Waits until everything asked for is staged. @throws the first failure */
  async drain(): Promise<void> {
    try {
      await this.#queue.drain();
    } catch (error) {
      await this.#keep();
      throw error;
    }
    await this.#transaction.content().flush();
    this.#report();
  }

  /** Ends what is under way after a failure elsewhere. */
  async stop(error: unknown): Promise<void> {
    this.#queue.fail(error);
    await this.#queue.drain().catch(() => undefined);
    await this.#keep();
  }

  /** Stages what has come before a failure, so that the next pull need not ask for it again. */
  async #keep(): Promise<void> {
    // The failure that is reported is the first one.
    await this.#transaction
      .content()
      .flush()
      .catch(() => undefined);
  }

  /** Removes what is left of large objects after a failure; threads must have ended. */
  removeSpool(): void {
    for (let index = 0; index < this.#spooled; index++) rmSync(`${this.#spool}-${index}`, { force: true });
  }

  #wantMetadata(type: 'dirmeta', checksum: Checksum): void {
    if (!this.#seen.add(type, checksum) || this.#present.has(type, checksum) || this.#fromLocal(type, checksum)) return;
    this.#queue.addUrgent(async () => {
      const bytes = await this.fetchMetadata(type, checksum);
      parseDirMeta(bytes);
      this.#stage(type, checksum, bytes);
      this.#report();
      await this.#transaction.content().ready();
    });
  }

  #wantTreeObject(tree: PendingTree): void {
    // A part of a tree may be wanted twice in different parts.
    if (tree.paths === undefined && !this.#seen.add('dirtree', tree.checksum)) return;
    const isHere = this.#present.has('dirtree', tree.checksum);
    if (isHere && tree.paths === undefined) {
      this.#here.push(tree.checksum);
      this.#lookBelow();
      return;
    }
    this.#treesOpen++;
    if (isHere || this.#fromLocal('dirtree', tree.checksum)) {
      this.#trees.push(tree);
      this.#walk();
      return;
    }
    this.#queue.addUrgent(async () => {
      const bytes = await this.fetchMetadata('dirtree', tree.checksum);
      const parsed = parseDirTree(bytes, `dirtree ${tree.checksum}`);
      this.#stage('dirtree', tree.checksum, bytes);
      this.#visit(tree, parsed);
      await this.#transaction.content().ready();
    });
  }

  /** Has a thread write an object that is verified and parsed. */
  #stage(type: 'dirtree' | 'dirmeta', checksum: Checksum, bytes: Uint8Array): void {
    if (bytes.byteLength > MAX_FILEZ_RECORD) this.#transaction.writeMetadata(type, bytes);
    else
      this.#transaction
        .content()
        .addMetadata(type, checksum, bytes)
        .catch((error: unknown) => this.#queue.fail(error));
  }

  /** Has a thread look for what is missing below the trees that are here. */
  #lookBelow(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#queue.addUrgent(async () => {
      const trees = encodeChecksums(this.#here);
      this.#here = [];
      const gaps = await this.#transaction.workers.findGaps(trees);
      for (const { type, checksum } of missingIn(gaps)) {
        if (type === 'file') this.#wantFile(checksum);
        else if (type === 'dirmeta') this.#wantMetadata(type, checksum);
        else this.#wantTreeObject({ checksum, paths: undefined });
      }
      for (const checksum of checksumsIn(gaps.rest)) this.#here.push(checksum);
      this.#looking = false;
      if (this.#here.length > 0) this.#lookBelow();
      else this.#report();
    });
  }

  /** Looks through other trees that are at hand, a few in each turn. */
  #walk(): void {
    if (this.#walking) return;
    this.#walking = true;
    this.#queue.addUrgent(async () => {
      for (let count = 0; count < TREES_PER_TURN; count++) {
        const tree = this.#trees.pop();
        if (tree === undefined) break;
        this.#visit(tree, this.#repo.readDirTree(tree.checksum));
      }
      await this.#transaction.content().ready();
      await new Promise((resolve) => setImmediate(resolve));
      this.#walking = false;
      if (this.#trees.length > 0) this.#walk();
    });
  }

  #visit({ paths }: PendingTree, tree: DirTree): void {
    for (const { name, checksum } of tree.files) {
      if (paths !== undefined && !paths.some((path) => path.length === 1 && path[0] === name)) continue;
      this.#wantFile(checksum);
    }
    for (const { name, tree: below, meta } of tree.dirs) {
      const inside = paths?.filter((path) => path[0] === name).map((path) => path.slice(1));
      if (inside?.length === 0) continue;
      this.#wantMetadata('dirmeta', meta);
      this.#wantTreeObject({ checksum: below, paths: inside?.some((path) => path.length === 0) === true ? undefined : inside });
    }
    this.#treesOpen--;
    this.#report();
  }

  #wantFile(checksum: Checksum): void {
    if (!this.#seen.add('file', checksum) || this.#present.has('file', checksum) || this.#fromLocal('file', checksum)) return;
    this.#contentWanted++;
    this.#queue.addFile(checksum);
  }

  /** Takes an object from a repository on this machine. The `file://` remote must have it; caches may. */
  #fromLocal(type: 'file' | 'dirmeta' | 'dirtree', checksum: Checksum): boolean {
    for (const { repo, objects } of this.#locals) {
      if (repo !== this.#source.repo && !repo.hasObject(type, checksum)) continue;
      if (type === 'file') {
        this.contentImported++;
        const pending = objects.file(checksum);
        if (pending !== undefined) this.#queue.addUrgent(() => pending);
      } else {
        objects.metadata(type, checksum);
        this.metadataImported++;
      }
      return true;
    }
    return false;
  }

  async #fetchFile(checksum: Checksum): Promise<void> {
    const path = `objects/${loosePath('file', checksum, 'archive')}`;
    const found = await this.#source.read(
      path,
      'content',
      (file) => (file.whole === undefined ? this.#receive(checksum, file) : this.#accept(checksum, file.whole)),
      this.#signal,
    );
    if (found === undefined) throw missingFile(path);
    this.contentFetched++;
    const writer = this.#transaction.content();
    if (found instanceof Uint8Array) writer.addFilez(checksum, found, this.#trusted).catch((error: unknown) => this.#queue.fail(error));
    else await this.#takeSpooled(checksum, found, writer);
    this.#report();
    // No more is asked for than is worked off.
    await writer.ready();
  }

  /** Hands a file to a thread, and waits only where many of them wait for the threads: until it is worked off, it takes its room twice. */
  async #takeSpooled(checksum: Checksum, { path, sizeBytes, room }: SpooledFile, writer: ContentWriter): Promise<void> {
    // An archive repository keeps the file itself. Elsewhere the object takes its own room.
    if (this.#repo.mode !== 'archive') room?.giveBack();
    this.#waitingBytes += sizeBytes;
    const stored = writer.addFilezFile(checksum, path, this.#trusted).then(
      () => {
        this.#waitingBytes -= sizeBytes;
      },
      (error: unknown) => {
        this.#waitingBytes -= sizeBytes;
        this.#queue.fail(error);
      },
    );
    if (this.#waitingBytes > MAX_WAITING_BYTES) await stored;
  }

  /** Keeps a small object in memory and a large one in a file. */
  async #receive(checksum: Checksum, { body, announcedBytes }: IncomingFile): Promise<Uint8Array | SpooledFile> {
    const { space } = this.#transaction;
    if (announcedBytes !== undefined) space?.check(announcedBytes);
    let buffer = Buffer.allocUnsafe(Math.min(announcedBytes ?? 16_384, MAX_FILEZ_RECORD));
    let seen = 0;
    let limit: number | undefined;
    let file: OpenSpool | undefined;
    try {
      for await (const chunk of body) {
        if (limit === undefined) {
          const head = seen === 0 ? chunk : Buffer.concat([buffer.subarray(0, seen), chunk.subarray(0, 16)]);
          limit = longestFilez(head, `file object ${checksum}`);
          // Known now instead of after gigabytes: what it unpacks to has no room. An archive repository does not unpack it.
          if (limit !== undefined && this.#repo.mode !== 'archive') space?.check(claimedBytes(head, checksum));
        }
        if (limit !== undefined && seen + chunk.byteLength > limit)
          throw ostreeError('OSTREE_OBJECT_CORRUPT', `Object ${checksum}.filez is longer than its header says`, { data: { checksum, type: 'file' } });
        if (file === undefined && seen + chunk.byteLength > MAX_FILEZ_RECORD) {
          file = this.#openSpool(buffer.subarray(0, seen));
          // No more of it is looked at again.
          buffer = Buffer.from(buffer.subarray(0, Math.min(seen, headerLength(buffer.subarray(0, seen), `file object ${checksum}`))));
        }
        if (file !== undefined) {
          file.room?.grow(seen + chunk.byteLength);
          writeAll(file.fd, chunk);
        } else {
          if (seen + chunk.byteLength > buffer.byteLength) {
            const larger = Buffer.allocUnsafe(Math.min(MAX_FILEZ_RECORD, Math.max(2 * buffer.byteLength, seen + chunk.byteLength)));
            buffer.copy(larger, 0, 0, seen);
            buffer = larger;
          }
          buffer.set(chunk, seen);
        }
        seen += chunk.byteLength;
      }
      if (file === undefined) return this.#accept(checksum, buffer.subarray(0, seen));
      this.#checkHeader(checksum, buffer);
    } catch (error) {
      if (file !== undefined) {
        closeSync(file.fd);
        rmSync(file.path, { force: true });
        file.room?.giveBack();
      }
      throw error;
    }
    closeSync(file.fd);
    file.room?.settle(seen);
    return { path: file.path, sizeBytes: seen, room: file.room };
  }

  /** Takes a whole small object; one that says it is large in the end goes into a file nevertheless. */
  #accept(checksum: Checksum, bytes: Uint8Array): Uint8Array | SpooledFile {
    this.#checkHeader(checksum, bytes);
    if (claimedBytes(bytes, checksum) <= MAX_UNPACKED_RECORD) return bytes;
    const { path, room, fd } = this.#openSpool(bytes);
    closeSync(fd);
    room?.settle(bytes.byteLength);
    return { path, sizeBytes: bytes.byteLength, room };
  }

  #checkHeader(checksum: Checksum, head: Uint8Array): void {
    if (this.#options.bareUserOnlyFiles === true) checkUserOnly(checksum, parseFilezHeader(head, `file object ${checksum}`).header);
  }

  #openSpool(start: Uint8Array): OpenSpool {
    const room = this.#transaction.space?.growing();
    room?.grow(start.byteLength);
    const path = `${this.#spool}-${this.#spooled++}`;
    const fd = openSync(path, 'wx', 0o644);
    try {
      writeAll(fd, start);
    } catch (error) {
      closeSync(fd);
      rmSync(path, { force: true });
      room?.giveBack();
      throw error;
    }
    return { path, room, fd };
  }

  #report(): void {
    this.#on({
      type: 'progress',
      metadata: this.metadataFetched + this.metadataImported,
      content: this.contentFetched + this.contentImported,
      contentWanted: this.#contentWanted + this.contentImported,
      transferredBytes: this.#source.transferredBytes,
      metadataDone: this.#treesOpen === 0 && !this.#looking,
    });
  }
}

/** Returns where objects of a repository may be, its transaction's and its parents' included. */
function placesOf({ path, mode, staging, parent }: Repo): ObjectPlace[] {
  const own = [{ objects: join(path, 'objects'), mode }, ...(staging === undefined ? [] : [{ objects: staging, mode }])];
  return parent === undefined ? own : [...own, ...placesOf(parent)];
}

/** Returns the size that an archived object says it unpacks to. @throws OSTREE_OBJECT_CORRUPT */
function claimedBytes(head: Uint8Array, checksum: Checksum): number {
  if (headerLength(head, `file object ${checksum}`) < 16 || head.byteLength < 16)
    throw ostreeError('OSTREE_OBJECT_CORRUPT', `File object ${checksum} is shorter than its header`);
  const view = new DataView(head.buffer, head.byteOffset + 8, 8);
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
}
