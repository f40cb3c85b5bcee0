/** The members of a tar file, read where they stand: nothing is unpacked. */
import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { type TarEntry, TarParser } from '@cambium/archive';
import { type Bytes, decodeUtf8, errnoOf, isKnownError, systemError } from '@cambium/base';
import { ociError } from './errors.ts';
import type { ImageFiles } from './image-files.ts';

/** Docker's archives have three members per layer, layouts one per blob. */
const MAX_MEMBERS = 100_000;
/** `docker save` links equal layers to each other; a chain of links is odd, a circle is an attack. */
const MAX_LINKS = 8;
const BLOCK = 512;
const CHUNK_BYTES = 128 * 1024;
const ZEROS = new Uint8Array(64 * 1024);

type Member = { offset: number; size: number } | { link: string };

/**
 * Opens a tar file and lists its members; contents are skipped, not read. Members by the same name: the last counts, as when unpacking.
 *
 * @throws OCI_ARCHIVE_INVALID, SYSTEM_DENIED
 */
export async function openTarFiles(path: string, signal?: AbortSignal): Promise<ImageFiles> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": there is no such file`, { hint: 'Check the path' });
    throw systemError(cause, `Cannot read "${path}"`) ?? cause;
  }
  try {
    const members = await listMembers(file, path, signal);
    return {
      path,
      size: async (name) => resolve(members, name)?.size,
      open: (name, signal) => readMember(file, resolve(members, name), path, name, signal),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function listMembers(file: FileHandle, path: string, signal: AbortSignal | undefined): Promise<Map<string, Member>> {
  const fail = (reason: string, hint?: string): Error => ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": ${reason}`, hint === undefined ? {} : { hint });
  const info = await file.stat();
  if (!info.isFile()) throw fail('it is not a regular file', 'An image in a directory is an oci:DIRECTORY');
  const members = new Map<string, Member>();
  let at = 0;
  let skip = 0;
  let inside = false;
  const handler = {
    entry(entry: TarEntry): void {
      inside = true;
      const name = decodeUtf8(entry.path);
      if (name === undefined) throw fail('it has a member whose name is not UTF-8');
      if (entry.size > info.size - at) throw fail(`it ends inside "${name}"`);
      skip = entry.size;
      const member = describe(entry, at);
      if (member !== undefined) members.set(plainName(name), member);
    },
    data(chunk: Uint8Array): void {
      skip -= chunk.byteLength;
    },
    hole(): void {
      throw fail('it has sparse members');
    },
    entryEnd(): void {
      // Fewer bytes stored than the member has: it is sparse, and what follows is not where it seems to be.
      if (skip > 0) throw fail('it has sparse members');
      inside = false;
    },
  };
  const parser = new TarParser(handler, { maxEntries: MAX_MEMBERS });
  try {
    while (!parser.done) {
      signal?.throwIfAborted();
      // A new block each time: long names stay views of it until the header they belong to.
      const block = Buffer.allocUnsafe(BLOCK);
      const { bytesRead } = await file.read(block, 0, BLOCK, at);
      if (at === 0 && isCompressed(block.subarray(0, bytesRead))) throw fail('it is compressed', 'Unpack it first with gunzip or zstd -d');
      if (bytesRead === 0) break;
      at += bytesRead;
      parser.write(block.subarray(0, bytesRead));
      // The parser wants to see contents; that they are zeros here is no matter to it.
      const padded = Math.ceil(skip / BLOCK) * BLOCK;
      at += padded;
      for (let left = padded; left > 0; left -= ZEROS.byteLength) parser.write(ZEROS.subarray(0, Math.min(left, ZEROS.byteLength)));
    }
    if (inside) throw fail('it ends early');
    parser.end();
  } catch (error) {
    if (isKnownError(error) && error.code.startsWith('ARCHIVE_')) {
      throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": ${error.message}`, { cause: error, hint: 'Check that it is a tar archive of an image' });
    }
    throw error;
  }
  return members;
}

function describe(entry: TarEntry, offset: number): Member | undefined {
  switch (entry.type) {
    case 'file':
      return { offset, size: entry.size };
    case 'symlink':
    case 'hardlink': {
      const target = decodeUtf8(entry.linkPath);
      if (target === undefined) return undefined;
      // A hard link names its target from the root of the archive, a symlink from where it stands.
      const from = entry.type === 'hardlink' ? '.' : posix.dirname(plainName(decodeUtf8(entry.path) ?? ''));
      return { link: plainName(posix.join('/', from, target)) };
    }
    default:
      return undefined;
  }
}

function plainName(name: string): string {
  return posix.normalize(`/${name}`).slice(1).replace(/\/$/, '');
}

function resolve(members: ReadonlyMap<string, Member>, name: string): { offset: number; size: number } | undefined {
  let member = members.get(name);
  for (let links = 0; member !== undefined && 'link' in member; links++) {
    if (links >= MAX_LINKS) return undefined;
    member = members.get(member.link);
  }
  return member;
}

async function* readMember(
  file: FileHandle,
  member: { offset: number; size: number } | undefined,
  path: string,
  name: string,
  signal: AbortSignal | undefined,
): Bytes {
  if (member === undefined) throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": it has no file "${name}"`);
  let { offset, size: left } = member;
  while (left > 0) {
    signal?.throwIfAborted();
    const length = Math.min(left, CHUNK_BYTES);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, offset);
    if (bytesRead === 0) throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": it ends inside "${name}"`);
    yield buffer.subarray(0, bytesRead);
    offset += bytesRead;
    left -= bytesRead;
  }
}

function isCompressed(start: Uint8Array): boolean {
  const [a, b, c, d] = start;
  return (
    (a === 0x1f && b === 0x8b) ||
    (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) ||
    (a === 0xfd && b === 0x37 && c === 0x7a) ||
    (a === 0x42 && b === 0x5a && c === 0x68)
  );
}
