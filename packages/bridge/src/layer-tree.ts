/**
 * Builds a layer's tree from its tar entries: names to checksums in memory, contents straight to the content writer.
 */

import type { TarEntry } from '@cambium/archive';
import { type Checksum, compareUtf8 } from '@cambium/base';
import type { Transaction, TreeRoot } from '@cambium/ostree';
import { parseEntryPath, parseWhiteout, S_IFDIR } from '@cambium/tree';
import { bridgeError } from './errors.ts';
import { IMPLIED_META, type LayerLink, type SkippedEntry } from './layer-commit.ts';

interface Directory {
  meta: Checksum | undefined;
  files: Map<string, Promise<Checksum> | Checksum>;
  dirs: Map<string, Directory>;
}

const byName = (a: { name: string }, b: { name: string }): number => compareUtf8(a.name, b.name);

const newDirectory = (): Directory => ({ meta: undefined, files: new Map(), dirs: new Map() });

export class LayerTree {
  readonly #transaction: Transaction;
  /** Names the layer in messages. */
  readonly #layer: string;
  readonly #whiteout: Checksum;
  readonly #root: Directory = newDirectory();
  readonly #links = new Map<string, string>();
  readonly skipped: SkippedEntry[] = [];

  constructor(transaction: Transaction, layer: string, whiteout: Checksum) {
    this.#transaction = transaction;
    this.#layer = layer;
    this.#whiteout = whiteout;
  }

  /** Hard links whose target this layer does not hold. */
  get links(): LayerLink[] {
    return Array.from(this.#links, ([path, target]) => ({ path, target })).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** Returns the components of an entry's name. @throws BRIDGE_LAYER_ENTRY_REFUSED naming layer and entry */
  path(raw: Uint8Array): string[] {
    try {
      return parseEntryPath(raw);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw bridgeError(
        'BRIDGE_LAYER_ENTRY_REFUSED',
        `Cannot store entry "${Buffer.from(raw.subarray(0, 300)).toString('latin1')}" of layer ${this.#layer}: ${why}`,
        {
          cause,
          hint: 'Names must be relative UTF-8 paths that stay inside the image; rebuild the image without this entry',
        },
      );
    }
  }

  addDirectory(path: readonly string[], entry: TarEntry, meta: (entry: TarEntry) => Checksum): void {
    const name = path.at(-1);
    if (name !== undefined && parseWhiteout(name) !== undefined) {
      this.#addWhiteout(path);
      return;
    }
    let directory = this.#root;
    if (name !== undefined) {
      const parent = this.#parent(path);
      this.#forget(parent, path, name, true);
      directory = this.#child(parent, name);
    }
    directory.meta = meta(entry);
  }

  /** Adds a file or symlink. Returns false when the name is a whiteout, whose content does not matter. */
  addFile(path: readonly string[], checksum: () => Promise<Checksum>): boolean {
    const name = this.#nameOf(path);
    if (parseWhiteout(name) !== undefined) {
      this.#addWhiteout(path);
      return false;
    }
    const parent = this.#parent(path);
    this.#forget(parent, path, name, false);
    const promise = checksum();
    // The promise is awaited when the tree is written; until then a failure must not count as unhandled.
    promise.catch(() => undefined);
    parent.files.set(name, promise);
    return true;
  }

  /** Adds another name of a file; one that only a lower layer can hold is kept as a link for the squash. */
  addHardLink(path: readonly string[], target: readonly string[]): void {
    const name = this.#nameOf(path);
    const parent = this.#parent(path);
    if (parseWhiteout(name) !== undefined) {
      this.#addWhiteout(path);
      return;
    }
    const found = this.#find(target);
    this.#forget(parent, path, name, false);
    if (found === undefined) this.#links.set(path.join('/'), target.join('/'));
    else parent.files.set(name, found);
  }

  /** Leaves out what OSTree cannot hold, and hides what a lower layer has under the name, as the entry itself would. */
  skip(path: readonly string[], kind: string): void {
    const name = this.#nameOf(path);
    const parent = this.#parent(path);
    this.#forget(parent, path, name, false);
    parent.files.set(`.wh.${name}`, this.#whiteout);
    this.skipped.push({ path: path.join('/'), kind });
  }

  /** Writes all directories, children first. */
  async write(): Promise<TreeRoot> {
    return this.#write(this.#root, this.#transaction.writeDirMeta(IMPLIED_META));
  }

  async #write(directory: Directory, implied: Checksum): Promise<TreeRoot> {
    const dirs = [];
    for (const [name, child] of directory.dirs) dirs.push({ name, ...(await this.#write(child, implied)) });
    const files = [];
    for (const [name, checksum] of directory.files) files.push({ name, checksum: typeof checksum === 'string' ? checksum : await checksum });
    return { tree: this.#transaction.writeDirTree({ files: files.sort(byName), dirs: dirs.sort(byName) }), meta: directory.meta ?? implied };
  }

  #nameOf(path: readonly string[]): string {
    const name = path.at(-1);
    if (name === undefined) throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store layer ${this.#layer}: its root is not a directory`);
    return name;
  }

  #addWhiteout(path: readonly string[]): void {
    const name = this.#nameOf(path);
    const whiteout = parseWhiteout(name);
    if (whiteout?.kind === 'ignore') return;
    this.#parent(path).files.set(name, this.#whiteout);
  }

  /** Makes the way for an entry: a directory over a directory merges, anything else replaces. */
  #forget(parent: Directory, path: readonly string[], name: string, directory: boolean): void {
    parent.files.delete(name);
    if (!directory) parent.dirs.delete(name);
    if (this.#links.size > 0) this.#links.delete(path.join('/'));
  }

  #child(parent: Directory, name: string): Directory {
    let child = parent.dirs.get(name);
    if (child === undefined) {
      child = newDirectory();
      parent.dirs.set(name, child);
    }
    return child;
  }

  #parent(path: readonly string[]): Directory {
    let directory = this.#root;
    for (let i = 0; i < path.length - 1; i++) {
      const name = path[i] as string;
      // Writing through a link that the archive itself made is how archives escape; no ordinary builder does it.
      if (directory.files.has(name)) {
        throw bridgeError(
          'BRIDGE_LAYER_PARENT_REFUSED',
          `Cannot store entry "${path.join('/')}" of layer ${this.#layer}: "${path.slice(0, i + 1).join('/')}" is not a directory in this layer`,
        );
      }
      directory = this.#child(directory, name);
    }
    return directory;
  }

  #find(path: readonly string[]): Promise<Checksum> | Checksum | undefined {
    let directory: Directory | undefined = this.#root;
    for (const name of path.slice(0, -1)) directory = directory?.dirs.get(name);
    return directory?.files.get(path.at(-1) ?? '');
  }
}

/** Returns the full st_mode of a directory entry. */
export function directoryMode(entry: TarEntry): number {
  return S_IFDIR | (entry.mode & 0o7777);
}
