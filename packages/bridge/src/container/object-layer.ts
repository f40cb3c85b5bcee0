/**
 * Reads the repository inside a layer, in all three spellings that have been written: attributes inline beside each object, as hard
 * links to shared files (until 2025), or below `xattrs/` (the first). Format: `docs/formats/ostree-container.md`.
 */
import type { TarEntry, TarHandler } from '@cambium/archive';
import { type Checksum, concat, decodeUtf8, isChecksum, sha256Hex } from '@cambium/base';
import { type ContentStream, type ContentWriter, type FileHeader, type Metadata, parseMetadata, parseXattrList, type Transaction } from '@cambium/ostree';
import { S_IFLNK, S_IFREG } from '@cambium/tree';
import { bridgeError } from '../errors.ts';

const REPO = 'sysroot/ostree/repo/';
/** Contents up to this size travel to the writer whole. */
const WHOLE_FILE_BYTES = 256 * 1024;
const MAX_METADATA_BYTES = 10 * 1024 * 1024;
const MAX_XATTRS_BYTES = 1024 * 1024;
/** All shared attributes of a layer together: real systems have some hundred values. */
const MAX_SHARED_BYTES = 64 * 1024 * 1024;

type MetadataType = 'commit' | 'commitmeta' | 'dirtree' | 'dirmeta';
type ObjectName = { checksum: Checksum; type: MetadataType | 'file' | 'file-xattrs' | 'file-xattrs-link' };

export interface ObjectLayerOptions {
  /** A commit layer has one commit and its metadata; a chunk has file objects only. */
  kind: 'commit' | 'chunk';
  /** For messages. */
  layer: string;
}

/** Takes the entries of a layer and writes its objects into a transaction; nothing of the commit itself. */
export class ObjectReceiver implements TarHandler {
  readonly #transaction: Transaction;
  readonly #content: ContentWriter;
  readonly #options: ObjectLayerOptions;
  readonly #shared = new Map<string, Uint8Array>();
  readonly #seen = new Set<Checksum>();
  #sharedBytes = 0;
  /** Attributes of the object that comes next. */
  #xattrs: { checksum: Checksum; bytes: Uint8Array } | undefined;
  #collect: { parts: Uint8Array[]; done: (bytes: Uint8Array) => void } | undefined;
  #stream: { content: ContentStream; checksum: Checksum } | undefined;
  #commit: { checksum: Checksum; bytes: Uint8Array } | undefined;
  #detached: Metadata | undefined;
  #failure: { error: unknown } | undefined;
  objects = 0;

  constructor(transaction: Transaction, content: ContentWriter, options: ObjectLayerOptions) {
    this.#transaction = transaction;
    this.#content = content;
    this.#options = options;
  }

  /** The commit of the layer, once it was met. */
  get commit(): { checksum: Checksum; bytes: Uint8Array } | undefined {
    return this.#commit;
  }

  /** The detached metadata beside it. */
  get detached(): Metadata | undefined {
    return this.#detached;
  }

