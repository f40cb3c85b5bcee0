import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { Inflater, threadInflater } from './inflate.ts';

const CONTENT = Buffer.concat([Buffer.from('text '.repeat(20_000)), randomBytes(50_000), Buffer.alloc(100_000)]);
const PACKED = deflateRawSync(CONTENT);

test('this Node has the one that is used again', () => {
  assert.notEqual(threadInflater(), undefined);
});

test('streams whole, one after the other, of any length', () => {
  const inflater = new Inflater();
  for (const length of [0, 1, 70_000, CONTENT.length]) {
    const content = CONTENT.subarray(0, length);
    const output = Buffer.alloc(length + 1);
    assert.equal(inflater.whole(deflateRawSync(content), output), length);
    assert.ok(output.subarray(0, length).equals(content));
  }
});

test('input and output in pieces of any size; what follows the stream is left', () => {
  const inflater = new Inflater();
  const input = Buffer.concat([PACKED, randomBytes(1000)]);
  for (const [inputBytes, outputBytes] of [
    [1, 100_000],
    [1000, 1],
    [777, 4096],
    [100_000, 4095],
  ] as const) {
    const pieces: Buffer[] = [];
    const output = Buffer.alloc(outputBytes);
    inflater.begin();
    for (let at = 0; at < input.length; at += inputBytes) {
      let left: Uint8Array = input.subarray(at, at + inputBytes);
      do {
        inflater.step(left, output, at + inputBytes >= input.length);
        left = left.subarray(inflater.consumed);
        pieces.push(Buffer.from(output.subarray(0, inflater.produced)));
      } while (inflater.produced === outputBytes);
    }
    assert.ok(Buffer.concat(pieces).equals(CONTENT));
  }
});

test('an error is thrown where it happens, and the next stream is not touched by it', () => {
  const inflater = new Inflater();
  const output = Buffer.alloc(CONTENT.length + 1);
  assert.throws(() => inflater.whole(Buffer.from([0xff, 0xff]), output), { code: 'Z_DATA_ERROR' });
  assert.throws(() => inflater.whole(PACKED.subarray(0, 1000), output), { code: 'Z_BUF_ERROR' });
  assert.throws(() => inflater.whole(Buffer.alloc(0), output), { code: 'Z_BUF_ERROR' });
  // Too long for the room: it is full, and no more than that.
  assert.equal(inflater.whole(PACKED, output.subarray(0, 10)), 10);
  assert.equal(inflater.whole(PACKED, output), CONTENT.length);
  assert.throws(() => new Inflater().step(PACKED, output, true), TypeError);
});
