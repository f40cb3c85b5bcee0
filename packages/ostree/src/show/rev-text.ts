/** Commits and objects as text, byte for byte as `ostree log` and `ostree show` print them. */
import type { Checksum } from '@cambium/base';
import { printVariant, printVariantTo, u32Swap, u64Swap, type Variant } from '@cambium/gvariant';
import { S_IFLNK, S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { byteswap } from '../format/byteswap.ts';
import { metadataValue } from '../format/commit-format.ts';
import { contentChecksum } from '../format/object-format.ts';
import type { Commit, DirMeta, DirTree, FileHeader } from '../format/types.ts';
import { formatXattrs } from './list.ts';
import type { LogEntry } from './log.ts';

export interface CommitTextOptions {
  /** Print the whole object in GVariant text. */
  raw?: boolean;
  /** Print the object with its integers as stored (big-endian read as little-endian); what is for people follows. */
  noByteswap?: boolean;
}

/** The last moment GLib's calendar knows: 9999-12-31 23:59:59. */
const MAX_TIMESTAMP = 253402300799n;

/** Returns the text of a commit, with an empty line at its end. @throws OSTREE_COMMIT_INVALID for a time that no calendar has */
export function formatCommit(checksum: Checksum, commit: Commit, options: CommitTextOptions = {}): string {
  let text = '';
  writeCommit(checksum, commit, options, (piece) => {
    text += piece;
  });
  return text;
}

/** As {@link formatCommit} in pieces: metadata of 100 MB is more text than a string can have. */
export function writeCommit(checksum: Checksum, commit: Commit, options: CommitTextOptions, write: (text: string) => void): void {
  write(`commit ${checksum}\n`);
  if (options.raw === true || options.noByteswap === true) {
    printVariantTo(COMMIT_TYPE, commitValue(commit, options.noByteswap === true), true, write);
    write('\n');
  }
  if (options.raw === true && options.noByteswap !== true) return;
  let text = '';
  if (commit.parent !== undefined) text += `Parent:  ${commit.parent}\n`;
  text += `ContentChecksum:  ${contentChecksum(commit.root)}\nDate:  ${formatTimestamp(commit.timestamp)}\n`;
  const version = metadataValue<string>(commit.metadata, 'version', 's');
  if (version !== undefined && version !== '') text += `Version: ${version}\n`;
  text += commit.subject === '' ? '(no subject)\n' : `\n${indent(commit.subject)}`;
  if (commit.body !== '') text += `\n${indent(commit.body)}`;
  write(`${text}\n`);
}

export function formatLogEntry(entry: LogEntry, options: CommitTextOptions = {}): string {
  if (entry.kind === 'truncated') return '<< History beyond this commit not fetched >>\n';
  return formatCommit(entry.checksum, entry.commit, options);
}

/** Returns seconds since 1970 as `YYYY-MM-DD HH:MM:SS +0000`. */
export function formatTimestamp(seconds: bigint): string {
  if (seconds < 0n || seconds > MAX_TIMESTAMP) {
    throw ostreeError('OSTREE_COMMIT_INVALID', `Cannot read commit: invalid timestamp ${seconds}`, { data: { timestamp: String(seconds) } });
  }
  const iso = new Date(Number(seconds) * 1000).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} +0000`;
}

function indent(text: string): string {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => `    ${line}\n`).join('');
}

const COMMIT_TYPE = '(a{sv}aya(say)sstayay)';

function commitValue(commit: Commit, unswapped: boolean): unknown {
  const bytes = (checksum: Checksum | undefined): Uint8Array => (checksum === undefined ? new Uint8Array(0) : Buffer.from(checksum, 'hex'));
  return [
    unswapped ? commit.metadata : commit.metadata.map(([key, value]) => [key, byteswap(value)]),
    bytes(commit.parent),
    commit.related.map(([name, checksum]) => [name, bytes(checksum)]),
    commit.subject,
    commit.body,
    unswapped ? u64Swap(commit.timestamp) : commit.timestamp,
    bytes(commit.root.tree),
    bytes(commit.root.meta),
  ];
}

/** Returns what `ostree show [--raw]` prints for a directory tree. */
export function formatDirTree(checksum: Checksum, tree: DirTree, options: CommitTextOptions = {}): string {
  let text = `dirtree ${checksum}\n`;
  if (options.raw === true || options.noByteswap === true) {
    const files = tree.files.map((file) => [file.name, Buffer.from(file.checksum, 'hex')]);
    const dirs = tree.dirs.map((dir) => [dir.name, Buffer.from(dir.tree, 'hex'), Buffer.from(dir.meta, 'hex')]);
    text += `${printVariant('(a(say)a(sayay))', [files, dirs], true)}\n`;
  }
  return text;
}

/** Returns what `ostree show [--raw]` prints for directory metadata. */
export function formatDirMeta(checksum: Checksum, meta: DirMeta, options: CommitTextOptions = {}): string {
  let text = `dirmeta ${checksum}\n`;
  if (options.raw === true || options.noByteswap === true) {
    const order = options.noByteswap === true ? u32Swap : (value: number): number => value;
    const xattrs = meta.xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.of(0)]), value]);
    text += `${printVariant('(uuua(ayay))', [order(meta.uid), order(meta.gid), order(meta.mode), xattrs], true)}\n`;
  }
  return text;
}

/** Returns what `ostree show` prints for a content object. */
export function formatFileObject(checksum: Checksum, header: FileHeader, sizeBytes: number): string {
  const symlink = (header.mode & S_IFMT) === S_IFLNK;
  return [
    `Object: ${checksum}`,
    'Type: file',
    `File Type: ${symlink ? 'symlink' : 'regular'}`,
    symlink ? `Target: ${header.target}` : `Size: ${sizeBytes}`,
    `Mode: 0${header.mode.toString(8)}`,
    `Uid: ${header.uid}`,
    `Gid: ${header.gid}`,
    `Extended Attributes: { ${formatXattrs(header.xattrs)} }\n`,
  ].join('\n');
}

/** Returns the value of a metadata key as `--print-metadata-key` prints it: swapped at every depth, unless told otherwise. */
export function formatMetadataValue(value: Variant, options: { noByteswap?: boolean } = {}): string {
  let text = '';
  writeMetadataValue(value, options, (piece) => {
    text += piece;
  });
  return text;
}

/** As {@link formatMetadataValue}, in pieces. */
export function writeMetadataValue(value: Variant, options: { noByteswap?: boolean }, write: (text: string) => void): void {
  const shown = options.noByteswap === true ? value : byteswap(value);
  printVariantTo(shown.type, shown.value, true, write);
}

/** Returns a size as GLib's `g_format_size` does: powers of 1000, one digit after the point, a no-break space before the unit. */
export function formatSize(sizeBytes: number): string {
  if (sizeBytes < 1000) return sizeBytes === 1 ? '1 byte' : `${sizeBytes} bytes`;
  const units = ['kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let unit = 0;
  let value = sizeBytes / 1000;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(1)}\u00a0${units[unit]}`;
}
