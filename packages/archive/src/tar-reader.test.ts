import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bytes, bytesOf, collect } from '@cambium/base';
import { END, octalText, padding, rawHeader, rawPax, record } from './tar-oracle.test.ts';
import { readTar } from './tar-reader.ts';
import { writeTar } from './tar-writer.ts';

const CONTENTS: readonly string[] = ['', 'small', 'x'.repeat(512), 'large '.repeat(100_000)];

async function* archive(chunkBytes: number): Bytes {
  const items = CONTENTS.map((content, i) => ({
    entry: { path: `f${i}`, type: 'file' as const, size: content.length },
    open: () => bytesOf(Buffer.from(content)),
  }));
  const all = await collect(writeTar(items), 1 << 24);
  // One buffer for all chunks: a reader that keeps views reads nonsense.
  const buffer = Buffer.alloc(chunkBytes);
  for (let at = 0; at < all.length; at += chunkBytes) {
    const part = all.subarray(at, at + chunkBytes);
    buffer.set(part);
    yield buffer.subarray(0, part.length);
    buffer.fill(0xee);
  }
}

test('entries come with their bodies, whatever the chunks', async () => {
  for (const chunkBytes of [1 << 20, 4096, 700]) {
    const seen: [string, string][] = [];
    for await (const file of readTar(archive(chunkBytes)))
      seen.push([Buffer.from(file.path).toString(), Buffer.from(await collect(file.body(), 1 << 24)).toString()]);
    assert.deepEqual(
      seen,
      CONTENTS.map((content, i) => [`f${i}`, content]),
    );
  }
});

test('unread and half-read bodies are skipped', async () => {
  const seen: string[] = [];
  for await (const file of readTar(archive(1000))) {
    seen.push(Buffer.from(file.path).toString());
    if (seen.length === 4) for await (const _ of file.body()) break;
  }
  assert.deepEqual(seen, ['f0', 'f1', 'f2', 'f3']);
});

test('a body is read in its turn, and once', async () => {
  const kept: Bytes[] = [];
  for await (const file of readTar(archive(1000))) {
    kept.push(file.body());
    await collect(file.body(), 1 << 24);
    await assert.rejects(collect(file.body(), 1 << 24), TypeError);
  }
  for (const body of kept) await assert.rejects(collect(body, 1 << 24), TypeError);
});

test('entries before a defect are handed out; leaving early closes the source', async () => {
  const seen: string[] = [];
  let closed = false;
  async function* source(): Bytes {
    try {
      yield Buffer.concat([rawHeader({ name: 'good' }), Buffer.alloc(512, 'x')]);
      yield END;
    } finally {
      closed = true;
    }
  }
  const reading = (async () => {
    for await (const file of readTar(source())) seen.push(Buffer.from(file.path).toString());
  })();
  await assert.rejects(reading, { code: 'ARCHIVE_TAR_CHECKSUM' });
  assert.deepEqual(seen, ['good']);
  assert.ok(closed);
  closed = false;
  for await (const _ of readTar(source())) break;
  assert.ok(closed);
});

test('the source is read beyond the end mark, so that a digest over it counts', async () => {
  let after = false;
  async function* source(): Bytes {
    yield Buffer.concat([rawHeader({ name: 'good' }), END]);
    yield Buffer.alloc(10);
    after = true;
  }
  for await (const _ of readTar(source()));
  assert.ok(after);
});

test('holes of any size cost no memory', async () => {
  const size = 300_000_123;
  const data = Buffer.from('end');
  const records = record('GNU.sparse.size', `${size}`) + record('GNU.sparse.map', `${size - 3},3`);
  const sparse = Buffer.concat([rawPax(records), rawHeader({ name: 'hole', size: octalText(3) }), padding(data), END]);
  for await (const file of readTar(bytesOf(sparse))) {
    let bytes = 0;
    const buffers = new Set<unknown>();
    for await (const chunk of file.body()) {
      bytes += chunk.length;
      buffers.add(chunk.buffer);
    }
    assert.equal(bytes, size);
    assert.equal(buffers.size, 2);
  }
});
