/** Where objects lie: `objects/XX/REST.SUFFIX`. Source: libostree `_ostree_loose_path`. */
import type { Checksum } from '@cambium/base';
import type { ObjectType, RepoMode } from './types.ts';

/** Everything that lies under `objects/`. */
export type StoredType = ObjectType | 'commitmeta' | 'tombstone-commit' | 'file-xattrs' | 'file-xattrs-link' | 'payload-link';

const TYPES: ReadonlySet<string> = new Set<StoredType>([
  'file',
  'dirtree',
  'dirmeta',
  'commit',
  'commitmeta',
  'tombstone-commit',
  'file-xattrs',
  'file-xattrs-link',
  'payload-link',
]);

/** Tested on the parts, before they are joined: repositories have names by the million. */
const DIRECTORY = /^[0-9a-f]{2}$/;
const NAME = /^[0-9a-f]{62}\./;

/** Returns the path of an object below `objects/`. */
export function loosePath(type: StoredType, checksum: Checksum, mode: RepoMode): string {
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}${mode === 'archive' && type === 'file' ? 'z' : ''}`;
}

/** Returns which object the file `directory/name` below `objects/` is, or undefined for what is none. */
export function parseLoosePath(directory: string, name: string, mode: RepoMode): { type: StoredType; checksum: Checksum } | undefined {
  if (!DIRECTORY.test(directory) || !NAME.test(name)) return undefined;
  const suffix = name.slice(63);
  const type = mode === 'archive' && suffix === 'filez' ? 'file' : suffix;
  if (!TYPES.has(type) || (type === 'file' && mode === 'archive' && suffix !== 'filez')) return undefined;
  return { type: type as StoredType, checksum: (directory + name.slice(0, 62)) as Checksum };
}
