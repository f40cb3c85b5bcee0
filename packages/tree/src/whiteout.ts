/** How image layers say that something below them is gone. Source: OCI image-spec 1.1 layer.md, "Whiteouts". */
import { treeError } from './errors.ts';

export type Whiteout =
  /** The sibling of this name in lower layers is removed. */
  | { kind: 'remove'; name: string }
  /** All that lower layers have in this directory is removed. */
  | { kind: 'opaque' }
  /** Book-keeping of aufs (`.wh..wh.aufs`, `.wh..wh.plnk`, …): not part of the tree. */
  | { kind: 'ignore' };

const OPAQUE: Whiteout = { kind: 'opaque' };
const IGNORE: Whiteout = { kind: 'ignore' };

/**
 * Returns what the last component of a layer entry's path marks, or undefined for an ordinary name.
 *
 * @throws TREE_WHITEOUT_INVALID when it marks nothing, the directory itself, or its parent
 */
export function parseWhiteout(name: string): Whiteout | undefined {
  if (!name.startsWith('.wh.')) return undefined;
  if (name.startsWith('.wh..wh.')) return name === '.wh..wh..opq' ? OPAQUE : IGNORE;
  const removed = name.slice(4);
  // `.wh...` would remove the parent directory where readers join paths naively.
  if (removed === '' || removed === '.' || removed === '..') {
    throw treeError('TREE_WHITEOUT_INVALID', `Cannot use whiteout "${name}": it names no sibling`, { data: { name } });
  }
  return { kind: 'remove', name: removed };
}
