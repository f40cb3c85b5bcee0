/** Tags of a repository, and deletion. Source: OCI distribution-spec 1.1, content discovery and content management. */
import { collect, type Digest, isDigest, isKnownError, isRecord, parseJson } from '@cambium/base';
import { ociError } from '../errors.ts';
import { MANIFEST_ACCEPT } from '../image/media-types.ts';
import { type ImageReference, isTag, printImageReference } from '../image/reference.ts';
import { header, type Registry } from './connection.ts';

/** One page of tags: a thousand names of 128 characters at most. */
const PAGE = 1000;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
const MAX_TAGS = 1_000_000;
const MAX_PAGES = 10_000;

/** Returns all tags of the repository of a reference, in the registry's order. @throws OCI_MANIFEST_UNKNOWN when there is no such repository */
export async function listTags(registry: Registry, { registry: host, repositoryName }: ImageReference, signal?: AbortSignal): Promise<string[]> {
  const action = `Cannot list the tags of ${host}/${repositoryName}`;
  const tags: string[] = [];
  let path: string | URL | undefined = `tags/list?n=${PAGE}`;
  for (let page = 0; path !== undefined; page++) {
    if (page === MAX_PAGES) throw ociError('OCI_REGISTRY_ERROR', `${action}: it has over ${MAX_PAGES} pages`);
    const before = tags.length;
    path = await registry.request({ repositoryName, path, headers: { accept: 'application/json' }, signal }, async (response) => {
      if (response.status !== 200) throw await registry.failure(response, action, 'OCI_MANIFEST_UNKNOWN');
      const answer = parseAnswer(await collect(response.body, MAX_PAGE_BYTES, 'list of tags'));
      if (answer === undefined) throw ociError('OCI_REGISTRY_ERROR', `${action}: the answer of the registry is no list`);
      for (const tag of answer) if (isTag(tag)) tags.push(tag);
      const next = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(header(response, 'link') ?? '')?.[1];
      if (next === undefined || !URL.canParse(next, response.url.href)) return undefined;
      const url = new URL(next, response.url);
      // A link to another host would be sent no login, and has no business here.
      return url.origin === response.url.origin ? url : undefined;
    });
    if (tags.length > MAX_TAGS) throw ociError('OCI_REGISTRY_ERROR', `${action}: over ${MAX_TAGS}`);
    // A registry that names the same page for ever.
    if (tags.length === before) break;
  }
  return [...new Set(tags)];
}

function parseAnswer(bytes: Uint8Array): string[] | undefined {
  try {
    const answer = parseJson(bytes, 'list of tags');
    const tags = isRecord(answer) ? (answer.tags ?? []) : undefined;
    return Array.isArray(tags) && tags.every((tag) => typeof tag === 'string') ? tags : undefined;
  } catch (error) {
    if (isKnownError(error)) return undefined;
    throw error;
  }
}

/** Asks for the digest of what a reference names, by HEAD. @throws OCI_MANIFEST_UNKNOWN */
export async function digestOfReference(registry: Registry, reference: ImageReference, signal?: AbortSignal): Promise<Digest | undefined> {
  const { repositoryName, tag, digest } = reference;
  const request = { method: 'HEAD', repositoryName, path: `manifests/${digest ?? tag}`, headers: { accept: MANIFEST_ACCEPT }, signal } as const;
  return await registry.request(request, async (response) => {
    if (response.status !== 200) throw await registry.failure(response, `Cannot read ${printImageReference(reference)}`, 'OCI_MANIFEST_UNKNOWN');
    response.discard();
    const stated = header(response, 'docker-content-digest');
    return stated !== undefined && isDigest(stated) ? stated : undefined;
  });
}

/**
 * Deletes what a reference names: with a digest the manifest and with it all its tags; with a tag alone the tag, where the
 * registry can do that.
 *
 * @throws OCI_MANIFEST_UNKNOWN, OCI_DELETE_REFUSED, OCI_AUTH_DENIED
 */
export async function deleteReference(registry: Registry, reference: ImageReference, signal?: AbortSignal): Promise<void> {
  const { repositoryName, tag, digest } = reference;
  const printed = printImageReference(reference);
  const scope = `repository:${repositoryName}:pull,push,delete`;
  await registry.request({ method: 'DELETE', repositoryName, path: `manifests/${digest ?? tag}`, headers: {}, scope, signal }, async (response) => {
    if (response.status === 202 || response.status === 200 || response.status === 204) {
      response.discard();
      return;
    }
    const failure = await registry.failure(response, `Cannot delete ${printed}`, 'OCI_MANIFEST_UNKNOWN');
    if (response.status !== 405 && response.status !== 400 && response.status !== 501) throw failure;
    throw ociError('OCI_DELETE_REFUSED', failure.message, {
      hint:
        digest === undefined
          ? 'This registry may delete by digest only: name it as NAME@DIGEST; all its tags go with it'
          : 'The registry does not allow deletion',
      data: { status: response.status },
    });
  });
}
