/**
 * Places where an image can be: `TRANSPORT:…` as skopeo and podman write them, or a bare reference.
 *
 * Source: containers-transports(5).
 */
import { type Digest, isDigest } from '@cambium/base';
import { ociError } from '../errors.ts';
import { type ImageReference, parseImageReference, printImageReference } from '../image/reference.ts';

export type Place =
  | { transport: 'registry'; reference: ImageReference }
  /** A layout directory (`oci`) or a tar of one (`oci-archive`); `name` is the tag of the index entry. */
  | { transport: 'oci' | 'oci-archive'; path: string; name?: string; digest?: Digest; index?: number }
  | { transport: 'docker-archive'; path: string; reference?: ImageReference; index?: number }
  | { transport: 'dir'; path: string };

const UNSUPPORTED = ['containers-storage', 'docker-daemon', 'ostree', 'sif', 'tarball'];

/**
 * Returns the place that `text` names:
 * `docker://REF`, `registry:REF`, a bare `REF`, `oci:DIR[:TAG|@DIGEST|:@INDEX]`, `oci-archive:FILE[:TAG|@DIGEST|:@INDEX]`,
 * `docker-archive:FILE[:REF|:@INDEX]`, `dir:DIR`. Paths end at the first colon, as skopeo has it.
 *
 * @throws OCI_PLACE_INVALID, OCI_PLACE_UNSUPPORTED, OCI_REFERENCE_INVALID
 */
export function parsePlace(text: string): Place {
  if (text.startsWith('docker://')) return registry(text, text.slice(9));
  const colon = text.indexOf(':');
  const transport = colon < 0 ? '' : text.slice(0, colon);
  const rest = text.slice(colon + 1);
  switch (transport) {
    case 'registry':
      return registry(text, rest);
    case 'docker':
      throw ociError('OCI_PLACE_INVALID', `Cannot understand "${shown(text)}": "docker:" needs "//" next`);
    case 'dir':
      if (rest === '') throw noPath(text);
      return { transport, path: rest };
    case 'oci':
    case 'oci-archive': {
      const pinned = splitDigestSuffix(rest);
      if (pinned !== undefined) {
        if (pinned.path === '') throw noPath(text);
        return { transport, path: pinned.path, digest: pinned.digest };
      }
      const { path, selector } = splitPath(text, rest);
      const index = parseIndex(text, selector);
      return { transport, path, ...(index === undefined ? (selector === undefined ? {} : { name: selector }) : { index }) };
    }
    case 'docker-archive': {
      const { path, selector } = splitPath(text, rest);
      const index = parseIndex(text, selector);
      if (index !== undefined) return { transport, path, index };
      return { transport, path, ...(selector === undefined ? {} : { reference: parseImageReference(selector) }) };
    }
    default:
      if (UNSUPPORTED.includes(transport)) {
        throw ociError('OCI_PLACE_UNSUPPORTED', `Cannot read images from "${transport}:"`, {
          hint: `Copy it first, for example: skopeo copy ${shown(text)} oci-archive:image.tar`,
        });
      }
      return { transport: 'registry', reference: parseImageReference(text) };
  }
}

/** Returns the text form of a place; parsing it gives the same place. Registries print as `docker://`. */
export function printPlace(place: Place): string {
  switch (place.transport) {
    case 'registry':
      return `docker://${printImageReference(place.reference)}`;
    case 'dir':
      return `dir:${place.path}`;
    case 'docker-archive':
      return `docker-archive:${place.path}${place.reference === undefined ? indexSuffix(place.index) : `:${printImageReference(place.reference)}`}`;
    default: {
      const digest = place.digest === undefined ? '' : `@${place.digest}`;
      const name = place.name === undefined ? indexSuffix(place.index) : `:${place.name}`;
      return `${place.transport}:${place.path}${digest === '' ? name : digest}`;
    }
  }
}

function indexSuffix(index: number | undefined): string {
  return index === undefined ? '' : `:@${index}`;
}

function registry(text: string, name: string): Place {
  if (name === '') throw ociError('OCI_PLACE_INVALID', `Cannot understand "${shown(text)}": it names no image`);
  return { transport: 'registry', reference: parseImageReference(name) };
}

function splitPath(text: string, rest: string): { path: string; selector: string | undefined } {
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const selector = colon < 0 ? undefined : rest.slice(colon + 1);
  if (path === '') throw noPath(text);
  if (selector === '') throw ociError('OCI_PLACE_INVALID', `Cannot understand "${shown(text)}": nothing after the last colon`);
  return { path, selector };
}

function splitDigestSuffix(rest: string): { path: string; digest: Digest } | undefined {
  const at = rest.lastIndexOf('@');
  if (at < 0) return undefined;
  const digest = rest.slice(at + 1);
  return isDigest(digest) ? { path: rest.slice(0, at), digest } : undefined;
}

function parseIndex(text: string, selector: string | undefined): number | undefined {
  if (selector === undefined || !selector.startsWith('@')) return undefined;
  if (!/^@(?:0|[1-9][0-9]{0,5})$/.test(selector)) {
    throw ociError('OCI_PLACE_INVALID', `Cannot understand "${shown(text)}": "${selector.slice(0, 100)}" is not @NUMBER`);
  }
  return Number(selector.slice(1));
}

function noPath(text: string): Error {
  return ociError('OCI_PLACE_INVALID', `Cannot understand "${shown(text)}": it names no path`);
}

function shown(text: string): string {
  return text.slice(0, 300);
}
