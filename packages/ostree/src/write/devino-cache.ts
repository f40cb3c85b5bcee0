/**
 * Which (device, inode) pairs are objects of a repository: a file that is a hard link of an object need not be read.
 *
 * A sorted table in shared memory: 48 bytes per object, searched by all threads without copies.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { type Checksum, errnoOf } from '@cambium/base';
import { parseLoosePath } from '../format/object-path.ts';
import type { Repo } from '../repo/repo.ts';

export interface DevInoCache {
  table: SharedArrayBuffer;
  count: number;
}

const ENTRY_BYTES = 48;

/** Scans the content objects of `repo` and its parents (of archive ones: the cache of uncompressed objects). */
export function scanDevIno(repo: Repo): DevInoCache {
  const found: { dev: bigint; ino: bigint; checksum: Checksum }[] = [];
  for (let from: Repo | undefined = repo; from !== undefined; from = from.parent) {
    scanDirectory(`${from.path}/${from.mode === 'archive' ? 'uncompressed-objects-cache' : 'objects'}`, found);
  }
  found.sort((a, b) => (a.ino === b.ino ? order(a.dev, b.dev) : order(a.ino, b.ino)));
  const table = new SharedArrayBuffer(found.length * ENTRY_BYTES);
  const bytes = Buffer.from(table);
  for (const [i, { dev, ino, checksum }] of found.entries()) {
    bytes.writeBigUInt64LE(ino, i * ENTRY_BYTES);
    bytes.writeBigUInt64LE(dev, i * ENTRY_BYTES + 8);
    bytes.write(checksum, i * ENTRY_BYTES + 16, 32, 'hex');
  }
  return { table, count: found.length };
}

/** Returns the object that the file with this device and inode is a hard link of. */
export function lookupDevIno(cache: DevInoCache, dev: bigint, ino: bigint): Checksum | undefined {
  const bytes = Buffer.from(cache.table);
  let low = 0;
  let high = cache.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = middle * ENTRY_BYTES;
    const difference = order(bytes.readBigUInt64LE(at), ino) || order(bytes.readBigUInt64LE(at + 8), dev);
    if (difference === 0) return bytes.toString('hex', at + 16, at + 48) as Checksum;
    if (difference < 0) low = middle + 1;
    else high = middle;
  }
  return undefined;
}

function scanDirectory(root: string, found: { dev: bigint; ino: bigint; checksum: Checksum }[]): void {
  for (const directory of names(root)) {
    for (const name of names(`${root}/${directory}`)) {
      // Content is `.file` here in all modes, the uncompressed cache included.
      const object = parseLoosePath(directory, name, 'bare');
      if (object?.type !== 'file') continue;
      const { dev, ino } = lstatSync(`${root}/${directory}/${name}`, { bigint: true });
      found.push({ dev, ino, checksum: object.checksum });
    }
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}

function order(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