  /** Throws what went wrong in a thread. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Says that no more comes. @throws BRIDGE_CONTAINER_INVALID */
  end(): void {
    this.check();
    if (this.#options.kind === 'commit' && this.#commit === undefined) throw this.#fail('it holds no commit');
  }

  abort(): void {
    this.#stream?.content.abort();
  }

  entry(entry: TarEntry): void {
    this.check();
    if (entry.type === 'directory') return;
    const text = decodeUtf8(entry.path);
    if (text === undefined) throw this.#fail('it has a name that is not UTF-8');
    const path = plainPath(text);
    if (!path.startsWith(REPO)) return;
    const inside = path.slice(REPO.length);
    if (inside.startsWith('xattrs/')) this.#sharedFile(inside.slice(7), entry);
    else if (inside.startsWith('objects/')) this.#object(inside, entry);
  }

  data(chunk: Uint8Array): void {
    if (this.#collect !== undefined) this.#collect.parts.push(new Uint8Array(chunk));
    else this.#stream?.content.write(chunk);
  }

  hole(length: number): void {
    if (this.#collect !== undefined) this.#collect.parts.push(new Uint8Array(length));
    else this.#stream?.content.zeros(length);
  }

  entryEnd(): void {
    const collected = this.#collect;
    const stream = this.#stream;
    this.#collect = undefined;
    this.#stream = undefined;
    collected?.done(collected.parts.length === 1 ? (collected.parts[0] as Uint8Array) : concat(collected.parts));
    if (stream !== undefined) this.#expect(stream.content.end(), stream.checksum);
  }

  #object(path: string, entry: TarEntry): void {
    const name = parseObjectName(path);
    if (name === undefined) throw this.#fail(`"${path.slice(0, 200)}" names no object`);
    switch (name.type) {
      case 'file-xattrs':
        this.#sharedFile(name.checksum, entry);
        return;
      case 'file-xattrs-link':
        this.#attributes(name.checksum, entry);
        return;
      case 'file':
        this.#requireCommit();
        this.#file(name.checksum, entry);
        return;
      default:
        if (this.#options.kind === 'chunk') throw this.#fail(`a chunk holds the ${name.type} object ${name.checksum}`);
        this.#collectBytes(entry, MAX_METADATA_BYTES, `${name.type} object ${name.checksum}`, (bytes) =>
          this.#metadata(name.type as MetadataType, name.checksum, bytes),
        );
    }
  }

  #metadata(type: MetadataType, checksum: Checksum, bytes: Uint8Array): void {
    if (type === 'commit') {
      if (this.#commit !== undefined) throw this.#fail('it holds more than one commit');
      if (sha256Hex(bytes) !== checksum) throw this.#mismatch(checksum);
      this.#commit = { checksum, bytes };
      return;
    }
    this.#requireCommit();
    if (type === 'commitmeta') {
      if (this.objects > 0 || this.#detached !== undefined || checksum !== this.#commit?.checksum)
        throw this.#fail('it holds detached metadata where none belongs');
      this.#detached = parseMetadata(bytes, `detached metadata of ${checksum}`);
      return;
    }
    this.objects++;
    if (this.#transaction.writeMetadata(type, bytes) !== checksum) throw this.#mismatch(checksum);
  }

  #requireCommit(): void {
    if (this.#options.kind === 'commit' && this.#commit === undefined) throw this.#fail('it does not begin with a commit');
  }

  /** A shared value, by the checksum of its bytes. */
  #sharedFile(name: string, entry: TarEntry): void {
    if (!isChecksum(name)) throw this.#fail(`"${name.slice(0, 100)}" is no checksum of attributes`);
    this.#collectBytes(entry, MAX_XATTRS_BYTES, `attributes ${name}`, (bytes) => {
      if (sha256Hex(bytes) !== name) throw this.#mismatch(name);
      if (this.#shared.has(name)) return;
      this.#sharedBytes += bytes.byteLength;
      if (this.#sharedBytes > MAX_SHARED_BYTES) throw this.#fail(`its attributes have over ${MAX_SHARED_BYTES} bytes`);
      this.#shared.set(name, bytes);
    });
  }

  #attributes(checksum: Checksum, entry: TarEntry): void {
    if (this.#xattrs !== undefined) throw this.#fail(`the attributes of ${this.#xattrs.checksum} have no object behind them`);
    if (entry.type === 'file') {
      this.#collectBytes(entry, MAX_XATTRS_BYTES, `attributes of ${checksum}`, (bytes) => {
        this.#xattrs = { checksum, bytes };
      });
      return;
    }
    const target = sharedName(decodeUtf8(entry.linkPath) ?? '');
    const bytes = entry.type === 'hardlink' && target !== undefined ? this.#shared.get(target) : undefined;
    if (bytes === undefined) throw this.#fail(`the attributes of ${checksum} are nowhere in the layer`);
    this.#xattrs = { checksum, bytes };
  }

  #file(checksum: Checksum, entry: TarEntry): void {
    const attributes = this.#xattrs;
    this.#xattrs = undefined;
    if (attributes !== undefined && attributes.checksum !== checksum) throw this.#fail(`attributes of ${attributes.checksum} stand before ${checksum}`);
    if (this.#seen.has(checksum)) throw this.#fail(`it holds ${checksum} twice`);
    this.#seen.add(checksum);
    this.objects++;
    const xattrs = attributes === undefined || attributes.bytes.byteLength === 0 ? [] : parseXattrList(attributes.bytes, `attributes of ${checksum}`);
    const common = { uid: entry.uid, gid: entry.gid, xattrs };
    if (entry.type === 'symlink') {
      const target = decodeUtf8(entry.linkPath);
      if (target === undefined) throw this.#fail(`the target of ${checksum} is not UTF-8`);
      this.#expect(this.#content.add({ ...common, mode: S_IFLNK | 0o777, target }, new Uint8Array(0)), checksum);
      return;
    }
    if (entry.type !== 'file') throw this.#fail(`${checksum} is a ${entry.type}, not a file or symlink`);
    const header: FileHeader = { ...common, mode: S_IFREG | entry.mode, target: '' };
    if (entry.size > WHOLE_FILE_BYTES) {
      this.#stream = { content: this.#content.begin(header, entry.size), checksum };
      return;
    }
    this.#collectBytes(entry, WHOLE_FILE_BYTES, checksum, (bytes) => this.#expect(this.#content.add(header, bytes), checksum));
  }

  #collectBytes(entry: TarEntry, limit: number, what: string, done: (bytes: Uint8Array) => void): void {
    if (entry.type !== 'file') throw this.#fail(`${what} is a ${entry.type}, not a file`);
    if (entry.size > limit) throw this.#fail(`${what} has ${entry.size} bytes, over the limit of ${limit}`);
    this.#collect = { parts: [], done };
  }

