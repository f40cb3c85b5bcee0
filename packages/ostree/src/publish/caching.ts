/** How long caches may keep the files of a published repository. Source: RFC 9111, RFC 8246 (`immutable`). */

/** Objects named by the checksum of what they say. Not detached metadata and tombstones, which belong to a checksum without being it. */
const NAMED_BY_CONTENT = /^objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.(?:filez|commit|dirtree|dirmeta)$/;
const A_YEAR_SECONDS = 365 * 24 * 60 * 60;

/** Returns whether a file of a repository never changes. Deltas do: made anew they have other parts under the same names. */
export function isNamedByContent(path: string): boolean {
  return NAMED_BY_CONTENT.test(path);
}

/** Returns the value of `Cache-Control` for a file of a repository, whoever serves it. */
export function cacheControl(path: string): string {
  return isNamedByContent(path) ? `public, max-age=${A_YEAR_SECONDS}, immutable` : 'no-cache';
}
