/** `user.ostreemeta`: what a file of a bare-user repository is, which the file itself does not show. */
import type { Checksum } from '@cambium/base';
import { getXattrText } from '@cambium/system';
import { encodeFileHeader, fileChecksum, isSymlink, parseUserMeta } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';

export interface UserMeta {
  /** Without a symlink's target: that is the content. */
  header: FileHeader;
  /** What a regular file's content is hashed behind. */
  prefix: Buffer;
  /** The checksum of a regular file without content: no other call is needed to know those. Undefined for symlinks. */
  emptyChecksum: Checksum | undefined;
}

/** Trees have a handful of owners and modes, each parsed once; hostile ones may have many. */
const MAX_KNOWN = 4096;
const known = new Map<string, UserMeta>();

/** Returns the attribute of an object, by path or descriptor, or undefined when there is none. @throws OSTREE_OBJECT_CORRUPT errno */
export function readUserMeta(target: string | number, checksum: Checksum): UserMeta | undefined {
  const text = getXattrText(target, 'user.ostreemeta');
  if (text === undefined) return undefined;
  let meta = known.get(text);
  if (meta === undefined) {
    meta = describe({ ...parseUserMeta(Buffer.from(text, 'latin1'), `file object ${checksum}`), target: '' });
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(text, meta);
  }
  return meta;
}

function describe(header: FileHeader): UserMeta {
  return { header, prefix: encodeFileHeader(header), emptyChecksum: isSymlink(header) ? undefined : fileChecksum(header, new Uint8Array(0)) };
}
