/** Where a repair may find objects: other repositories, on this machine or elsewhere. None is trusted. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bytes, type Checksum, collect, isKnownError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { checksumOf, longestFilez, MAX_METADATA_BYTES } from '../format/object-format.ts';
import { loosePath, type StoredType } from '../format/object-path.ts';
import type { FileHeader, MetadataType } from '../format/types.ts';
import { readStoredFile, streamFile } from '../repo/object-reader.ts';
import type { Repo } from '../repo/repo.ts';

/** A content object that is looked for. */
export interface WantedFile {
  checksum: Checksum;
  /** Where it stands in the commits that are repaired, with a leading slash. */
  paths: readonly string[];
  /** The header of the damaged object, where it can still be read; it need not be right. */
  header: FileHeader | undefined;
  /** Owners of the directories that hold it. */
  owners: ReadonlyArray<{ uid: number; gid: number }>;
}

/** Takes a content object as it comes. @throws when it is not what it should be */
export type FileSink = (header: FileHeader, sizeBytes: number, content: Bytes) => Promise<void>;

export interface RepairSource {
  /** For people: a path or URL. */
  readonly name: string;
  /** Returns what the source has under a name, whatever it is. */
  metadata(type: MetadataType, checksum: Checksum, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Gives a content object to `sink`; returns false when the source has none. */
  file(wanted: WantedFile, sink: FileSink, signal?: AbortSignal): Promise<boolean>;
  /** Called once before the first {@link file}, with all that will be asked for. */
  prepare?(wanted: readonly WantedFile[], signal?: AbortSignal): Promise<void>;
  /** Lets go of what the source holds open; called by who opened it. */
  close?(): Promise<void>;
}

/** Another repository, of any mode. */
export function repoSource(repo: Repo): RepairSource {
  return {
    name: repo.path,
    metadata: async (type, checksum) => (repo.hasObject(type, checksum) ? repo.readMetadata(type, checksum) : undefined),
    file: async ({ checksum }, sink, signal) => {
      if (!repo.hasObject('file', checksum)) return false;
      const { header, sizeBytes } = repo.readFileHeader(checksum);
      await sink(header, sizeBytes, repo.openFile(checksum, signal));
      return true;
    },
  };
}

/** Hands the bytes of a file to `take`, which may be called again; returns undefined when there is none of that name. */
export type ReadFile = <T>(path: string, take: (body: Bytes) => Promise<T>, signal?: AbortSignal) => Promise<T | undefined>;

/** An archive repository of which single files can be read. What is not what its name says fails within `read`, which may have another place to try. */
export function archiveSource(name: string, read: ReadFile): RepairSource {
  return {
    name,
    metadata: (type, checksum, signal) =>
      read(
        objectPath(type, checksum),
        async (body) => {
          const bytes = await collect(body, MAX_METADATA_BYTES, `${type} ${checksum}`);
          if (checksumOf(bytes) !== checksum) throw ostreeError('OSTREE_OBJECT_CORRUPT', `Object ${checksum}.${type} does not match its checksum`);
          return bytes;
        },
        signal,
      ),
    file: async ({ checksum }, sink, signal) => {
      const directory = mkdtempSync(join(tmpdir(), 'cambium-repair-'));
      const path = join(directory, 'object');
      const store = { mode: 'archive', disableXattrs: false } as const;
      const take = async (body: Bytes): Promise<true> => {
        await download(path, body, checksum);
        const { header, sizeBytes } = readStoredFile(store, path, checksum);
        await sink(header, sizeBytes, streamFile(store, path, checksum, signal));
        return true;
      };
      try {
        return (await read(objectPath('file', checksum), take, signal)) === true;
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

function objectPath(type: StoredType, checksum: Checksum): string {
  return `objects/${loosePath(type, checksum, 'archive')}`;
}

/** Writes a `.filez` to `path`; one that is longer than its header allows is given up. */
async function download(path: string, body: Bytes, checksum: Checksum): Promise<void> {
  const what = `file object ${checksum}`;
  const fd = openSync(path, 'w', 0o600);
  let limit: number | undefined;
  let begin: Buffer = Buffer.alloc(0);
  let seen = 0;
  try {
    for await (const chunk of body) {
      seen += chunk.byteLength;
      if (limit === undefined) {
        begin = Buffer.concat([begin, chunk]);
        limit = longestFilez(begin, what);
      }
      if (limit !== undefined && seen > limit) throw ostreeError('OSTREE_OBJECT_CORRUPT', `Object ${checksum}.filez is longer than its header says`);
      for (let at = 0; at < chunk.byteLength; ) at += writeSync(fd, chunk, at);
    }
  } finally {
    closeSync(fd);
  }
}

/** Returns whether a failure is one of a source, which another source need not have. */
export function isSourceFailure(error: unknown): boolean {
  if (isKnownError(error)) return error.kind !== 'space' && error.kind !== 'usage';
  return error instanceof Error && 'syscall' in error && (error as NodeJS.ErrnoException).code !== 'ENOSPC';
}
