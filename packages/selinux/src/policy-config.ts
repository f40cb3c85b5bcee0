/** `etc/selinux/config`: whether a system uses SELinux, and which policy. */
import { decodeUtf8 } from '@cambium/base';
import { selinuxError } from './errors.ts';

/**
 * Returns the name of the policy that a system uses, or undefined when SELinux is off. Read as libostree reads it.
 *
 * @throws SELINUX_POLICY_INVALID
 */
export function parsePolicyConfig(bytes: Uint8Array): string | undefined {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw selinuxError('SELINUX_POLICY_INVALID', 'Cannot read selinux/config: not UTF-8');
  let name: string | undefined;
  let enabled = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('SELINUXTYPE=')) name = line.slice('SELINUXTYPE='.length).trim();
    else if (/^SELINUX=(?:enforcing|permissive)/i.test(line) && line.startsWith('SELINUX=')) enabled = true;
  }
  if (!enabled) return undefined;
  if (name === undefined) throw selinuxError('SELINUX_POLICY_INVALID', 'Cannot read selinux/config: SELinux is on and SELINUXTYPE is missing');
  // It becomes part of a path.
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name))
    throw selinuxError('SELINUX_POLICY_INVALID', `Cannot read selinux/config: invalid SELINUXTYPE "${name.slice(0, 100)}"`);
  return name;
}
