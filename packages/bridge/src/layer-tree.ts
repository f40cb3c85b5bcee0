/**
 * Builds a layer's tree from its tar entries: names to checksums in memory, contents straight to the content writer.
 */

import type { TarEntry } from '@cambium/archive';
import { type Checksum, compareUtf8, isKnownError } from '@cambium/base';
import type { Transaction, TreeRoot } from '@cambium/ostree';
import { parseEntryPath, parseWhiteout, quoteBytes, S_IFDIR } from '@cambium/tree';
import { bridgeError } from './errors.ts';
import { IMPLIED_META, type LayerLink, type SkippedEntry } from './layer-commit.ts';

interface Directory {
  meta: Checksum | undefined;
  files: Map<string, Promise<Checksum> | Checksum>;
  dirs: Map<string, Directory>;
  /** Hard links to files of lower layers, by name: the target's path. */
  links: Map<string, string> | undefined;
  /** What OSTree cannot hold, by name: its kind. */
  skipped: Map<string, string> | undefined;
}

/** Orders entries as dirtrees have them. */
export const byName = (a: { name: string }, b: { name: string }): number => compareUtf8(a.name, b.name);

const newDirectory = (): Directory => ({ meta: undefined, files: new Map(), dirs: new Map(), links: undefined, skipped: undefined });

const byPath = (a: { path: string }, b: { path: string }): number => compareUtf8(a.path, b.path);

/** What {@link LayerTree.write} gives: the tree, and what it cannot say, both by path. */
export interface WrittenLayerTree {
  root: TreeRoot;
  /** Hard links whose target this layer does not hold. */
  links: LayerLink[];
  skipped: SkippedEntry[];
}

export class LayerTree {
  readonly #transaction: Transaction;
  /** Names the layer in messages. */
  readonly #layer: string;
  readonly #whiteout: Checksum;
  readonly #root: Directory = newDirectory();

  constructor(transaction: Transaction, layer: string, whiteout: Checksum) {
    this.#transaction = transaction;
    this.#layer = layer;
    this.#whiteout = whiteout;
  }

  /**
   * As {@link path} for the name of an entry itself: an absolute one is refused. Tools that build layers never write one,
   * and readers differ in where it leads.
   */
  entryPath(raw: Uint8Array): string[] | undefined {
    if (raw[0] === 0x2f) throw this.#refused(raw, 'its name is an absolute path');
    return this.path(raw);
  }

