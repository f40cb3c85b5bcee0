import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { bytesOf, collect } from '@cambium/base';
import { needsPeer, run, scratch } from '@cambium/testkit';
import { gzipParallel } from './gzip-parallel.ts';

const LIMIT = 1 << 26;
const CASES: readonly [string, Uint8Array][] = [
  ['nothing', new Uint8Array(0)],
  ['a byte', Uint8Array.of(7)],
  ['a block to the byte', Buffer.alloc(1 << 20, 'block ')],
  ['several blocks, the last shorter', Buffer.alloc((3 << 20) + 12_345, 'what comes again is found in the block before ')],
  ['what cannot be compressed', randomBytes((1 << 20) + 1)],
];

test('gunzip gives back what went in, however it was cut', async () => {
  for (const [what, bytes] of CASES) {
    const whole = await collect(gzipParallel(bytesOf(bytes)), LIMIT);
    assert.deepEqual(gunzipSync(whole), Buffer.from(bytes), what);
    const cut: Uint8Array[] = [];
    for (let at = 0; at < bytes.byteLength; at += 77_777) cut.push(bytes.subarray(at, at + 77_777));
    assert.deepEqual(await collect(gzipParallel(bytesOf(...cut)), LIMIT), whole, what);
  }
});

test('gzip itself takes it, and matches reach into the block before', { skip: needsPeer('gzip') }, async (t) => {
  const line = randomBytes(30_000);
  const bytes = Buffer.concat(Array.from({ length: 80 }, () => line));
  const packed = await collect(gzipParallel(bytesOf(bytes)), LIMIT);
  const path = join(scratch(t), 'packed.gz');
  writeFileSync(path, packed);
  await run('gzip', ['-t', path]);
  assert.ok(packed.byteLength < 40_000 + 80 * 200, `${packed.byteLength} bytes`);
});
