import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { type Bytes, bytesOf, collect, isKnownError } from '@cambium/base';
import { needsPeer, run, scratch } from '@cambium/testkit';
import fc from 'fast-check';
import { compress, type DecompressOptions, decompress } from './decompress.ts';
import { type Compression, detectCompression } from './detect-compression.ts';

const A = Buffer.from('first member '.repeat(50));
const B = Buffer.from('second');
const SKIPPABLE = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
const both = Buffer.concat([A, B]);

async function unpack(kind: Compression, bytes: Uint8Array, cuts: readonly number[] = [], options: DecompressOptions = {}): Promise<Buffer> {
  return Buffer.from(await collect(decompress(cut(bytes, cuts), kind, options), 1 << 28));
}

async function* cut(bytes: Uint8Array, cuts: readonly number[]): Bytes {
  // One buffer for all chunks, as a file reader has.
  const buffer = Buffer.alloc(bytes.length);
  let at = 0;
  for (const end of [...cuts, bytes.length].sort((a, b) => a - b)) {
    const part = bytes.subarray(at, end);
    at = Math.max(at, end);
    buffer.set(part);
    yield buffer.subarray(0, part.length);
    buffer.fill(0xee);
  }
}

test('kinds are told by their first bytes', () => {
  const table: [Uint8Array, Compression][] = [
    [gzipSync('x'), 'gzip'],
    [zstdCompressSync('x'), 'zstd'],
    [SKIPPABLE, 'zstd'],
    [Buffer.from('BZh91AY'), 'bzip2'],
    [Buffer.from('\xfd7zXZ\0', 'latin1'), 'xz'],
    [Buffer.from('file name'), 'none'],
    [Buffer.alloc(0), 'none'],
    [Buffer.from([0x1f, 0x8b]), 'none'],
  ];
  for (const [head, want] of table) assert.equal(detectCompression(head), want);
});

const WHOLE: [what: string, kind: Compression, bytes: Buffer, want: Buffer][] = [
  ['nothing', 'none', Buffer.alloc(0), Buffer.alloc(0)],
  ['no compression', 'none', A, A],
  ['one member', 'gzip', gzipSync(A), A],
  ['an empty member', 'gzip', gzipSync(''), Buffer.alloc(0)],
  ['two members', 'gzip', Buffer.concat([gzipSync(A), gzipSync(B)]), both],
  ['members and padding', 'gzip', Buffer.concat([gzipSync(A), gzipSync(B), Buffer.alloc(600)]), both],
  ['one frame', 'zstd', zstdCompressSync(A), A],
  ['an empty frame', 'zstd', zstdCompressSync(''), Buffer.alloc(0)],
  ['two frames', 'zstd', Buffer.concat([zstdCompressSync(A), zstdCompressSync(B)]), both],
  ['skippable frames', 'zstd', Buffer.concat([SKIPPABLE, zstdCompressSync(A), SKIPPABLE, SKIPPABLE, zstdCompressSync(B), SKIPPABLE]), both],
];

test('data is read to its last member or frame, however it is cut', async () => {
  for (const [what, kind, bytes, want] of WHOLE) {
    assert.deepEqual(await unpack(kind, bytes), want, what);
    for (let at = 0; at <= bytes.length; at++) assert.deepEqual(await unpack(kind, bytes, [at]), want, `${what}, cut at ${at}`);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 8 }), async (cuts) => assert.deepEqual(await unpack(kind, bytes, cuts), want, what)),
      { numRuns: 20 },
    );
  }
});

test('large data of many frames comes out whole', async () => {
  const data = Buffer.concat(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? Buffer.alloc(100_000, i) : randomBytes(100_000))));
  const frames = Array.from({ length: 40 }, (_, i) => data.subarray(i * 100_000, (i + 1) * 100_000));
  for (const [kind, bytes] of [
    ['gzip', Buffer.concat(frames.map((frame) => gzipSync(frame)))],
    ['zstd', Buffer.concat(frames.map((frame) => zstdCompressSync(frame)))],
  ] as const) {
    const cuts = Array.from({ length: 300 }, (_, i) => i * 7001).filter((at) => at < bytes.length);
    assert.ok((await unpack(kind, bytes, cuts)).equals(data));
    assert.ok((await unpack(kind, bytes)).equals(data));
  }
});

test('truncation is an error at every length that is not between members', async () => {
  const archives: [Compression, Buffer[]][] = [
    ['gzip', [gzipSync(A)]],
    ['gzip', [gzipSync(A), gzipSync(B)]],
    ['zstd', [zstdCompressSync(A)]],
    ['zstd', [zstdCompressSync(A), zstdCompressSync(B)]],
    ['zstd', [SKIPPABLE, zstdCompressSync(A), SKIPPABLE, zstdCompressSync(B), SKIPPABLE]],
  ];
  for (const [kind, parts] of archives) {
    const bytes = Buffer.concat(parts);
    const ends = new Set(parts.map((_, i) => Buffer.concat(parts.slice(0, i + 1)).length));
    for (let length = 0; length <= bytes.length; length++) {
      for (const cuts of [[], [length >> 1]]) {
        const result = unpack(kind, bytes.subarray(0, length), cuts);
        if (ends.has(length)) await result;
        else await assert.rejects(result, { code: 'ARCHIVE_DECOMPRESS_TRUNCATED' }, `${kind} of ${parts.length} at ${length}`);
      }
    }
  }
});

