import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { deflateContent, SEGMENT_BYTES, SegmentedDeflate } from './deflate.ts';

test('a stream in pieces has the bytes of a whole one, and inflates to the content', () => {
  const noise = randomBytes(100_000);
  for (const size of [0, 1, 70_000, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES + 12_345]) {
    const content = Buffer.alloc(size, noise);
    const whole = Buffer.concat(deflateContent(content, 3));
    assert.ok(inflateRawSync(whole).equals(content), `${size} bytes`);
    for (const step of [65_536, 500_000, 5_000_000]) {
      const parts: Uint8Array[] = [];
      const deflate = new SegmentedDeflate(3, (part) => parts.push(Uint8Array.from(part)));
      for (let at = 0; at < size; at += step) deflate.write(content.subarray(at, at + step));
      deflate.end();
      assert.ok(Buffer.concat(parts).equals(whole), `${size} bytes in steps of ${step}`);
    }
  }
  // Repeats 100,000 bytes apart lie outside the window; what lies within it must be found across segments.
  const close = Buffer.alloc(3 * SEGMENT_BYTES, randomBytes(20_000));
  assert.ok(Buffer.concat(deflateContent(close, 6)).length < 60_000);
});

test('nothing but the content decides the bytes', () => {
  const content = Buffer.alloc(50_000, 'some text that repeats ');
  assert.deepEqual(deflateContent(content, 3), deflateContent(Uint8Array.from(content), 3));
});

test('nothing listens to the errors of the process afterwards', () => {
  const script = `import { deflateContent } from ${JSON.stringify(new URL('./deflate.js', import.meta.url).href)};
    console.log(deflateContent(Buffer.from('x'), 1).length, process.listenerCount('uncaughtException'), process.listenerCount('unhandledRejection'));`;
  assert.equal(spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' }).stdout, '1 0 0\n');
});

test('every level of the config gives a stream', () => {
  const content = Buffer.alloc(50_000, 'some text that repeats ');
  for (const level of [0, 1, 2, 6, 9]) {
    const stored = Buffer.concat(deflateContent(content, level));
    assert.ok(inflateRawSync(stored).equals(content), `level ${level}`);
    assert.equal(stored.byteLength > content.byteLength, level === 0, `level ${level}`);
  }
});
