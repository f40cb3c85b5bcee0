import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { splitPackets } from './packets.ts';

test('packets of every kind of length', () => {
  const old = [0x88, 2, 1, 2]; // tag 2, one byte of length
  const old2 = [0x89, 0, 1, 9];
  const old4 = [0x8a, 0, 0, 0, 1, 7];
  const short = [0xc2, 1, 5];
  const middle = [0xc2, 192, 0, ...new Array<number>(192).fill(3)];
  const long = [0xc2, 255, 0, 0, 0, 1, 4];
  const all = [old, old2, old4, short, middle, long];
  assert.deepEqual(
    splitPackets(Uint8Array.from(all.flat())).map(({ tag, bytes }) => [tag, [...bytes]]),
    all.map((bytes) => [2, bytes]),
  );
});

for (const [why, bytes] of [
  ['no packet', [0x00]],
  ['no length', [0x8b, 1]],
  ['partial length', [0xc2, 0xe0, 1]],
  ['end in the header', [0xc2]],
  ['end in the body', [0xc2, 2, 1]],
] as const) {
  test(`refuses ${why}`, () => {
    assert.throws(() => splitPackets(Uint8Array.from(bytes)), { code: 'TRUST_SIGNATURE_INVALID' });
  });
}

test('random bytes give packets that join to the input, or a known error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        assert.deepEqual(
          splitPackets(bytes).flatMap((packet) => [...packet.bytes]),
          [...bytes],
        );
      } catch (error) {
        assert.ok(isKnownError(error, 'TRUST_SIGNATURE_INVALID'), String(error));
      }
    }),
  );
});
