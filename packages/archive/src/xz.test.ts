import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { compressXz, decompressXz, decompressXzAside } from './xz.ts';

const SAMPLE = Buffer.concat([Buffer.alloc(300_000, 'abcdef'), Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * i * 2654435761) >>> 24))]);

describe('xz in memory', () => {
  test('what is compressed comes back', async () => {
    for (const sample of [Buffer.alloc(0), Buffer.from('x'), SAMPLE])
      assert.deepEqual(Buffer.from(decompressXz(await compressXz(sample), sample.byteLength)), sample);
  });

  test('reads what xz writes, and xz reads what is written here', { skip: !hasXz() }, async () => {
    for (const args of ['-0', '-8', '-6 --block-size=65536', '-C none', '-C sha256']) {
      const bytes = execFileSync('xz', [...args.split(' '), '-c'], { input: SAMPLE, maxBuffer: 1 << 26 });
      assert.deepEqual(Buffer.from(decompressXz(bytes, SAMPLE.byteLength)), SAMPLE, args);
    }
    assert.deepEqual(execFileSync('xz', ['-dc'], { input: await compressXz(SAMPLE), maxBuffer: 1 << 26 }), SAMPLE);
  });

  test('the bound holds before anything is decompressed', async () => {
    const bomb = await compressXz(Buffer.alloc(8 << 20));
    assert.throws(() => decompressXz(bomb, (8 << 20) - 1), { code: 'ARCHIVE_DECOMPRESS_TOO_LARGE' });
    await assert.rejects(decompressXzAside(bomb, (8 << 20) - 1), { code: 'ARCHIVE_DECOMPRESS_TOO_LARGE' });
    assert.equal((await decompressXzAside(bomb, 8 << 20)).byteLength, 8 << 20);
    const bad = Buffer.from(bomb);
    bad[40] = (bad[40] as number) ^ 1;
    await assert.rejects(decompressXzAside(bad, 8 << 20), { code: 'ARCHIVE_DECOMPRESS_CORRUPT' });
  });

  test('changed bytes give known errors', async () => {
    const bytes = await compressXz(SAMPLE);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(bytes.byteLength), (changes, cut) => {
        const changed = Buffer.from(bytes);
        for (const [at, value] of changes) changed[at] = value;
        try {
          decompressXz(cut % 3 === 0 ? changed.subarray(0, cut) : changed, SAMPLE.byteLength);
        } catch (error) {
          assert.ok(isKnownError(error), String(error));
        }
      }),
      { numRuns: 200 },
    );
  });
});

function hasXz(): boolean {
  try {
    execFileSync('xz', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
