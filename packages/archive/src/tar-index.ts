/** Tar archives on disk as a set of named members, read at random: what oci-archive and docker-archive files are. */
import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { type Bytes, systemError } from '@cambium/base';
import { type DecompressOptions, decompress } from './decompress.ts';
import { COMPRESSION_HEAD_BYTES, detectCompression } from './detect-compression.ts';
import { archiveError } from './errors.ts';
import { BLOCK, type TarLimits } from './tar-entry.ts';
import { TarParser } from './tar-parser.ts';

/** Where a member's content stands in the archive file. */
export interface TarMember {
  offset: number;
  size: number;
}

export interface IndexTarOptions {
  limits?: TarLimits;
  signal?: AbortSignal;
}

/** Read at once when looking for headers: members are large, or a few documents. */
const SCAN_BYTES = 16 * 1024;
const READ_BYTES = 256 * 1024;
/** Symlinks followed from one member; `docker save` makes one. */
const MAX_LINKS = 8;

/**
 * Returns the files of an uncompressed archive by name, without leading `./` or `/`. Contents are not read.
 * Links to members are members too: older `docker save` links equal layers. Of two entries with one name the last counts.
 *
 * @throws ARCHIVE_TAR_*, ARCHIVE_TAR_COMPRESSED
 */
export async function indexTar(path: string, options: IndexTarOptions = {}): Promise<Map<string, TarMember>> {
  const members = new Map<string, TarMember>();
  const links = new Map<string, string>();
  const parser = new TarParser(
    {
      entry(entry) {
        const name = memberName(Buffer.from(entry.path).toString('utf8'));
        members.delete(name);
        links.delete(name);
        const target = Buffer.from(entry.linkPath).toString('utf8');
        if (entry.type === 'hardlink') links.set(name, memberName(target));
        else if (entry.type === 'symlink') links.set(name, memberName(posix.join('/', posix.dirname(name), target)));
        else if (entry.type === 'file') {
          const offset = parser.contentOffset;
          if (offset === undefined) throw archiveError('ARCHIVE_TAR_UNSUPPORTED', `Cannot index "${path}": member "${name}" is sparse`);
          members.set(name, { offset, size: entry.size });
        }
      },
      data() {},
      entryEnd() {},
    },
    options.limits,
  );
  await withFile(path, async (file) => {
    const { size } = await file.stat();
    const buffer = new Uint8Array(SCAN_BYTES);
    let at = 0;
    while (at < size && !parser.done) {
      options.signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, SCAN_BYTES, at);
      if (bytesRead === 0) break;
      const chunk = buffer.subarray(0, bytesRead);
      if (at === 0) refuseCompressed(chunk, path);
      parser.write(chunk);
      at += bytesRead;
      // Over what is left in the file there is nothing to skip: the parser then says what is missing.
      at += parser.skip(size - at);
    }
    parser.end();
  });
  for (const [name, first] of links) {
    let target: string | undefined = first;
    for (let hops = 0; target !== undefined && hops < MAX_LINKS; hops++) {
      const member = members.get(target);
      if (member !== undefined) {
        members.set(name, member);
        break;
      }
      target = links.get(target);
    }
  }
  return members;
}

/** Reads a member that {@link indexTar} found. The chunks share one buffer. @throws ARCHIVE_TAR_TRUNCATED */
export async function* readTarMember(path: string, member: TarMember, signal?: AbortSignal): Bytes {
  const file = await openFile(path);
  try {
    const buffer = new Uint8Array(Math.max(1, Math.min(READ_BYTES, member.size)));
    for (let at = 0; at < member.size; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, member.size - at), member.offset + at);
      if (bytesRead === 0) throw archiveError('ARCHIVE_TAR_TRUNCATED', `Cannot read "${path}": it ends inside a member`, { data: { offset: member.offset } });
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** @throws ARCHIVE_TAR_MEMBER_MISSING */
export function tarMember(members: ReadonlyMap<string, TarMember>, name: string, path: string): TarMember {
  const member = members.get(memberName(name));
  if (member === undefined) throw archiveError('ARCHIVE_TAR_MEMBER_MISSING', `Cannot find "${name}" in "${path}"`, { data: { name } });
  return member;
}

/**
 * Returns the path of an archive that {@link indexTar} takes: `path` itself, or, when that is compressed
 * (`docker save | gzip`), `temporaryPath`, to which it is unpacked. The caller removes the temporary file.
 *
 * @throws ARCHIVE_DECOMPRESS_*, ARCHIVE_COMPRESSION_UNSUPPORTED, SYSTEM_NO_SPACE
 */
export async function plainTar(path: string, temporaryPath: string, options: DecompressOptions = {}): Promise<string> {
  const kind = await withFile(path, async (file) => {
    const head = new Uint8Array(COMPRESSION_HEAD_BYTES);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return detectCompression(head.subarray(0, bytesRead));
  });
  if (kind === 'none') return path;
  // 'wx': never into a file or through a link that someone else put there.
  const output = await openFile(temporaryPath, 'wx');
  try {
    for await (const chunk of decompress(fileBytes(path), kind, options)) {
      for (let at = 0; at < chunk.length; ) at += (await output.write(chunk, at)).bytesWritten;
    }
  } catch (error) {
    throw systemError(error, `Cannot unpack "${path}"`) ?? error;
  } finally {
    await output.close();
  }
  return temporaryPath;
}

async function* fileBytes(path: string): Bytes {
  const file = await openFile(path);
  try {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function refuseCompressed(head: Uint8Array, path: string): void {
  const kind = detectCompression(head);
  // A plain tar may begin with any name, also one that looks like a magic number.
  if (kind === 'none' || (head.length >= BLOCK && Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar')) return;
  throw archiveError('ARCHIVE_TAR_COMPRESSED', `Cannot index "${path}": it is compressed with ${kind}`, {
    hint: `Unpack it first, as in: ${kind} -d`,
    data: { kind },
  });
}

function memberName(path: string): string {
  return posix.join('/', path).replace(/\/+$/, '').slice(1);
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await openFile(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function openFile(path: string, flags = 'r'): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (error) {
    throw systemError(error, `Cannot open "${path}"`) ?? error;
  }
}
