/** Sets `security.selinux` in what a commit stores. */
import { type FileContexts, FileLabels } from '@cambium/selinux';
import type { Xattr } from '@cambium/tree';
import { canonicalXattrs } from '../format/framing.ts';

/** Which labels; plain data. */
export interface SelinuxLabelling {
  contexts: FileContexts;
  /** Files below `/usr/etc` get the labels of `/etc`, where deployments have them: labelling epoch 1 of libostree. */
  usrEtcAsEtc?: boolean | undefined;
}

const NAME: Buffer = Buffer.from('security.selinux');

/** One for each policy and thread: what it has learned of the patterns is worth keeping. */
const known = new WeakMap<FileContexts, FileLabels>();

/**
 * Returns the label of a path in a tree, or undefined.
 *
 * @throws SELINUX_PATTERN_INVALID SELINUX_PATTERN_UNSUPPORTED SELINUX_POLICY_TOO_LARGE
 */
export function selinuxLabel({ contexts, usrEtcAsEtc }: SelinuxLabelling, path: string, mode: number): string | undefined {
  let labels = known.get(contexts);
  if (labels === undefined) {
    labels = new FileLabels(contexts);
    known.set(contexts, labels);
  }
  // Policies have no label for the mount point of procfs, and every root needs one: libostree asks for this one instead.
  if (path === '/proc') return labels.labelOf('/mnt', mode);
  return labels.labelOf(usrEtcAsEtc === true && (path === '/usr/etc' || path.startsWith('/usr/etc/')) ? path.slice('/usr'.length) : path, mode);
}

/**
 * Returns the attributes with the label of a path in place of any other; the same array when nothing changes. What the policy has
 * no label for keeps the label it has.
 *
 * The list stays sorted. libostree up to 2024 puts the label last, after `user.*` too: later versions refuse such lists, and in a `bare`
 * repository such an object is not what its checksum says.
 */
export function withSelinuxLabel(xattrs: readonly Xattr[], labelling: SelinuxLabelling, path: string, mode: number): readonly Xattr[] {
  const label = selinuxLabel(labelling, path, mode);
  if (label === undefined) return xattrs;
  const value = labelBytes(label);
  const others = xattrs.filter(([name]) => !NAME.equals(name));
  if (others.length === xattrs.length - 1 && xattrs.some(([name, old]) => NAME.equals(name) && value.equals(old))) return xattrs;
  return canonicalXattrs([...others, [NAME, value]]);
}

/** Returns the value of the attribute: with a NUL at its end. */
export function labelBytes(label: string): Buffer {
  return Buffer.from(`${label}\0`, 'latin1');
}
