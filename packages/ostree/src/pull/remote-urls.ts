/** What the texts of remotes say about where to ask: URLs and lists of mirrors. */
import { displayUrl } from '@cambium/http';
import { ostreeError } from '../errors.ts';

/** libostree's own bound is the list's size; more mirrors than this are no help. */
const MAX_MIRRORS = 100;

/** @throws OSTREE_REMOTE_UNUSABLE */
export function webUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url;
  const shown = url === undefined ? text : displayUrl(url);
  throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Cannot use the URL "${shown}" of a remote`, {
    hint: 'Write one that begins with http://, https:// or file://',
    data: { ostreeMessage: `Invalid URI scheme in ${shown}` },
  });
}

/** Returns the URL of a directory, so that paths go below it. @throws OSTREE_REMOTE_UNUSABLE */
export function baseUrl(text: string): URL {
  const url = webUrl(text);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** Returns the mirrors of a list, in its order; lines that are no URL of the web are comments. */
export function parseMirrorList(text: string): URL[] {
  const mirrors: URL[] = [];
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (/^https?:\/\//.test(line) && URL.canParse(line) && mirrors.length < MAX_MIRRORS) mirrors.push(baseUrl(line));
  }
  return mirrors;
}
