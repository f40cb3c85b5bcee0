/**
 * A tree of many small files, the same on every machine.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A small fast generator with a fixed seed (xorshift32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

const WORDS = 'return const value import from string number export function async await path name size error object tree commit layer digest index'.split(' ');

/** Writes `count` files of 0.5–8 KiB of source-like text, a hundred to a directory. */
export function writeSmallFiles(directory: string, count: number, seed = 20260101): void {
  const random = seeded(seed);
  // Text is cut from one large block: what matters is that files differ and compress as code does.
  const words: string[] = [];
  for (let i = 0; i < 200_000; i++)
    words.push(random() < 0.15 ? Math.floor(random() * 1e9).toString(36) : (WORDS[Math.floor(random() * WORDS.length)] as string));
  const text = Buffer.from(words.join(' '));
  for (let i = 0; i < count; i++) {
    const parent = join(directory, `d${Math.floor(i / 5000)}`, `s${Math.floor(i / 100)}`);
    if (i % 100 === 0) mkdirSync(parent, { recursive: true });
    const size = 512 + Math.floor(random() ** 2 * 7680);
    const from = Math.floor(random() * (text.length - size));
    writeFileSync(join(parent, `file${i}.ts`), Buffer.concat([Buffer.from(`// ${i}\n`), text.subarray(from, from + size)]));
  }
}
