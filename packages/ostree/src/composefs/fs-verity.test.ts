import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FsVerityHasher } from './fs-verity.ts';

/** By `composefs-info measure-file` 1.0.8; the empty one by `fsverity digest` 1.5. */
const KNOWN: readonly (readonly [sizeBytes: number, digest: string])[] = [
  [0, '3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95'],
  [1, 'b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551'],
  [4095, 'c91eabf17d32ede8864edf3412c084d8ff485ac932f7ccbf91a2c7f0efccb85e'],
  [4096, '15a0095100272ab90a2209e97f8a2c54dff6f84d2b29524f95d92fe23b6ef25b'],
  [4097, '4a9eb50b85c6758d29ba6fb9c851354dafce42cd5fd589f749ffeb752a48fc9f'],
  [8192, '4a7bb4b08410886f728360ee978032031726cbfa9e3b5f8e9c653e4aeaebf30e'],
  [524288, 'a79596c147cf1b10532bdffc4dea0fccf2fb46fd0ca36375e5cfec85fc5a00ad'],
  [524289, 'b74f52eddf816218111665865e0710086767bac021c7c3c833db162e930455d9'],
  [528384, 'e86097a207a7373edee9c32c7468825bb58cc7bd73ae1a001adc383347cb9235'],
  [1000000, 'a11c887c3533aca981fb06cc87cb813a0a6b1777a73dc45ec4b83036685339d1'],
  [67108865, 'f63f27db556b67ce938d188201b50fce6877ce66a892e7d15f20afeb29de5ab5'],
];

/** Bytes that differ from block to block. */
function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i + (i >>> 12)) & 0xff;
  return bytes;
}

function digestOf(bytes: Uint8Array): Buffer {
  const hasher = new FsVerityHasher();
  hasher.update(bytes);
  return hasher.digest();
}

test('digests are those of fs-verity', () => {
  for (const [size, digest] of KNOWN) assert.equal(digestOf(bytesOf(size)).toString('hex'), digest, String(size));
});

test('pieces of any size give the same digest', () => {
  const bytes = bytesOf(600_000);
  // One for all: each digest begins anew.
  const hasher = new FsVerityHasher();
  fc.assert(
    fc.property(fc.nat(600_000), fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 200 }), (size, sizes) => {
      const whole = bytes.subarray(0, size);
      for (let at = 0, i = 0; at < size; i++) {
        const step = sizes[i % sizes.length] as number;
        hasher.update(whole.subarray(at, at + step));
        at += step;
      }
      assert.deepEqual(hasher.digest(), digestOf(whole));
    }),
    { numRuns: 30 },
  );
});
