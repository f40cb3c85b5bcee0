import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compressXz } from '@cambium/archive';
import { Cursor, isKnownError } from '@cambium/base';
import { codec, u32Swap, Variant } from '@cambium/gvariant';
import fc from 'fast-check';
import { encodeCommit, encodeMetadata } from '../format/commit-format.ts';
import { checksumOf } from '../format/object-format.ts';
import { type DeltaOperation, OperationWriter, parseOperations } from './operations.ts';
import { encodePart, parsePart, parsePartFile, XZ } from './part.ts';
import { encodeObjectList, encodeSignedSuperblock, encodeSuperblock, parseSuperblock, partObjects } from './superblock.ts';
import { readVarint, writeVarint } from './varint.ts';

/** A record as literals are: with a prototype. */
function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as unknown as fc.Arbitrary<T>;
}

const CHECKSUM = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(checksumOf);
const BYTES = fc.uint8Array({ maxLength: 300 });
const XATTRS = fc.uniqueArray(
  fc.tuple(
    fc.stringMatching(/^user\.[a-z]{1,9}$/).map((name) => Buffer.from(name)),
    BYTES,
  ),
  {
    maxLength: 3,
    selector: ([name]) => name.toString(),
  },
);
const ID = fc.nat({ max: 0xffff_ffff });
const PART = plain({
  modes: fc.array(plain({ uid: ID, gid: ID, mode: ID }), { maxLength: 5 }),
  xattrs: fc.array(XATTRS, { maxLength: 4 }),
  payload: fc.array(BYTES, { maxLength: 3 }),
  operations: BYTES,
});
const COMMIT = encodeCommit({
  metadata: [],
  parent: undefined,
  related: [],
  subject: 's',
  body: '',
  timestamp: 1n,
  root: { tree: checksumOf(Buffer.from('t')), meta: checksumOf(Buffer.from('m')) },
});
const SUPERBLOCK = plain({
  endianness: fc.constantFrom('little' as const, 'big' as const),
  timestamp: fc.bigInt({ min: 0n, max: 2n ** 40n }),
  from: fc.option(CHECKSUM, { nil: undefined }),
  to: CHECKSUM,
  commitBytes: fc.constant(COMMIT),
  parts: fc.array(
    plain({
      checksum: CHECKSUM,
      sizeBytes: fc.maxSafeNat(),
      usizeBytes: fc.maxSafeNat(),
      objects: fc.array(plain({ type: fc.constantFrom('file' as const, 'dirtree' as const, 'dirmeta' as const), checksum: CHECKSUM }), { maxLength: 4 }),
    }),
    { maxLength: 3 },
  ),
  fallbacks: fc.array(plain({ type: fc.constant('file' as const), checksum: CHECKSUM, sizeBytes: fc.maxSafeNat(), usizeBytes: fc.maxSafeNat() }), {
    maxLength: 3,
  }),
});

