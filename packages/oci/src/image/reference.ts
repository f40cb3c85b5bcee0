/**
 * Image references: `[REGISTRY/]NAME[:TAG][@DIGEST]`.
 *
 * Source of the grammar: distribution/reference (`reference.go`, `regexp.go`, `normalize.go`), the one docker and podman use.
 */
import { type Digest, isDigest } from '@cambium/base';
import { ociError } from '../errors.ts';

export interface ImageReference {
  /** Host and port, `docker.io` for the default registry. */
  registry: string;
  /** Name inside the registry, `library/nginx`. */
  repositoryName: string;
  tag?: string;
  digest?: Digest;
}

export const DEFAULT_REGISTRY = 'docker.io';
const DEFAULT_TAG = 'latest';
/** distribution/reference: NameTotalLengthMax. */
const MAX_NAME_LENGTH = 255;
/** Longer than any valid reference: name, tag and a sha512 digest. */
const MAX_REFERENCE_LENGTH = MAX_NAME_LENGTH + 1 + 128 + 1 + 7 + 128;

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const DOMAIN =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Returns the parts of a reference, with the defaults filled in: `nginx` is `docker.io/library/nginx:latest`.
 * A reference with a digest gets no default tag.
 *
 * @throws OCI_REFERENCE_INVALID
 * @example
 * parseImageReference('localhost:5000/web@sha256:…'); // { registry: 'localhost:5000', repositoryName: 'web', digest: 'sha256:…' }
 */
export function parseImageReference(text: string): ImageReference {
  if (text.length > MAX_REFERENCE_LENGTH) throw invalid(text, 'it is too long');
  let rest = text;

  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const digestText = rest.slice(at + 1);
    if (!isDigest(digestText)) throw invalid(text, `"${digestText.slice(0, 80)}" is not a sha256 or sha512 digest`);
    digest = digestText;
    rest = rest.slice(0, at);
  }

  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  // A colon before the last slash belongs to the port.
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    if (!TAG.test(tag)) throw invalid(text, `"${tag.slice(0, 140)}" is not a tag`);
    rest = rest.slice(0, colon);
  }

  const { registry, repositoryName } = splitName(rest);
  if (repositoryName === '') throw invalid(text, 'it has no name');
  if (!DOMAIN.test(registry)) throw invalid(text, `"${registry}" is not a registry host`);
  for (const component of repositoryName.split('/')) {
    if (COMPONENT.test(component)) continue;
    if (/[A-Z]/.test(component)) throw invalid(text, 'the name must be lower case');
    throw invalid(text, `"${component}" is not a valid part of a name`);
  }
  if (rest.length > MAX_NAME_LENGTH) throw invalid(text, `the name has over ${MAX_NAME_LENGTH} characters`);
  // docker refuses these too: they would be taken for image IDs.
  if (/^[0-9a-f]{64}$/.test(rest)) throw invalid(text, 'it looks like an image ID');

  if (tag === undefined && digest === undefined) tag = DEFAULT_TAG;
  return { registry, repositoryName, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** Splits at the first slash if what stands before it can be a host: it has a dot or colon, is `localhost`, or has capitals. */
function splitName(name: string): { registry: string; repositoryName: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = slash > 0 && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first);
  let registry = isHost ? first : DEFAULT_REGISTRY;
  let repositoryName = isHost ? name.slice(slash + 1) : name;
  if (registry === 'index.docker.io') registry = DEFAULT_REGISTRY;
  if (registry === DEFAULT_REGISTRY && repositoryName !== '' && !repositoryName.includes('/')) repositoryName = `library/${repositoryName}`;
  return { registry, repositoryName };
}

/** Returns whether a text can be a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

function invalid(text: string, reason: string): Error {
  return ociError('OCI_REFERENCE_INVALID', `Cannot parse image reference "${text.slice(0, 300)}": ${reason}`, {
    hint: 'A reference looks like docker.io/library/nginx:1.25 or localhost:5000/app@sha256:…',
  });
}

/** Returns the full form: `docker.io/library/nginx:1.25@sha256:…`. */
export function printImageReference(reference: ImageReference): string {
  return `${reference.registry}/${reference.repositoryName}${suffix(reference)}`;
}

/** Returns the short form that docker shows: `nginx:1.25`. Parsing it gives the same reference. */
export function familiarImageReference(reference: ImageReference): string {
  if (reference.registry !== DEFAULT_REGISTRY) return printImageReference(reference);
  const official = reference.repositoryName.startsWith('library/') && !reference.repositoryName.includes('/', 8);
  const short = official ? reference.repositoryName.slice(8) : reference.repositoryName;
  // A first part that would be read as a host keeps the registry in front.
  const { registry, repositoryName } = splitName(short);
  const same = registry === DEFAULT_REGISTRY && repositoryName === reference.repositoryName;
  return `${same ? short : `${reference.registry}/${reference.repositoryName}`}${suffix(reference)}`;
}

function suffix({ tag, digest }: ImageReference): string {
  return `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** Returns the reference with `digest` in place of its own; the tag stays. */
export function pinImageReference(reference: ImageReference, digest: Digest): ImageReference {
  return { ...reference, digest };
}

/** Returns the host to speak HTTP to; Docker's registry answers under another name than its own. */
export function registryHost(registry: string): string {
  return registry === DEFAULT_REGISTRY ? 'registry-1.docker.io' : registry;
}
