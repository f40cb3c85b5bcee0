/** What a pull reads from: the files of a repository, wherever it is. */
import type { Bytes } from '@cambium/base';
import type { Repo } from '../repo/repo.ts';

/** Which of a remote's places a file is asked of: `content` is where `contenturl` points. */
export type Place = 'metadata' | 'content';

export interface SmallFile {
  bytes: Uint8Array;
  /** `ETag` and `Last-Modified` of the answer. */
  etag?: string | undefined;
  lastModified?: string | undefined;
}

/** A file that has been read before: the remote may say that it is still the same. */
export interface Validator {
  etag?: string | undefined;
  lastModified?: string | undefined;
}

/** A file on its way. */
export interface IncomingFile {
  /** All of it, when it is short and here already; then `body` need not be read. */
  whole: Uint8Array | undefined;
  body: Bytes;
  announcedBytes: number | undefined;
}

export interface RemoteSource {
  /** For messages; without passwords. */
  readonly where: string;
  /** The remote's repository, when it is on this machine: objects are copied from there. */
  readonly repo: Repo | undefined;
  /** Bytes of bodies received so far, those of refusals included. */
  readonly transferredBytes: number;
  /**
   * Returns a whole file, undefined when the remote has none of that name, and `unchanged` when it is what the validator says.
   * @throws OSTREE_REMOTE_ERROR OSTREE_OBJECT_TOO_LARGE HTTP_*
   */
  get(
    path: string,
    options: { limitBytes: number; place?: Place; since?: Validator | undefined },
    signal?: AbortSignal,
  ): Promise<SmallFile | 'unchanged' | undefined>;
  /**
   * Hands a file's bytes to `take`, which may be called again after a failure of the network; undefined when the remote has none of that name.
   * @throws OSTREE_REMOTE_ERROR HTTP_*, and what `take` throws
   */
  read<T>(path: string, place: Place, take: (file: IncomingFile) => T | Promise<T>, signal?: AbortSignal): Promise<T | undefined>;
  close(): Promise<void>;
}
