/**
 * The fields of a tar header block that are more than numbers.
 * Source: POSIX.1-2018 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
 */
import { EMPTY, type TarType } from './tar-entry.ts';
import { parseNumber } from './tar-numbers.ts';

const SLAB_BYTES = 32 * 1024;

/** Copies names out of header blocks: a block is gone when the next chunk comes. */
export class HeaderNames {
  #slab: Uint8Array = EMPTY;
  #slabAt = 0;
  readonly #user = new LastName();
  readonly #group = new LastName();

  /** Returns the path in the block, its prefix included. */
  path(block: Uint8Array, at: number): Uint8Array {
    const nameEnd = fieldEnd(block, at, 100);
    if (!hasPrefix(block, at)) return this.#copy(block, at, nameEnd);
    const prefixAt = at + 345;
    const prefixEnd = fieldEnd(block, prefixAt, 155);
    const prefixLength = prefixEnd - prefixAt;
    const path = this.#allocate(prefixLength + 1 + nameEnd - at);
    for (let i = 0; i < prefixLength; i++) path[i] = block[prefixAt + i] as number;
    path[prefixLength] = 0x2f;
    for (let i = at, to = prefixLength + 1; i < nameEnd; i++, to++) path[to] = block[i] as number;
    return path;
  }

  linkPath(block: Uint8Array, at: number): Uint8Array {
    return this.#copy(block, at + 157, fieldEnd(block, at + 157, 100));
  }

  userName(block: Uint8Array, at: number): string {
    return hasMagic(block, at) ? this.#user.read(block, at + 265) : '';
  }

  groupName(block: Uint8Array, at: number): string {
    return hasMagic(block, at) ? this.#group.read(block, at + 297) : '';
  }

  #copy(block: Uint8Array, at: number, end: number): Uint8Array {
    if (end === at) return EMPTY;
    const copy = this.#allocate(end - at);
    for (let from = at, to = 0; from < end; from++, to++) copy[to] = block[from] as number;
    return copy;
  }

  /** One buffer for many names: an ArrayBuffer of its own costs a name ten times as much. */
  #allocate(length: number): Uint8Array {
    if (this.#slabAt + length > this.#slab.length) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#slabAt = 0;
    }
    const at = this.#slabAt;
    this.#slabAt = at + length;
    return new Uint8Array(this.#slab.buffer, at, length);
  }
}

const OWNER_BYTES = 32;

/** Owners repeat from entry to entry, so the last one is kept. */
class LastName {
  #field: Uint8Array = EMPTY;
  #name = '';

  read(block: Uint8Array, at: number): string {
    if (!this.#isIn(block, at)) {
      this.#field = new Uint8Array(block.subarray(at, fieldEnd(block, at, OWNER_BYTES)));
      this.#name = Buffer.from(this.#field).toString('utf8');
    }
    return this.#name;
  }

  #isIn(block: Uint8Array, at: number): boolean {
    const field = this.#field;
    const { length } = field;
    for (let i = 0; i < length; i++) if (block[at + i] !== field[i]) return false;
    return length === OWNER_BYTES || block[at + length] === 0;
  }
}

/** "ustar\0" is POSIX, "ustar  \0" is GNU; v7 has neither. */
function hasMagic(block: Uint8Array, at: number): boolean {
  return block[at + 257] === 0x75 && block[at + 258] === 0x73 && block[at + 259] === 0x74 && block[at + 260] === 0x61 && block[at + 261] === 0x72;
}

function hasPrefix(block: Uint8Array, at: number): boolean {
  if (block[at + 345] === 0 || !hasMagic(block, at)) return false;
  return block[at + 262] === 0 || hasGoPrefix(block, at);
}

/**
 * Go before 1.8 wrote POSIX prefixes under the GNU magic (golang issue 12594), where GNU has times:
 * what is not a number there is a prefix.
 */
function hasGoPrefix(block: Uint8Array, at: number): boolean {
  return Number.isNaN(parseNumber(block, at + 345, 12)) || Number.isNaN(parseNumber(block, at + 357, 12));
}

function fieldEnd(block: Uint8Array, at: number, length: number): number {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return end;
}

/** Returns what a type flag stands for. Unknown kinds are files, as the standard says. */
export function typeOf(flag: number): TarType {
  switch (flag) {
    case 0x31:
      return 'hardlink';
    case 0x32:
      return 'symlink';
    case 0x33:
      return 'char';
    case 0x34:
      return 'block';
    case 0x35:
    case 0x44:
      return 'directory';
    case 0x36:
      return 'fifo';
    default:
      return 'file';
  }
}
