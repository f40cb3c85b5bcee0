import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Bytes } from '@cambium/base';
import { tarBytes } from '@cambium/testkit';
import { uncompressed } from './tar-source.ts';

const TAR = tarBytes([
  { path: './', kind: 'directory' },
  { path: 'file', content: 'content' },
]);

async function* pieces(bytes: Uint8Array, size: number): Bytes {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function gather(bytes: Bytes): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

test('what compresses a tar is recognised, however little a pipe gives at a time', async () => {
  for (const bytes of [TAR, gzipSync(TAR), zstdCompressSync(TAR)])
    for (const size of [1, 2, 5, 1000, 1 << 20]) assert.deepEqual(await gather(uncompressed(pieces(bytes, size))), Buffer.from(TAR), `${size}`);
  assert.equal((await gather(uncompressed(pieces(new Uint8Array(0), 1)))).length, 0);
  assert.deepEqual(await gather(uncompressed(pieces(Uint8Array.of(1, 2), 1))), Buffer.of(1, 2));
});

test('what cannot be read has a code', async () => {
  const heads: Readonly<Record<string, readonly [bytes: string, code: string]>> = {
    xz: ['\xfd7zXZ\0rest', 'ARCHIVE_COMPRESSION_UNSUPPORTED'],
    bzip2: ['BZh91AY', 'ARCHIVE_COMPRESSION_UNSUPPORTED'],
  };
  for (const [name, [head, code]] of Object.entries(heads))
    for (const size of [1, 100]) await assert.rejects(gather(uncompressed(pieces(Buffer.from(head, 'latin1'), size))), { code }, name);
});
