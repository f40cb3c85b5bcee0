/**
 * Which objects are here, asked for every object of a tree: an update asks for all that did not change too, since a commit that
 * is said to be whole may have lost some. A few questions go to the file system one by one, many by listing a directory once.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Checksum } from '@cambium/base';
import { parseLoosePath } from '../format/object-path.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { ObjectType } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';

/** So many look-ups in one directory cost as much as listing a small one. */
const FEW_LOOKUPS = 16;
/** Where a directory has more names, listing costs more than looking up what one tree needs. Checksums are uniform: one directory tells of all. */
const MANY_NAMES = 1024;

export class PresentObjects {
  readonly #repo: Repo;
  /** First bytes of the checksums of objects that are here: of a new repository nothing need be looked up. */
  #stored: ReadonlySet<string> = new Set();
  #staged: ReadonlySet<string> = new Set();
  readonly #lookups = new Map<string, number>();
  readonly #listed = new Set<string>();
  readonly #objects = new ObjectSet();
  #listingPays = true;

  constructor(repo: Repo) {
    this.#repo = repo;
  }

  /** Sees what has been staged; what the caller stages afterwards may stay unseen. */
  refresh(): void {
    const { path, staging } = this.#repo;
    this.#stored = new Set(readdirSync(join(path, 'objects')));
    this.#staged = new Set(staging === undefined ? [] : readdirSync(staging));
  }

  has(type: ObjectType, checksum: Checksum): boolean {
    // A parent repository may have any.
    if (this.#repo.parent !== undefined) return this.#repo.hasObject(type, checksum);
    const first = checksum.slice(0, 2);
    return (this.#stored.has(first) && this.#isStored(first, type, checksum)) || (this.#staged.has(first) && this.#repo.hasObject(type, checksum));
  }

  #isStored(first: string, type: ObjectType, checksum: Checksum): boolean {
    if (this.#listed.has(first)) return this.#objects.has(type, checksum);
    const lookups = this.#lookups.get(first) ?? 0;
    if (!this.#listingPays || lookups < FEW_LOOKUPS) {
      this.#lookups.set(first, lookups + 1);
      return this.#repo.hasStored(type, checksum);
    }
    this.#list(first);
    return this.#objects.has(type, checksum);
  }

  #list(first: string): void {
    const names = readdirSync(join(this.#repo.path, 'objects', first));
    if (names.length > MANY_NAMES) this.#listingPays = false;
    for (const name of names) {
      const object = parseLoosePath(first, name, this.#repo.mode);
      if (object !== undefined && isObject(object.type)) this.#objects.add(object.type, object.checksum);
    }
    this.#listed.add(first);
  }
}

function isObject(type: string): type is ObjectType {
  return type === 'file' || type === 'dirtree' || type === 'dirmeta' || type === 'commit';
}
