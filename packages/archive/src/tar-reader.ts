/** Reading a tar archive entry by entry, where the number of entries is small or the consumer asynchronous. */
import type { Bytes } from '@cambium/base';
import type { TarEntry, TarLimits } from './tar-entry.ts';
import { TarParser, ZEROS } from './tar-parser.ts';

export interface TarFile extends TarEntry {
  /** The content, once, and before the next entry is asked for; what is not read is skipped. */
  body(): Bytes;
}

type Item = { kind: 'entry'; entry: TarEntry } | { kind: 'data'; chunk: Uint8Array } | { kind: 'hole'; length: number } | { kind: 'end' };

/**
 * Yields the entries of an archive. `source` is read to its end, beyond the archive's own, so that a digest over it is checked.
 *
 * @throws ARCHIVE_TAR_*
 */
export async function* readTar(source: Bytes, limits: TarLimits = {}): AsyncGenerator<TarFile, void, undefined> {
  const items = new ItemReader(source, limits);
  try {
    for (let number = 0; ; number++) {
      const item = await items.next();
      if (item === undefined) return;
      if (item.kind !== 'entry') continue;
      items.current = number;
      yield Object.assign(item.entry, { body: () => items.body(number) });
      items.current = -1;
    }
  } finally {
    items.current = -1;
    await items.close();
  }
}

class ItemReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #parser: TarParser;
  #items: Item[] = [];
  #at = 0;
  #ended = false;
  #failure: { error: unknown } | undefined;
  /** Number of the entry whose body may be read. */
  current = -1;

  constructor(source: Bytes, limits: TarLimits) {
    this.#chunks = source[Symbol.asyncIterator]();
    this.#parser = new TarParser(
      {
        entry: (entry) => this.#items.push({ kind: 'entry', entry }),
        data: (chunk) => this.#items.push({ kind: 'data', chunk }),
        hole: (length) => this.#items.push({ kind: 'hole', length }),
        entryEnd: () => this.#items.push({ kind: 'end' }),
      },
      limits,
    );
  }

  /** Returns the next item. The next chunk is asked for when all items of the last are used, so views stay valid. */
  async next(): Promise<Item | undefined> {
    while (this.#at === this.#items.length) {
      this.#items = [];
      this.#at = 0;
      // What came before a defect is handed out before it is reported.
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#ended) return undefined;
      const { done, value } = await this.#chunks.next();
      try {
        if (done === true) {
          this.#ended = true;
          this.#parser.end();
        } else {
          this.#parser.write(value);
        }
      } catch (error) {
        this.#failure = { error };
      }
    }
    return this.#items[this.#at++];
  }

  async *body(number: number): Bytes {
    for (;;) {
      if (this.current !== number) throw new TypeError('The body of a tar entry is read before the next entry is asked for, and once');
      const item = await this.next();
      if (item?.kind === 'data') yield item.chunk;
      else if (item?.kind === 'hole') {
        let left = item.length;
        for (; left >= ZEROS.length; left -= ZEROS.length) yield ZEROS;
        if (left > 0) yield ZEROS.subarray(0, left);
      } else {
        this.current = -1;
        return;
      }
    }
  }

  async close(): Promise<void> {
    if (!this.#ended) await this.#chunks.return?.();
  }
}
