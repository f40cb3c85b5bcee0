/**
 * References of images as deployments and `ostree container` write them: where the image is, and what its signature must be.
 * Source: ostree-ext `container/mod.rs`.
 */
import { bridgeError } from '../errors.ts';

export const TRANSPORTS = ['registry', 'oci', 'oci-archive', 'docker-archive', 'docker-daemon', 'containers-storage', 'dir'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** Where an image is; the name is what the transport makes of it. */
export interface ContainerReference {
  transport: Transport;
  name: string;
}

/** Whose word an image is taken on. */
export type SignatureSource =
  /** What containers-policy.json asks for. */
  | { kind: 'unverified' }
  /** The same, and it must ask for something. */
  | { kind: 'signed' }
  /** The commit inside must be signed as this OSTree remote wants. */
  | { kind: 'remote'; remote: string };

export interface SignedContainerReference {
  signature: SignatureSource;
  image: ContainerReference;
}

/**
 * Returns what `TRANSPORT:NAME` says; `docker://NAME` is `registry:NAME`.
 *
 * @throws BRIDGE_REFERENCE_INVALID
 */
export function parseContainerReference(text: string): ContainerReference {
  const colon = text.indexOf(':');
  const word = colon < 0 ? '' : text.slice(0, colon);
  let name = text.slice(colon + 1);
  const transport = word === 'docker' ? 'registry' : TRANSPORTS.find((known) => known === word);
  if (transport === undefined) throw invalid(text, `it does not begin with one of ${TRANSPORTS.map((known) => `${known}:`).join(', ')} or docker://`);
  if (word === 'docker') {
    if (!name.startsWith('//')) throw invalid(text, '"docker:" needs "//" next');
    name = name.slice(2);
  }
  if (name === '') throw invalid(text, 'it names no image');
  return { transport, name };
}

/** Returns the form in which references are kept; parsing it gives the same. */
export function printContainerReference({ transport, name }: ContainerReference): string {
  return transport === 'registry' ? `docker://${name}` : `${transport}:${name}`;
}

/**
 * Returns what a reference with a signature source says:
 * `ostree-unverified-registry:NAME`, `ostree-unverified-image:IMAGE`, `ostree-image-signed:IMAGE`, `ostree-remote-registry:REMOTE:NAME`,
 * `ostree-remote-image:REMOTE:IMAGE`.
 *
 * @throws BRIDGE_REFERENCE_INVALID
 */
export function parseSignedReference(text: string): SignedContainerReference {
  const colon = text.indexOf(':');
  if (colon < 0) throw invalid(text, 'it has no signature source, as ostree-unverified-registry:');
  const rest = text.slice(colon + 1);
  switch (text.slice(0, colon)) {
    case 'ostree-unverified-registry':
      return { signature: { kind: 'unverified' }, image: parseContainerReference(`registry:${rest}`) };
    case 'ostree-unverified-image':
      return { signature: { kind: 'unverified' }, image: parseContainerReference(rest) };
    case 'ostree-image-signed':
      return { signature: { kind: 'signed' }, image: parseContainerReference(rest) };
    case 'ostree-remote-registry': {
      const { remote, name } = splitRemote(text, rest);
      return { signature: { kind: 'remote', remote }, image: parseContainerReference(`registry:${name}`) };
    }
    case 'ostree-remote-image': {
      const { remote, name } = splitRemote(text, rest);
      return { signature: { kind: 'remote', remote }, image: parseContainerReference(name) };
    }
    default:
      throw invalid(text, `"${text.slice(0, Math.min(colon, 60))}" is no signature source`);
  }
}

/** Returns the form in which deployments keep the reference; parsing it gives the same. */
export function printSignedReference({ signature, image }: SignedContainerReference): string {
  switch (signature.kind) {
    case 'unverified':
      return image.transport === 'registry' ? `ostree-unverified-registry:${image.name}` : `ostree-unverified-image:${printContainerReference(image)}`;
    case 'signed':
      return `ostree-image-signed:${printContainerReference(image)}`;
    case 'remote':
      return `ostree-remote-image:${signature.remote}:${printContainerReference(image)}`;
  }
}

function splitRemote(text: string, rest: string): { remote: string; name: string } {
  const colon = rest.indexOf(':');
  if (colon <= 0) throw invalid(text, 'it names no remote');
  return { remote: rest.slice(0, colon), name: rest.slice(colon + 1) };
}

function invalid(text: string, reason: string): Error {
  return bridgeError('BRIDGE_REFERENCE_INVALID', `Cannot understand the image reference "${text.slice(0, 300)}": ${reason}`);
}
