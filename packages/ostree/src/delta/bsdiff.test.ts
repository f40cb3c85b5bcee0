import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bytes } from '@cambium/base';
import fc from 'fast-check';
import { matchContents, patchLength, patchPieces } from './bsdiff.ts';
import { applyBspatch, writeNumber } from './bspatch.ts';
import type { ReadSource } from './read-source.ts';
import { matchStreams, type Region } from './rollsum.ts';

function sourceOf(bytes: Uint8Array): ReadSource {
  return { sizeBytes: bytes.byteLength, read: (at, length) => bytes.subarray(at, at + length), close: () => undefined };
}

function bsdiff(old: Uint8Array, next: Uint8Array): { bytes: Buffer; novelBytes: number } {
  const { stretches, novelBytes } = matchContents(old, next);
  const bytes = Buffer.concat([...patchPieces(old, next, stretches)]);
  assert.equal(bytes.byteLength, patchLength(next.byteLength, stretches));
  return { bytes, novelBytes };
}

/** Both contents in pieces that have nothing to do with chunks. */
function matchRegions(old: Buffer, next: Buffer): Promise<{ regions: Region[]; copiedBytes: number }> {
  const pieces = async function* (bytes: Buffer, step: number): Bytes {
    for (let at = 0; at < bytes.byteLength; at += step) yield bytes.subarray(at, at + step);
  };
  return matchStreams(pieces(old, 7001), pieces(next, 50_000));
}

function assertMade(old: Buffer, next: Buffer, regions: readonly Region[], copiedBytes: number): void {
  const made = Buffer.concat(regions.map(({ copied, offset, length }) => (copied ? old : next).subarray(offset, offset + length)));
  assert.deepEqual(made, next);
  assert.equal(
    copiedBytes,
    regions.filter(({ copied }) => copied).reduce((sum, { length }) => sum + length, 0),
  );
}

function patched(old: Uint8Array, patch: Uint8Array, size: number): Buffer {
  return Buffer.concat([...applyBspatch(sourceOf(old), patch, size)].map((chunk) => Buffer.from(chunk)));
}

/** Edits of a base: what versions of a file look like. */
const EDITS = fc.array(
  fc.record({ kind: fc.constantFrom('insert', 'delete', 'change', 'move'), at: fc.nat(), length: fc.integer({ min: 1, max: 3000 }), seed: fc.nat(255) }),
  { maxLength: 12 },
);

/** Bytes without structure, the same each time. */
function noise(length: number, seed = 1): Buffer {
  let state = seed | 1;
  return Buffer.from(
    Array.from({ length }, () => {
      state = Math.imul(state ^ (state << 13), 1_664_525) + 1_013_904_223;
      return (state >>> 16) & 0xff;
    }),
  );
}

function edit(base: Buffer, edits: typeof EDITS extends fc.Arbitrary<infer T> ? T : never): Buffer {
  let bytes = base;
  for (const { kind, at, length, seed } of edits) {
    const from = at % (bytes.byteLength + 1);
    const piece = bytes.subarray(from, from + length);
    const rest = bytes.subarray(from + piece.byteLength);
    if (kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, from), noise(length, seed), bytes.subarray(from)]);
    else if (kind === 'delete') bytes = Buffer.concat([bytes.subarray(0, from), rest]);
    else if (kind === 'move') bytes = Buffer.concat([piece, bytes.subarray(0, from), rest]);
    else bytes = Buffer.concat([bytes.subarray(0, from), piece.map((byte) => byte ^ (seed | 1)), rest]);
  }
  return bytes;
}

describe('differences of contents', () => {
  const base = Buffer.concat([noise(40_000), Buffer.alloc(10_000), Buffer.from('some text, '.repeat(900)), noise(20_000, 7)]);

  test('a patch makes the new content of the old', () => {
    fc.assert(
      fc.property(EDITS, (edits) => {
        const next = edit(base, edits);
        const patch = bsdiff(base, next);
        assert.deepEqual(patched(base, patch.bytes, next.byteLength), next);
      }),
      { numRuns: 60 },
    );
    for (const [old, next] of [
      ['', 'new'],
      ['short', 'shorter'],
      ['a'.repeat(5000), 'a'.repeat(7000)],
    ] as const) {
      assert.equal(patched(Buffer.from(old), bsdiff(Buffer.from(old), Buffer.from(next)).bytes, next.length).toString(), next);
    }
  });

  test('what is alike costs next to nothing, also where addresses inside changed', () => {
    const next = Buffer.from(base);
    for (let at = 0; at < next.byteLength; at += 100) next[at] = ((next[at] as number) + 4) & 0xff;
    assert.ok(bsdiff(base, next).novelBytes < next.byteLength / 50);
    assert.ok(bsdiff(noise(30_000, 3), noise(30_000, 4)).novelBytes >= 30_000 * 0.9);
  });

  test('regions put together are the new content', async () => {
    await fc.assert(
      fc.asyncProperty(EDITS, async (edits) => {
        const next = edit(base, edits);
        const { regions, copiedBytes } = await matchRegions(base, next);
        assertMade(base, next, regions, copiedBytes);
        const match = matchContents(base, next);
        if (match.regions !== undefined) assertMade(base, next, match.regions, match.copiedBytes);
      }),
      { numRuns: 60 },
    );
    const shifted = Buffer.concat([noise(333, 9), base]);
    assert.ok((await matchRegions(base, shifted)).copiedBytes > base.byteLength / 2);
    assert.equal(matchContents(base, shifted).copiedBytes, base.byteLength);
  });

  test('patches that lead outside are refused', () => {
    const triple = (add: number, insert: number, move: number, data = Buffer.alloc(0)): Buffer => {
      const bytes = Buffer.alloc(24);
      for (const [i, value] of [add, insert, move].entries()) writeNumber(bytes, i * 8, value);
      return Buffer.concat([bytes, data]);
    };
    const old = Buffer.from('0123456789');
    for (const [patch, size] of [
      [Buffer.alloc(0), 1],
      [triple(5, 0, 0), 5],
      [triple(-1, 6, 0, Buffer.alloc(6)), 5],
      [triple(6, 0, 0, Buffer.alloc(6)), 5],
      [triple(5, 0, 0, Buffer.alloc(6)), 5],
      [Buffer.concat([triple(0, 1, Number.MAX_SAFE_INTEGER, Buffer.alloc(1)), triple(0, 1, Number.MAX_SAFE_INTEGER, Buffer.alloc(1))]), 2],
    ] as const) {
      assert.throws(() => patched(old, patch, size), { code: 'OSTREE_DELTA_CORRUPT' });
    }
    // Outside the old content its bytes count as 0.
    const outside = Buffer.concat([triple(0, 1, -3, Buffer.from('x')), triple(5, 0, 0, Buffer.from('abcde'))]);
    assert.deepEqual(patched(old, outside, 6), Buffer.from(['x'.charCodeAt(0), 97, 98, 99, 100 + 48, 101 + 49]));
  });
});
