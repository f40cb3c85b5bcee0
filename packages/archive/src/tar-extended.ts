/** What stands in front of a tar entry and is about it: PAX headers, local and global, and the long names of GNU tar. */
import { EMPTY, type TarFail, type TarLimits } from './tar-entry.ts';
import { applyPaxRecord, forEachPaxRecord, PaxGlobals, PaxValues } from './tar-pax.ts';

const GLOBAL = 0x67; // 'g'
const LONG_PATH = 0x4c; // 'L'
const LONG_LINK = 0x4b; // 'K'

/** Returns whether a header with this type flag is about the entries to come. */
export function isExtended(flag: number): boolean {
  // 'x', and 'X' as Solaris spelt it before the standard.
  return flag === 0x78 || flag === 0x58 || flag === GLOBAL || flag === LONG_PATH || flag === LONG_LINK;
}

export class ExtendedHeaders {
  /** GNU's long names for the entry to come. */
  longPath: Uint8Array | undefined;
  longLink: Uint8Array | undefined;
  readonly #limits: Required<TarLimits>;
  readonly #fail: TarFail;
  #flag = 0;
  /** What has come of a header that is in several chunks. */
  #held: Uint8Array = EMPTY;
  #filled = 0;
  #pax = new PaxValues();
  /** Whether #pax holds anything: a local extended header was seen. */
  #paxSeen = false;
  /** Of the records kept for the entry to come. */
  #recordBytes = 0;
  readonly #globals = new PaxGlobals();

  constructor(limits: Required<TarLimits>, fail: TarFail) {
    this.#limits = limits;
    this.#fail = fail;
  }

  /** Whether an entry must follow. */
  get pending(): boolean {
    return this.#paxSeen || this.longPath !== undefined || this.longLink !== undefined;
  }

  /** Begins a header of `size` bytes with a flag that {@link isExtended}. */
  begin(flag: number, size: number): void {
    if (size > this.#limits.maxPaxBytes) this.#fail('ARCHIVE_TAR_TOO_LARGE', `an extended header is over ${this.#limits.maxPaxBytes} bytes`);
    this.#flag = flag;
    this.#filled = 0;
  }

  /** Takes a piece of the header, and reads it all with the last one. */
  add(piece: Uint8Array, isLast: boolean): void {
    if (this.#filled === 0 && isLast) {
      this.#read(piece);
      return;
    }
    const filled = this.#filled + piece.length;
    if (filled > this.#held.length) {
      // Grows with what has come, not with what was announced.
      const grown = new Uint8Array(Math.max(4096, filled * 2));
      grown.set(this.#held.subarray(0, this.#filled));
      this.#held = grown;
    }
    this.#held.set(piece, this.#filled);
    this.#filled = filled;
    if (isLast) this.#read(this.#held.subarray(0, filled));
  }

  /** Returns what the PAX headers, global ones included, say about the entry at hand, and forgets the local ones. */
  take(): PaxValues | undefined {
    if (!this.#paxSeen) {
      if (this.#globals.empty) return undefined;
      this.#beginPax();
    }
    const pax = this.#pax;
    this.#pax = new PaxValues();
    this.#paxSeen = false;
    this.#recordBytes = 0;
    return pax;
  }

  #read(bytes: Uint8Array): void {
    switch (this.#flag) {
      case LONG_PATH:
        this.longPath = this.#longName(bytes);
        break;
      case LONG_LINK:
        this.longLink = this.#longName(bytes);
        break;
      case GLOBAL:
        forEachPaxRecord(bytes, this.#fail, (key, value) => this.#globals.set(key, value, this.#limits.maxPaxBytes));
        break;
      default:
        if (!this.#paxSeen) this.#beginPax();
        forEachPaxRecord(bytes, this.#fail, (key, value) => this.#apply(key, value));
    }
  }

  #longName(bytes: Uint8Array): Uint8Array {
    const nul = bytes.indexOf(0);
    const length = nul === -1 ? bytes.length : nul;
    if (length > this.#limits.maxPathBytes) this.#fail('ARCHIVE_TAR_NAME_TOO_LONG', `a name is over ${this.#limits.maxPathBytes} bytes`);
    // Not slice(): for a Buffer that is a view of the caller's chunk.
    return new Uint8Array(bytes.subarray(0, length));
  }

  #beginPax(): void {
    this.#paxSeen = true;
    if (this.#globals.empty) return;
    for (const [key, value] of this.#globals) this.#apply(key, value);
  }

  #apply(key: string, value: Uint8Array): void {
    applyPaxRecord(this.#pax, key, value, this.#limits, this.#fail);
    if (!this.#limits.keepPaxHeaders) return;
    // An entry may have any number of extended headers, each within its limit: together they are held to that of one local and the global ones.
    this.#recordBytes += key.length + value.length;
    if (this.#recordBytes > 2 * this.#limits.maxPaxBytes) {
      this.#fail('ARCHIVE_TAR_TOO_LARGE', `the records of an entry are over ${2 * this.#limits.maxPaxBytes} bytes`);
    }
    this.#pax.records ??= new Map();
    this.#pax.records.set(key, new Uint8Array(value));
  }
}
