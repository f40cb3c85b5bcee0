import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readlinkSync, type Stats } from 'node:fs';
import { type Checksum, compareBytes } from '@cambium/base';
import { checksumOf, encodeDirMeta, encodeFileHeader, fileChecksum } from '@cambium/ostree';
import { readXattrs } from '@cambium/system';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type Xattr } from '@cambium/tree';
import { OstreeFailure, type Verb } from './verb.ts';

const flags = { 'ignore-xattrs': { kind: 'flag', help: "Don't include xattrs in checksum" } } as const;

export const command: Verb<typeof flags> = {
  summary: 'Checksum a file or directory',
  operands: [{ name: 'PATH', help: '', completes: 'file' }],
  withoutRepo: true,
  flags,
  examples: [{ command: 'cambium ostree checksum /etc/os-release', explains: 'Print the checksum that a commit would give a file' }],
  async run(context, { values, operands }) {
    const [path] = operands;
    if (path === undefined) throw new OstreeFailure('A filename must be given');
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) throw new OstreeFailure(`Error when getting information for file “${path}”: No such file or directory`);
    const xattrs = values['ignore-xattrs'] ? [] : sortedXattrs(path);
    context.ui.result(await checksumOfPath(path, stat, xattrs, context.signal));
    return undefined;
  },
};

/** Of a directory the checksum is that of its metadata alone. */
async function checksumOfPath(path: string, { uid, gid, mode }: Stats, xattrs: readonly Xattr[], signal: AbortSignal): Promise<Checksum> {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return checksumOf(encodeDirMeta({ uid, gid, mode, xattrs }));
    case S_IFLNK:
      return fileChecksum({ uid, gid, mode, target: readlinkSync(path), xattrs }, new Uint8Array(0));
    case S_IFREG: {
      const hash = createHash('sha256').update(encodeFileHeader({ uid, gid, mode, target: '', xattrs }));
      for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Buffer);
      return hash.digest('hex') as Checksum;
    }
    default:
      throw new OstreeFailure(`Not a regular file or symlink: ${path}`);
  }
}

/** As they are stored: in order of their names, empty ones left out. */
function sortedXattrs(path: string): Xattr[] {
  return readXattrs(path)
    .filter(([, value]) => value.byteLength > 0)
    .sort(([a], [b]) => compareBytes(a, b));
}
