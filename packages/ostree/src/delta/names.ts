/** How a static delta is called, and where it lies in a repository. Source: libostree `_ostree_get_relative_static_delta_path`. */
import { type Checksum, isChecksum } from '@cambium/base';
import { encodeDeltaChecksum } from '../delta-path.ts';
import { ostreeError } from '../errors.ts';

/** From which commit (undefined: from nothing) to which. */
export interface DeltaEnds {
  from: Checksum | undefined;
  to: Checksum;
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
