/**
 * How static deltas are called and where they lie: `deltas/FR/OM…[-TO…]/superblock`, `delta-indexes/TO/….index`.
 * Source: libostree `_ostree_get_relative_static_delta_path`.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, isChecksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';

/** From which commit (undefined: from nothing) to which. */
export interface DeltaEnds {
  from: Checksum | undefined;
  to: Checksum;
}

export interface DeltaName extends DeltaEnds {
  /** Directory of the delta. */
  path: string;
}

/** Returns `FROM-TO` or `TO`, in hexadecimal: the name in lists, summaries and indexes. */
export function deltaName({ from, to }: DeltaEnds): string {
  return from === undefined ? to : `${from}-${to}`;
}

/** @throws OSTREE_REF_INVALID */
export function parseDeltaName(name: string): DeltaEnds {
  const [first = '', second, ...more] = name.split('-');
  for (const checksum of [first, ...(second === undefined ? [] : [second]), ...more]) {
    if (!isChecksum(checksum) || more.length > 0) throw ostreeError('OSTREE_REF_INVALID', `Invalid rev ${checksum}`);
  }
  return second === undefined ? { from: undefined, to: first as Checksum } : { from: first as Checksum, to: second as Checksum };
}

/** Returns the directory of a delta, relative to the repository. */
export function deltaPath({ from, to }: DeltaEnds): string {
  const name = from === undefined ? encodeDeltaChecksum(to) : `${encodeDeltaChecksum(from)}-${encodeDeltaChecksum(to)}`;
  return `deltas/${name.slice(0, 2)}/${name.slice(2)}`;
}

/** Returns the file that lists the deltas to a commit, relative to the repository. */
export function deltaIndexPath(to: Checksum): string {
  const name = encodeDeltaChecksum(to);
  return `delta-indexes/${name.slice(0, 2)}/${name.slice(2)}.index`;
}

/** Base64 with `_` for `/`, the `+` kept, without padding: 43 characters for 32 bytes. */
export function encodeDeltaChecksum(checksum: Checksum): string {
  return Buffer.from(checksum, 'hex').toString('base64').replaceAll('/', '_').replace(/=+$/, '');
}

/** Returns the checksum, or undefined for what is none. */
export function decodeDeltaChecksum(text: string): Checksum | undefined {
  if (!/^[A-Za-z0-9+_]{43}$/.test(text)) return undefined;
  const bytes = Buffer.from(text.replaceAll('_', '/'), 'base64');
  const checksum = bytes.toString('hex') as Checksum;
  // The last character has two bits to spare: only one spelling is right.
  return bytes.byteLength === 32 && encodeDeltaChecksum(checksum) === text ? checksum : undefined;
}

/** Yields the static deltas of a repository. */
export function* listDeltas(repoPath: string): Generator<DeltaName> {
  for (const { name, path } of twoLevels(join(repoPath, 'deltas'))) {
    const [first = '', second] = name.split('-');
    const a = decodeDeltaChecksum(first);
    const b = second === undefined ? undefined : decodeDeltaChecksum(second);
    if (a === undefined || (second !== undefined && b === undefined)) continue;
    yield b === undefined ? { path, from: undefined, to: a } : { path, from: a, to: b };
  }
}

/** Yields the files that list the deltas to a commit. */
export function* listDeltaIndexes(repoPath: string): Generator<{ path: string; to: Checksum }> {
  for (const { name, path } of twoLevels(join(repoPath, 'delta-indexes'))) {
    const to = name.endsWith('.index') ? decodeDeltaChecksum(name.slice(0, -'.index'.length)) : undefined;
    if (to !== undefined) yield { path, to };
  }
}

function* twoLevels(root: string): Generator<{ name: string; path: string }> {
  if (!existsSync(root)) return;
  for (const directory of readdirSync(root, { withFileTypes: true })) {
    if (!directory.isDirectory() || directory.name.length !== 2) continue;
    for (const rest of readdirSync(join(root, directory.name))) yield { name: directory.name + rest, path: join(root, directory.name, rest) };
  }
}