describe('bytes of static deltas', () => {
  test('numbers of operations', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const bytes: number[] = [];
        writeVarint(bytes, value);
        assert.equal(readVarint(new Cursor(Uint8Array.from(bytes), 'test')), value);
      }),
    );
    for (const bytes of [Array.from({ length: 11 }, () => 0x80), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]]) {
      assert.throws(() => readVarint(new Cursor(Uint8Array.from(bytes), 'test')), { code: 'OSTREE_DELTA_CORRUPT' });
    }
  });

  test('parts framed by hand are those of the GVariant codec', () => {
    const general = codec<[[number, number, number][], [Uint8Array, Uint8Array][][], Uint8Array, Uint8Array]>('(a(uuu)aa(ayay)ayay)');
    fc.assert(
      fc.property(PART, (init) => {
        const bytes = encodePart(init);
        const expected = general.encode([
          init.modes.map(({ uid, gid, mode }) => [u32Swap(uid), u32Swap(gid), u32Swap(mode)]),
          init.xattrs.map((list) => list.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value])),
          Buffer.concat(init.payload),
          init.operations,
        ]);
        assert.deepEqual(Buffer.from(bytes), Buffer.from(expected));
        const part = parsePart(bytes);
        assert.deepEqual(
          init.modes.map((_, i) => part.modeAt(i)),
          init.modes,
        );
        assert.equal(part.xattrCount, init.xattrs.length);
        for (const [i, list] of init.xattrs.entries()) {
          assert.deepEqual(
            part.xattrsAt(i).map(([name, value]) => [Buffer.from(name), Buffer.from(value)]),
            list.map(([name, value]) => [name, Buffer.from(value)]),
          );
        }
        assert.deepEqual(Buffer.from(part.payload), Buffer.concat(init.payload));
        assert.deepEqual(Buffer.from(part.operations), Buffer.from(init.operations));
        assert.throws(() => part.modeAt(init.modes.length), { code: 'OSTREE_DELTA_CORRUPT' });
        assert.throws(() => part.xattrsAt(init.xattrs.length), { code: 'OSTREE_DELTA_CORRUPT' });
      }),
    );
  });

  test('superblocks come back, in both byte orders, signed or not', () => {
    fc.assert(
      fc.property(SUPERBLOCK, fc.boolean(), ({ parts, ...rest }, signed) => {
        const init = { ...rest, parts: parts.map(({ objects, ...header }) => ({ ...header, objects: encodeObjectList(objects) })) };
        const bare = encodeSuperblock(init);
        const superblock = parseSuperblock(signed ? encodeSignedSuperblock(bare, []) : bare);
        const { endianness, timestamp, from, to, fallbacks } = superblock;
        const { endianness: order, timestamp: time, from: start, to: end, fallbacks: left } = init;
        assert.deepEqual({ endianness, timestamp, from, to, fallbacks }, { endianness: order, timestamp: time, from: start, to: end, fallbacks: left });
        assert.deepEqual(Buffer.from(superblock.commitBytes), Buffer.from(COMMIT));
        assert.equal(superblock.signatures !== undefined, signed);
        assert.deepEqual(Buffer.from(superblock.signedBytes), Buffer.from(bare));
        for (const [i, part] of superblock.parts.entries()) {
          assert.equal(part.sizeBytes, init.parts[i]?.sizeBytes);
          assert.equal(part.usizeBytes, init.parts[i]?.usizeBytes);
          assert.deepEqual([...partObjects(part)], parts[i]?.objects);
        }
      }),
    );
  });

  test('superblocks framed by hand are those of the GVariant codec, parts inside or not', () => {
    const general = codec<unknown[]>('(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))');
    fc.assert(
      fc.property(SUPERBLOCK, fc.array(BYTES, { maxLength: 3 }), fc.boolean(), ({ parts, ...rest }, inline, detached) => {
        const bytes = encodeSuperblock({
          ...rest,
          metadata: [['note', new Variant('s', 'text')]],
          parts: parts.map(({ objects, ...header }) => ({ ...header, objects: encodeObjectList(objects) })),
          inlineParts: new Map(inline.map((part, i) => [i, Buffer.concat([Buffer.of(0), part])])),
          detached: detached ? encodeMetadata([['signature', new Variant('ay', Buffer.from('s'))]]) : undefined,
        });
        // Decoding takes normal form only, which is one for each value.
        assert.deepEqual(Buffer.from(general.encode(general.decode(bytes))), Buffer.from(bytes));
        const { metadata } = parseSuperblock(bytes);
        assert.equal(metadata.length, 2 + inline.length + Number(detached));
      }),
    );
  });

  test('operations come back', () => {
    const object = { type: 'file' as const, checksum: checksumOf(Buffer.from('f')) };
    const meta = { type: 'dirmeta' as const, checksum: checksumOf(Buffer.from('m')) };
    const writer = new OperationWriter();
    writer.spliceMetadata(5, 300);
    writer.spliceContent(1, 2, 3, 4);
    writer.setReadSource(7);
    writer.open(0, 0, 100_000);
    writer.write(60_000, 70_000);
    writer.unsetReadSource();
    writer.bspatch(8, 9);
    writer.close();
    const expected: DeltaOperation[] = [
      { op: 'splice', object: meta, mode: 0, xattrs: 0, length: 5, offset: 300 },
      { op: 'splice', object, mode: 1, xattrs: 2, length: 3, offset: 4 },
      { op: 'set-read-source', offset: 7 },
      { op: 'open', object, mode: 0, xattrs: 0, length: 100_000 },
      { op: 'write', length: 60_000, offset: 70_000 },
      { op: 'unset-read-source' },
      { op: 'bspatch', offset: 8, length: 9 },
      { op: 'close' },
    ];
    assert.deepEqual([...parseOperations(writer.finish(), [meta, object, object].values())], expected);
    for (const [bytes, objects] of [
      ['S', [object]],
      ['x', []],
      ['c', []],
      ['w\x01\x01', []],
      ['o\0\0\x05', [object]],
      ['o\0\0\x05c', [meta]],
      ['o\0\0\x05o\0\0\x05cc', [object, object]],
      ['', [object]],
      ['S\x01\x01', []],
    ] as const) {
      assert.throws(() => [...parseOperations(Buffer.from(bytes, 'latin1'), objects.values())], { code: 'OSTREE_DELTA_CORRUPT' });
    }
  });

  test('changed bytes give known errors', async () => {
    const init = fc.sample(SUPERBLOCK, { seed: 7, numRuns: 1 })[0] as typeof SUPERBLOCK extends fc.Arbitrary<infer T> ? T : never;
    const superblock = encodeSuperblock({ ...init, parts: init.parts.map(({ objects, ...rest }) => ({ ...rest, objects: encodeObjectList(objects) })) });
    const part = encodePart(fc.sample(PART, { seed: 7, numRuns: 1 })[0] as typeof PART extends fc.Arbitrary<infer T> ? T : never);
    const file = Buffer.concat([Buffer.of(XZ), await compressXz(part)]);
    const readPart = (bytes: Uint8Array): void => {
      const { modeCount, xattrCount, modeAt, xattrsAt, operations } = parsePart(bytes);
      for (let i = 0; i < modeCount; i++) modeAt(i);
      for (let i = 0; i < xattrCount; i++) xattrsAt(i);
      // The only operations that need no object.
      for (const { op } of parseOperations(operations, [].values())) assert.match(op, /^(?:un)?set-read-source$/);
    };
    for (const [original, read] of [
      [superblock, parseSuperblock],
      [encodeSignedSuperblock(superblock, []), parseSuperblock],
      [part, readPart],
      [file, (bytes: Uint8Array): unknown => parsePartFile(bytes, 1 << 20)],
    ] as const) {
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }), fc.option(fc.nat()), (changes, cut) => {
          const bytes = Buffer.from(original.subarray(0, cut === null ? undefined : cut % original.byteLength));
          for (const [at, value] of changes) if (bytes.byteLength > 0) bytes[at % bytes.byteLength] = value;
          try {
            read(bytes);
          } catch (error) {
            assert.ok(isKnownError(error), String(error));
          }
        }),
        { numRuns: 300 },
      );
    }
  });
});