  /** The object must be what its name says. */
  #expect(writing: Promise<Checksum>, checksum: Checksum): void {
    writing.then(
      (actual) => {
        if (actual !== checksum) this.#failure ??= { error: this.#mismatch(checksum) };
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
  }

  #fail(reason: string): Error {
    return bridgeError('BRIDGE_CONTAINER_INVALID', `Cannot read layer ${this.#options.layer}: ${reason}`, { data: { layer: this.#options.layer } });
  }

  #mismatch(name: string): Error {
    return bridgeError('BRIDGE_CONTAINER_CORRUPT', `Cannot trust layer ${this.#options.layer}: ${name} does not match its checksum`, {
      data: { layer: this.#options.layer, object: name },
    });
  }
}

/** `./x`, `/x` and `x` are the same. */
function plainPath(path: string): string {
  return path.replace(/^(?:\.?\/)+/, '');
}

/** Returns the object that a path below the repository names. */
function parseObjectName(path: string): ObjectName | undefined {
  const found = /^objects\/([0-9a-f]{2})\/([0-9a-f]{62})\.(commit|commitmeta|dirtree|dirmeta|file|file-xattrs|file-xattrs-link|file\.xattrs)$/.exec(path);
  if (found === null) return undefined;
  const [, head, rest, extension] = found as unknown as [string, string, string, string];
  return { checksum: `${head}${rest}` as Checksum, type: extension === 'file.xattrs' ? 'file-xattrs-link' : (extension as ObjectName['type']) };
}

/** Returns the checksum of the shared attributes that a link leads to: `…/yy/rest.file-xattrs` or `…/xattrs/CHECKSUM`. */
function sharedName(target: string): string | undefined {
  const object = /(?:^|\/)([0-9a-f]{2})\/([0-9a-f]{62})\.file-xattrs$/.exec(target);
  if (object !== null) return `${object[1]}${object[2]}`;
  return /(?:^|\/)xattrs\/([0-9a-f]{64})$/.exec(target)?.[1];
}
