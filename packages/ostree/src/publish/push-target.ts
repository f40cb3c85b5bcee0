/** A place that a push writes to: files under a root, laid out as a repository. */
import { randomBytes } from 'node:crypto';
import { accessSync, chmodSync, constants, copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { syncDirectory, syncFileSystem } from '../repo/durable-file.ts';
import { Repo } from '../repo/repo.ts';

export interface PushFile {
  /** Where it goes, relative to the root; its directory exists. */
  path: string;
  /** A file on this machine, or its content. */
  content: string | Uint8Array;
}

export interface PushTarget {
  readonly name: string;
  /** How many calls of {@link read} may be under way. */
  readonly atOnce: number;
  /** Returns the names in each of the directories that exist. */
  list(directories: readonly string[], signal?: AbortSignal): Promise<Map<string, string[]>>;
  /** Returns whether there is a file or directory of this name; fails when that cannot be found out. */
  exists(path: string, signal?: AbortSignal): Promise<boolean>;
  /** Returns a small file; undefined when there is none, and only then: what cannot be read is a failure. */
  read(path: string, limitBytes: number, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Makes directories, parents first; those that are there stay. */
  makeDirectories(paths: readonly string[], signal?: AbortSignal): Promise<void>;
  /** Puts groups of files one after the other, and the files of a group in any order. No final name ever has part of a file. */
  put(groups: readonly (readonly PushFile[])[], signal: AbortSignal | undefined, onPut: (file: PushFile) => void): Promise<void>;
  /** Keeps others from pruning there meanwhile, where that can be done; returns what lets go. */
  hold(signal?: AbortSignal): Promise<() => void>;
  /** Returns when what was put is on disk, where the target can tell. */
  settle(): Promise<void>;
}

/** A directory of this machine, or of one that is mounted here. */
export function directoryTarget(root: string): PushTarget {
  return {
    name: root,
    atOnce: 1,
    list: async (directories) => {
      const found = new Map<string, string[]>();
      for (const directory of directories) {
        try {
          found.set(directory, readdirSync(join(root, directory)));
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT') throw error;
        }
      }
      return found;
    },
    exists: async (path) => isThere(join(root, path)),
    read: async (path, limitBytes) => {
      try {
        return readBounded(join(root, path), limitBytes, () =>
          ostreeError('OSTREE_PUSH_FAILED', `Cannot read "${path}" in ${root}: no regular file of at most ${limitBytes} bytes`),
        );
      } catch (error) {
        // A link that leads nowhere is there.
        if (errnoOf(error) === 'ENOENT' && !isThere(join(root, path))) return undefined;
        throw error;
      }
    },
    makeDirectories: async (paths) => {
      // Of a read-only file system mkdir says that something does not exist.
      if (paths.length > 0 && existsSync(root)) accessSync(root, constants.W_OK);
      for (const path of paths) mkdirSync(join(root, path), { recursive: true });
    },
    put: async (groups, signal, onPut) => {
      const changed = new Set<string>();
      for (const file of groups.flat()) {
        signal?.throwIfAborted();
        const temporary = join(root, 'tmp', `push-${randomBytes(8).toString('hex')}`);
        try {
          if (typeof file.content === 'string') copyFileSync(file.content, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
          else writeFileSync(temporary, file.content, { flag: 'wx' });
          chmodSync(temporary, 0o644);
          renameSync(temporary, join(root, file.path));
        } catch (error) {
          rmSync(temporary, { force: true });
          throw error;
        }
        changed.add(dirname(file.path));
        onPut(file);
      }
      for (const directory of changed) syncDirectory(join(root, directory));
    },
    hold: async (signal) => {
      if (!existsSync(join(root, 'objects'))) return () => undefined;
      const lock = await Repo.openSync(root).lock('shared', signal);
      return () => lock.release();
    },
    settle: async () => syncFileSystem(root),
  };
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
