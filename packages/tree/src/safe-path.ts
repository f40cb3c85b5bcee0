/** Paths from archives, images and repositories, made safe: components that name something below the root, or nothing. */
import { decodeUtf8 } from '@cambium/base';
import { treeError } from './errors.ts';

/** NAME_MAX of Linux. */
export const MAX_COMPONENT_BYTES = 255;
/** PATH_MAX allows twice as many; walkers that recurse must not run out of stack. */
export const MAX_PATH_DEPTH = 1024;

/**
 * Returns the components of an archive's path; the root itself (`./`, `/`) gives none.
 *
 * Empty components and `.` are dropped, and with them a leading slash: an absolute name means the same below the root,
 * as for tar. The result is safe to join below a directory only while no component of it is a link there.
 *
 * @throws TREE_PATH_PARENT for `..`, TREE_PATH_NUL, TREE_PATH_NOT_UTF8, TREE_PATH_TOO_LONG, TREE_PATH_TOO_DEEP
 */
export function parseEntryPath(path: Uint8Array): string[] {
  const text = decodeUtf8(path);
  if (text === undefined) {
    throw treeError('TREE_PATH_NOT_UTF8', `Cannot use path "${quoteBytes(path)}": not UTF-8`, {
      hint: 'Rename the file in the image or archive; neither OSTree nor OCI stores can hold such a name',
      data: { path: quoteBytes(path) },
    });
  }
  const ascii = text.length === path.length;
  const components: string[] = [];
  for (let at = 0; at <= text.length; ) {
    const slash = text.indexOf('/', at);
    const end = slash === -1 ? text.length : slash;
    const name = text.slice(at, end);
    at = end + 1;
    if (name === '' || name === '.') continue;
    checkComponent(name, ascii ? name.length : Buffer.byteLength(name), text);
    components.push(name);
  }
  if (components.length > MAX_PATH_DEPTH) {
    throw treeError('TREE_PATH_TOO_DEEP', `Cannot use path "${shorten(text)}": over ${MAX_PATH_DEPTH} directories deep`, { data: { path: shorten(text) } });
  }
  return components;
}

function checkComponent(name: string, bytes: number, path: string): void {
  const data = { path: shorten(path) };
  if (name === '..') throw treeError('TREE_PATH_PARENT', `Cannot use path "${shorten(path)}": it leads upwards`, { data });
  if (name.includes('\0')) throw treeError('TREE_PATH_NUL', `Cannot use path ${JSON.stringify(shorten(path))}: it holds a NUL`, { data });
  if (bytes > MAX_COMPONENT_BYTES) {
    throw treeError('TREE_PATH_TOO_LONG', `Cannot use path "${shorten(path)}": a name is over ${MAX_COMPONENT_BYTES} bytes`, { data });
  }
}

function shorten(path: string): string {
  return path.length > 200 ? `${path.slice(0, 200)}…` : path;
}

/** Returns text in which bytes that are not printable ASCII stand as `\xNN`, for messages. */
export function quoteBytes(path: Uint8Array): string {
  let text = '';
  for (const byte of path.subarray(0, 200)) text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  return path.length > 200 ? `${text}…` : text;
}