  /** Returns the components of an entry's name, or undefined for what aufs kept for itself. @throws BRIDGE_LAYER_ENTRY_REFUSED naming layer and entry */
  path(raw: Uint8Array): string[] | undefined {
    try {
      const path = parseEntryPath(raw);
      for (let i = 0; i < path.length; i++) {
        if (!path[i]?.startsWith('.wh.')) continue;
        const whiteout = parseWhiteout(path[i] as string);
        if (whiteout?.kind === 'ignore') return undefined;
        if (i < path.length - 1) throw new Error(`"${path[i]}" marks a removal and cannot be a directory`);
      }
      return path;
    } catch (cause) {
      throw this.#refused(raw, cause instanceof Error ? cause.message : String(cause), cause);
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
      this.#forget(parent, name, true);
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
    this.#forget(parent, name, false);
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
    if (path.join('/') === target.join('/')) return;
    const holder = this.#directoryOf(target);
    const targetName = target.at(-1) as string;
    const kind = holder?.skipped?.get(targetName);
    if (kind !== undefined) {
      this.skip(path, kind);
      return;
    }
    const found = holder?.files.get(targetName);
    // A link to a link: both are names of the same lower file.
    const lower = holder?.links?.get(targetName) ?? target.join('/');
    this.#forget(parent, name, false);
    if (found !== undefined) parent.files.set(name, found);
    else {
      parent.links ??= new Map();
      parent.links.set(name, lower);
    }
  }

  /** Leaves out what OSTree cannot hold, and hides what a lower layer has under the name, as the entry itself would. */
  skip(path: readonly string[], kind: string): void {
    const name = this.#nameOf(path);
    if (parseWhiteout(name) !== undefined) {
      this.#addWhiteout(path);
      return;
    }
    const parent = this.#parent(path);
    this.#forget(parent, name, false);
    parent.files.set(`.wh.${name}`, this.#whiteout);
    parent.skipped ??= new Map();
    parent.skipped.set(name, kind);
  }

  /** Writes all directories, children first. */
  async write(): Promise<WrittenLayerTree> {
    const found: Pick<WrittenLayerTree, 'links' | 'skipped'> = { links: [], skipped: [] };
    const root = await this.#write(this.#root, '', this.#transaction.writeDirMeta(IMPLIED_META), found);
    return { root, links: found.links.sort(byPath), skipped: found.skipped.sort(byPath) };
  }

  async #write(directory: Directory, path: string, implied: Checksum, found: Pick<WrittenLayerTree, 'links' | 'skipped'>): Promise<TreeRoot> {
    const dirs = [];
    for (const [name, child] of directory.dirs) dirs.push({ name, ...(await this.#write(child, `${path}${name}/`, implied, found)) });
    const files = [];
    for (const [name, checksum] of directory.files) {
      files.push({ name, checksum: typeof checksum === 'string' ? checksum : await checksum.catch((error: unknown) => this.#refuse(error, path + name)) });
    }
    for (const [name, target] of directory.links ?? []) found.links.push({ path: path + name, target });
    for (const [name, kind] of directory.skipped ?? []) found.skipped.push({ path: path + name, kind });
    return { tree: this.#transaction.writeDirTree({ files: files.sort(byName), dirs: dirs.sort(byName) }), meta: directory.meta ?? implied };
  }

  /** Some kinds of repository hold fewer kinds of files: `bare-user-only` no setuid bits. */
  #refuse(cause: unknown, entry: string): never {
    if (!isKnownError(cause, 'OSTREE_FILE_UNSUPPORTED')) throw cause;
    throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store entry "${entry}" of layer ${this.#layer}: ${cause.message}`, {
      cause,
      hint: 'A repository of mode archive holds every file',
      data: { layer: this.#layer, entry },
    });
  }

  #refused(raw: Uint8Array, why: string, cause?: unknown): Error {
    return bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store entry "${quoteBytes(raw)}" of layer ${this.#layer}: ${why}`, {
      cause,
      hint: 'Names must be relative UTF-8 paths that stay inside the image; rebuild the image without this entry',
      data: { layer: this.#layer, entry: quoteBytes(raw) },
    });
  }

  #nameOf(path: readonly string[]): string {
    const name = path.at(-1);
    if (name === undefined) throw bridgeError('BRIDGE_LAYER_ENTRY_REFUSED', `Cannot store layer ${this.#layer}: its root is not a directory`);
    return name;
  }

  #addWhiteout(path: readonly string[]): void {
    const name = this.#nameOf(path);
    this.#parent(path).files.set(name, this.#whiteout);
  }

  /** Makes the way for an entry: a directory over a directory merges, anything else replaces. */
  #forget(parent: Directory, name: string, directory: boolean): void {
    const hadFile = parent.files.delete(name);
    const hadLink = parent.links?.delete(name) ?? false;
    const hadSkipped = parent.skipped?.delete(name) ?? false;
    if (!directory) parent.dirs.delete(name);
    // What stood here in between has replaced a lower directory of the name: the new one does not merge with it.
    else if (hadFile || hadLink || hadSkipped) parent.files.set(`.wh.${name}`, this.#whiteout);
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
      if (directory.files.has(name) || directory.links?.has(name) === true || directory.skipped?.has(name) === true) {
        const [entry, parent] = [path.join('/'), path.slice(0, i + 1).join('/')];
        throw bridgeError(
          'BRIDGE_LAYER_PARENT_REFUSED',
          `Cannot store entry "${entry}" of layer ${this.#layer}: "${parent}" is not a directory in this layer`,
          {
            data: { layer: this.#layer, entry, parent },
          },
        );
      }
      directory = this.#child(directory, name);
    }
    return directory;
  }

  #directoryOf(path: readonly string[]): Directory | undefined {
    let directory: Directory | undefined = this.#root;
    for (const name of path.slice(0, -1)) directory = directory?.dirs.get(name);
    return directory;
  }
}

/** Returns the full st_mode of a directory entry. */
export function directoryMode(entry: TarEntry): number {
  return S_IFDIR | (entry.mode & 0o7777);
}