test('what stands behind the end is an error, padding of gzip apart', async () => {
  const table: [Compression, Buffer][] = [
    ['gzip', Buffer.concat([gzipSync(A), Buffer.from('garbage')])],
    ['gzip', Buffer.concat([gzipSync(A), Buffer.alloc(30), gzipSync(B)])],
    ['zstd', Buffer.concat([zstdCompressSync(A), Buffer.from('garbage')])],
    ['zstd', Buffer.concat([zstdCompressSync(A), Buffer.alloc(30)])],
  ];
  for (const [kind, bytes] of table) {
    for (let at = 0; at <= bytes.length; at++) await assert.rejects(unpack(kind, bytes, [at]), { code: 'ARCHIVE_DECOMPRESS_CORRUPT' }, `${kind} cut at ${at}`);
  }
});

test('damage gives known errors or data', async () => {
  const sources = WHOLE.filter(([, kind]) => kind !== 'none');
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...sources), fc.nat(), fc.integer({ min: 1, max: 255 }), async ([, kind, bytes], at, flip) => {
      const copy = Buffer.from(bytes);
      copy[at % copy.length] = (copy[at % copy.length] as number) ^ flip;
      try {
        await unpack(kind, copy, [copy.length >> 1], { limitBytes: 1 << 20 });
      } catch (error) {
        if (!isKnownError(error)) throw error;
        refused++;
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(refused > 100, `${refused} of 500 were refused`);
});

test('bombs are stopped by size and by ratio', async () => {
  const zeros = Buffer.alloc(64 << 20);
  for (const [kind, bomb] of [
    ['gzip', gzipSync(zeros)],
    ['zstd', zstdCompressSync(zeros)],
  ] as const) {
    let out = 0;
    const reading = (async () => {
      for await (const chunk of decompress(bytesOf(bomb), kind, { limitBytes: 1 << 20 })) out += chunk.length;
    })();
    await assert.rejects(reading, { code: 'ARCHIVE_DECOMPRESS_TOO_LARGE' });
    assert.ok(out <= 1 << 20);
    await assert.rejects(unpack(kind, bomb, [], { ratioFreeBytes: 1 << 20, maxRatio: 100 }), { code: 'ARCHIVE_DECOMPRESS_TOO_LARGE' });
    assert.equal((await unpack(kind, bomb)).length, zeros.length);
  }
  await assert.rejects(unpack('none', zeros, [], { limitBytes: 1000 }), { code: 'ARCHIVE_DECOMPRESS_TOO_LARGE' });
});

test('leaving early, a failing source and an abort close the source and free the stream', async () => {
  const data = gzipSync(randomBytes(1 << 20));
  for (const kind of ['gzip', 'none'] as const) {
    let closed = 0;
    async function* source(failAt = Number.POSITIVE_INFINITY): Bytes {
      try {
        for (let at = 0; at < data.length; at += 65_536) {
          if (at >= failAt) throw new Error('the network went away');
          yield data.subarray(at, at + 65_536);
        }
      } finally {
        closed++;
      }
    }
    for await (const _ of decompress(source(), kind)) break;
    assert.equal(closed, 1);
    await assert.rejects(collect(decompress(source(200_000), kind), 1 << 28), /the network went away/);
    assert.equal(closed, 2);
    const controller = new AbortController();
    const reading = (async () => {
      for await (const _ of decompress(source(), kind, { signal: controller.signal })) controller.abort(new Error('stop'));
    })();
    await assert.rejects(reading, /stop/);
    assert.equal(closed, 3);
  }
});

test('bzip2 and xz are named, not guessed', async () => {
  for (const kind of ['bzip2', 'xz'] as const) await assert.rejects(unpack(kind, A), { code: 'ARCHIVE_COMPRESSION_UNSUPPORTED' });
});

test('compression: deterministic, and read by others', async () => {
  const data = Buffer.concat([randomBytes(300_000), Buffer.alloc(300_000, 'text ')]);
  for (const [kind, read] of [
    ['gzip', gunzipSync],
    ['zstd', zstdDecompressSync],
  ] as const) {
    const whole = await collect(compress(bytesOf(data), kind), 1 << 24);
    assert.ok(read(whole).equals(data));
    const cuts = Array.from({ length: 60 }, (_, i) => i * 10_000);
    assert.deepEqual(Buffer.from(await collect(compress(cut(data, cuts), kind), 1 << 24)), Buffer.from(whole), kind);
    assert.ok(read(await collect(compress(bytesOf(data), kind, { level: 9 }), 1 << 24)).equals(data));
    assert.ok((await unpack(kind, whole)).equals(data));
    assert.ok(read(await collect(compress(bytesOf(), kind), 1 << 24)).length === 0);
  }
});

const PROGRAMS: [program: string, flags: string[], kind: Compression][] = [
  ['gzip', ['-9'], 'gzip'],
  ['zstd', ['-19', '--long=27'], 'zstd'],
  ['zstd', ['-1', '--no-check'], 'zstd'],
  ['pzstd', ['-p', '2'], 'zstd'],
];
for (const [program, flags, kind] of PROGRAMS) {
  test(`${program} ${flags.join(' ')}: we read it, it reads us`, { skip: needsPeer(program) }, async (t) => {
    const directory = scratch(t);
    const data = Buffer.concat([Buffer.alloc(9 << 20, 'some text that repeats '), randomBytes(1 << 20)]);
    writeFileSync(join(directory, 'data'), data);
    const { stdoutBytes } = await run(program, [...flags, '-c', join(directory, 'data')]);
    assert.ok((await unpack(kind, stdoutBytes)).equals(data));
    writeFileSync(join(directory, 'ours'), await collect(compress(bytesOf(data), kind as 'gzip' | 'zstd'), 1 << 28));
    const back = await run(program, ['-d', '-c'], { input: readFileSync(join(directory, 'ours')) });
    assert.ok(back.stdoutBytes.equals(data));
  });
}
