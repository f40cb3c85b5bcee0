/** The members of a tar file as the files of an image, read where they stand. */
import { randomUUID } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { indexTar, plainTar, readTarMember } from '@cambium/archive';
import { type Bytes, errnoOf, isKnownError, systemError } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { ImageFiles } from './image-files.ts';

export interface TarFilesOptions {
  /** Where a compressed archive (`docker save | gzip`) may be unpacked until it is closed; without it one is refused. */
  temporaryDirectory?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Docker's archives have three members per layer, layouts one per blob. */
const MAX_MEMBERS = 100_000;

/**
 * Opens a tar file and lists its members; contents are skipped, not read.
 *
 * @throws OCI_ARCHIVE_INVALID, SYSTEM_DENIED, SYSTEM_NO_SPACE
 */
export async function openTarFiles(path: string, { temporaryDirectory, signal }: TarFilesOptions = {}): Promise<ImageFiles> {
  await requireFile(path);
  const temporary = temporaryDirectory === undefined ? undefined : join(temporaryDirectory, `image-${randomUUID()}.tar`);
  const close = async (): Promise<void> => {
    if (temporary !== undefined) await rm(temporary, { force: true });
  };
  const options = signal === undefined ? {} : { signal };
  try {
    const plain = temporary === undefined ? path : await plainTar(path, temporary, options);
    const members = await indexTar(plain, { ...options, limits: { maxEntries: MAX_MEMBERS } });
    const { size: available } = await stat(plain);
    return {
      path,
      size: async (name) => {
        const member = members.get(name);
        if (member !== undefined && member.offset + member.size > available)
          throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": it ends inside "${name}"`);
        return member?.size;
      },
      async *open(name, signal): Bytes {
        const member = members.get(name);
        if (member === undefined) throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": it has no file "${name}"`);
        try {
          yield* readTarMember(plain, member, signal);
        } catch (error) {
          throw invalid(error, path);
        }
      },
      close,
    };
  } catch (error) {
    await close();
    throw invalid(error, path);
  }
}

/** A pipe would block for ever, and a directory gives a riddle of an error. */
async function requireFile(path: string): Promise<void> {
  try {
    if ((await stat(path)).isFile()) return;
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT' && errnoOf(cause) !== 'ENOTDIR') throw systemError(cause, `Cannot read "${path}"`) ?? cause;
    throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": there is no such file`, { hint: 'Check the path' });
  }
  throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": it is not a regular file`, { hint: 'An image in a directory is an oci:DIRECTORY' });
}

/** The archive is at fault for what its parser and decompressor say. */
function invalid(error: unknown, path: string): unknown {
  if (!isKnownError(error) || !error.code.startsWith('ARCHIVE_')) return error;
  return ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": ${error.message}`, {
    cause: error,
    hint: error.hint ?? 'Check that it is a tar archive of an image',
    data: { reason: error.code },
  });
}
