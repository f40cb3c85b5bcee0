/**
 * Which objects are here, asked for every object of a tree: an update asks for all that did not change too, since a commit that
 * is said to be whole may have lost some. A few questions go to the file system one by one, many by listing a directory once.
 */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { type Checksum, errnoOf } from '@cambium/base';
import { loosePath, parseLoosePath } from '../format/object-path.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { ObjectType, RepoMode } from '../format/types.ts';

/** An `objects/` directory, or a directory laid out as one; plain data. */
export interface ObjectPlace {
  objects: string;
  mode: RepoMode;
}

/** So many look-ups in one directory cost as much as listing a small one. */
const FEW_LOOKUPS = 16;
/** Where a directory has more names, listing costs more than looking up what one tree needs. Checksums are uniform: one directory tells of all. */
const MANY_NAMES = 1024;

export class PresentObjects {
  readonly #places: readonly PresentIn[];

  /** @param fewLookups after so many look-ups in a directory it is listed */
  constructor(places: readonly ObjectPlace[], fewLookups: number = FEW_LOOKUPS) {
    this.#places = places.map((place) => new PresentIn(place, fewLookups));
  }

  /** Sees what is here now; what comes afterwards may stay unseen. */
  refresh(): void {
    for (const place of this.#places) place.refresh();
  }

  /** As {@link has} for the 32 bytes at `at`. */
  hasBytes(type: ObjectType, bytes: Buffer, at: number): boolean {
    for (const place of this.#places) if (place.hasBytes(type, bytes, at)) return true;
    return false;
  }

  has(type: ObjectType, checksum: Checksum): boolean {
    for (const place of this.#places) if (place.has(type, checksum)) return true;
    return false;
  }
}

class PresentIn {
  readonly #place: ObjectPlace;
  readonly #fewLookups: number;
  /** First bytes of the checksums of objects that are here: in a new repository nothing need be looked up. */
  #directories: ReadonlySet<string> = new Set();
  readonly #lookups = new Map<string, number>();
  readonly #listed = new Set<string>();
  /** The same by number. */
  readonly #known: boolean[] = Array.from({ length: 256 }, () => false);
  #objects = new ObjectSet();
  #listingPays = true;

  constructor(place: ObjectPlace, fewLookups: number) {
    this.#place = place;
    this.#fewLookups = fewLookups;
  }

  refresh(): void {
    this.#directories = new Set(namesIn(this.#place.objects));
    this.#listed.clear();
    this.#known.fill(false);
    this.#lookups.clear();
    this.#objects = new ObjectSet();
  }

  hasBytes(type: ObjectType, bytes: Buffer, at: number): boolean {
    const number = bytes[at] as number;
    if (!this.#known[number]) return this.has(type, bytes.toString('hex', at, at + 32) as Checksum);
    return this.#objects.hasBytes(type, bytes, at);
  }

  has(type: ObjectType, checksum: Checksum): boolean {
    const first = checksum.slice(0, 2);
    if (!this.#directories.has(first)) return false;
    if (this.#listed.has(first)) return this.#objects.has(type, checksum);
    const lookups = this.#lookups.get(first) ?? 0;
    if (!this.#listingPays || lookups < this.#fewLookups) {
      this.#lookups.set(first, lookups + 1);
      return this.#exists(type, checksum);
    }
    this.#list(first);
    return this.#objects.has(type, checksum);
  }

  #exists(type: ObjectType, checksum: Checksum): boolean {
    const { objects, mode } = this.#place;
    const path = `${objects}/${loosePath(type, checksum, mode)}`;
    // The cheaper question, wherever an object cannot be a link that leads nowhere.
    if (mode === 'archive' || mode === 'bare-user') return existsSync(path);
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  }

  #list(first: string): void {
    const { objects, mode } = this.#place;
    const names = namesIn(`${objects}/${first}`);
    // Grown at once instead of by and by.
    if (this.#listed.size === 0) this.#objects = new ObjectSet(names.length * this.#directories.size);
    if (names.length > MANY_NAMES) this.#listingPays = false;
    for (const name of names) {
      const object = parseLoosePath(first, name, mode);
      if (object !== undefined && isObject(object.type)) this.#objects.add(object.type, object.checksum);
    }
    this.#listed.add(first);
    this.#known[Number.parseInt(first, 16)] = true;
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function isObject(type: string): type is ObjectType {
  return type === 'file' || type === 'dirtree' || type === 'dirmeta' || type === 'commit';
}
