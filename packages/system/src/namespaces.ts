/** What the kernel lets this process do. Source: `user_namespaces(7)`, `capabilities(7)`, `proc(5)`. */
import { readFileSync } from 'node:fs';

/** Returns whether user numbers are mapped: whether this process is in a user namespace other than the first. */
export function inUserNamespace(): boolean {
  return isMapped(readProc('/proc/self/uid_map'));
}

/** Returns whether the text of a `uid_map` is other than the identity over all numbers. */
export function isMapped(uidMap: string | undefined): boolean {
  // Kernels without user namespaces have no such file.
  return uidMap !== undefined && uidMap.trim().split(/\s+/).join(' ') !== '0 0 4294967295';
}

const CAPABILITIES = { CAP_CHOWN: 0, CAP_DAC_OVERRIDE: 1, CAP_FOWNER: 3, CAP_SYS_ADMIN: 21, CAP_MKNOD: 27, CAP_SETFCAP: 31 } as const;

export type Capability = keyof typeof CAPABILITIES;

/** Returns whether a capability is in effect, within the process's own user namespace. */
export function hasCapability(capability: Capability): boolean {
  return hasCapabilityBit(readProc('/proc/thread-self/status'), CAPABILITIES[capability]);
}

/** Returns whether bit `bit` of the effective set is on in the text of a `status` file. */
export function hasCapabilityBit(status: string | undefined, bit: number): boolean {
  const digits = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status ?? '')?.[1];
  return digits !== undefined && ((BigInt(`0x${digits}`) >> BigInt(bit)) & 1n) === 1n;
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
