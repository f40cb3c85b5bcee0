import assert from 'node:assert/strict';
import test from 'node:test';
import { type Checksum, compareBytes, compareUtf8, isKnownError } from '@cambium/base';
import { codec, u32Swap, u64Swap, Variant } from '@cambium/gvariant';
import type { Xattr } from '@cambium/tree';
import fc from 'fast-check';
import { encodeCommit, metadataValue, parseCommit, parseMetadata } from './commit-format.ts';
import { encodeXattrList, parseXattrList } from './framing.ts';
import {
  checksumOf,
  encodeDirMeta,
  encodeDirTree,
  encodeFileHeader,
  encodeFilezHeader,
  encodeUserMeta,
  fileChecksum,
  parseDirMeta,
  parseDirTree,
  parseFileHeader,
  parseFilezHeader,
  parseUserMeta,
} from './object-format.ts';
import type { DirMeta, DirTree, FileHeader } from './types.ts';

// Bytes dumped from objects that ostree 2022.7 made.
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const unhex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const xattr = (name: string, value: string | Uint8Array): Xattr => [Buffer.from(name), Buffer.from(value)];
const file = (more: Partial<FileHeader>): FileHeader => ({ uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [], ...more });

test('file headers and checksums are those of libostree', () => {
  const plain = file({ gid: 5 });
  assert.equal(hex(encodeFileHeader(plain)), hex(unhex('00000012 00000000 00000000 00000005 000081a4 00000000 00 11')));
  assert.ok(fileChecksum(plain, Buffer.from('Z')).startsWith('8d1f6f61'));
  const link = file({ gid: 5, mode: 0o120777, target: '../target' });
  assert.equal(hex(encodeFileHeader(link)), hex(unhex('0000001b 00000000 00000000 00000005 0000a1ff 00000000 2e2e2f74617267657400 1a')));
  assert.ok(fileChecksum(link, new Uint8Array(0)).startsWith('480687cc'));
  const special = file({ gid: 5, mode: 0o104644, xattrs: [xattr('user.aa', Buffer.from([0, 0x76, 0x32])), xattr('user.zz', 'v1')] });
  assert.equal(
    hex(encodeFileHeader(special)),
    hex(unhex('0000002b 00000000 00000000 00000005 000089a4 00000000 00 757365722e616100 007632 08 757365722e7a7a00 7631 08 0c 17 11')),
  );
  assert.ok(fileChecksum(special, Buffer.from('hello')).startsWith('c5192327'));
  assert.equal(hex(encodeFilezHeader(plain, 1)), hex(unhex('0000001a 00000000 0000000000000001 00000000 00000005 000081a4 00000000 00 19')));
});

test('directory metadata and trees are those of libostree', () => {
  const meta: DirMeta = { uid: 0, gid: 0, mode: 0o040755, xattrs: [] };
  assert.equal(checksumOf(encodeDirMeta(meta)), '446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488');
  assert.equal(hex(encodeDirMeta({ ...meta, xattrs: [xattr('user.a', '1')] })), hex(unhex('00000000 00000000 000041ed 757365722e6100 31 07 09')));
  assert.equal(checksumOf(encodeDirTree({ files: [], dirs: [] })), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  const a = 'aa'.repeat(32) as Checksum;
  const b = 'bb'.repeat(32) as Checksum;
  assert.equal(hex(encodeDirTree({ files: [], dirs: [{ name: 'd', tree: a, meta: b }] })), `6400${a}${b}22024400`);
  const two = {
    files: [
      { name: 'f', checksum: a },
      { name: 'l', checksum: b },
    ],
    dirs: [],
  };
  assert.equal(hex(encodeDirTree(two)), `6600${a}026c00${b}02234648`);
});

test('a commit is laid out as by libostree', () => {
  const tree = 'aa'.repeat(32) as Checksum;
  const meta = 'bb'.repeat(32) as Checksum;
  const commit = {
    metadata: [['ostree.ref-binding', new Variant('as', ['m'])] as const],
    parent: undefined,
    related: [],
    subject: 'S',
    body: 'B',
    timestamp: 123_456_789n,
    root: { tree, meta },
  };
  const bytes = encodeCommit(commit);
  const expected = `6f73747265652e7265662d62696e64696e67 00 0000000000 6d00 02 00 6173 13 1f 5300 4200 00000000 00000000075bcd15 ${tree} ${meta} 50 24 22 20 20 20`;
  assert.equal(hex(bytes), hex(unhex(expected)));
  assert.deepEqual(parseCommit(bytes), commit);
  assert.deepEqual(metadataValue(parseCommit(bytes).metadata, 'ostree.ref-binding', 'as'), ['m']);
  assert.equal(metadataValue(parseCommit(bytes).metadata, 'ostree.ref-binding', 's'), undefined);
  assert.deepEqual(parseMetadata(new Uint8Array(0)), []);
});

const bytesOf = (max: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: max });
const xattrsArbitrary: fc.Arbitrary<Xattr[]> = fc
  .uniqueArray(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 30, min: 1 }), fc.oneof(bytesOf(20), bytesOf(400), bytesOf(70_000))), {
    maxLength: 5,
    selector: ([name]) => hex(name),
  })
  .map((list) => list.sort(([a], [b]) => compareBytes(a, b)));
const u32 = fc.nat(0xffffffff);
const nameArbitrary = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((name) => name !== '.' && name !== '..' && !/[/\0]/.test(name) && name.isWellFormed());
const checksumArbitrary = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => hex(bytes) as Checksum);
const withNul = (xattrs: readonly Xattr[]): [Uint8Array, Uint8Array][] => xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.of(0)]), value]);

test('hand-written codecs give the bytes of the generic one, and read them back', () => {
  fc.assert(
    fc.property(
      u32,
      u32,
      fc.nat(0o7777),
      fc.string({ unit: 'grapheme', maxLength: 300 }),
      xattrsArbitrary,
      fc.nat(2 ** 40),
      (uid, gid, bits, text, xattrs, size) => {
        const target = text.replaceAll('\0', '').toWellFormed();
        const header: FileHeader = target === '' ? { uid, gid, mode: 0o100000 | bits, target, xattrs } : { uid, gid, mode: 0o120000 | bits, target, xattrs };
        const fields = [u32Swap(uid), u32Swap(gid), u32Swap(header.mode), 0, target, withNul(xattrs)];
        const generic = codec<unknown[]>('(uuuusa(ayay))').encode(fields);
        const ours = encodeFileHeader(header);
        assert.equal(hex(ours.subarray(8)), hex(generic));
        assert.deepEqual(ours.readUInt32BE(0), generic.byteLength);
        assert.equal(hex(encodeFileHeader(parseFileHeader(ours).header)), hex(ours));
        const stored = target === '' ? size : 0;
        const filez = encodeFilezHeader(header, stored);
        assert.equal(hex(filez.subarray(8)), hex(codec<unknown[]>('(tuuuusa(ayay))').encode([u64Swap(BigInt(stored)), ...fields])));
        assert.equal(parseFilezHeader(filez).sizeBytes, stored);
        assert.equal(hex(encodeUserMeta(header)), hex(codec<unknown[]>('(uuua(ayay))').encode([fields[0], fields[1], fields[2], fields[5]])));
        assert.equal(parseUserMeta(encodeUserMeta(header)).mode, header.mode);
        const directory: DirMeta = { uid, gid, mode: 0o040000 | bits, xattrs };
        assert.equal(hex(encodeDirMeta(parseDirMeta(encodeDirMeta(directory)))), hex(encodeDirMeta(directory)));
        assert.equal(hex(encodeXattrList(xattrs)), hex(codec<unknown>('a(ayay)').encode(withNul(xattrs))));
        assert.equal(parseXattrList(encodeXattrList(xattrs)).length, xattrs.length);
      },
    ),
    { numRuns: 150 },
  );
});

test('directory trees of any size equal the generic codec', () => {
  fc.assert(
    fc.property(fc.uniqueArray(nameArbitrary, { maxLength: 12 }), fc.nat(2000), checksumArbitrary, checksumArbitrary, (names, repeat, x, y) => {
      const all = [...new Set([...names, ...Array.from({ length: repeat }, (_, i) => `entry${i}`)])].sort(compareUtf8);
      const half = all.length >> 1;
      const pick = (want: number): string[] => all.filter((_, i) => (i * 7919) % all.length < half === (want === 0));
      const tree: DirTree = { files: pick(0).map((name) => ({ name, checksum: x })), dirs: pick(1).map((name) => ({ name, tree: x, meta: y })) };
      const bytes = encodeDirTree(tree);
      const raw = (checksum: Checksum): Uint8Array => Buffer.from(checksum, 'hex');
      const generic = codec<unknown>('(a(say)a(sayay))').encode([
        tree.files.map((f) => [f.name, raw(f.checksum)]),
        tree.dirs.map((d) => [d.name, raw(d.tree), raw(d.meta)]),
      ]);
      assert.ok(Buffer.compare(bytes, generic) === 0);
      assert.deepEqual(parseDirTree(bytes), tree);
    }),
    { numRuns: 40 },
  );
});

test('names outside the format are refused in both directions', () => {
  const sum = 'aa'.repeat(32) as Checksum;
  for (const name of ['', '.', '..', 'a/b', 'a\0b', '\ud800']) {
    assert.throws(() => encodeDirTree({ files: [{ name, checksum: sum }], dirs: [] }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  }
  assert.throws(
    () =>
      encodeDirTree({
        files: [
          { name: 'b', checksum: sum },
          { name: 'a', checksum: sum },
        ],
        dirs: [],
      }),
    { code: 'OSTREE_FILE_UNSUPPORTED' },
  );
  assert.throws(() => encodeDirTree({ files: [{ name: 'a', checksum: sum }], dirs: [{ name: 'a', tree: sum, meta: sum }] }), {
    code: 'OSTREE_FILE_UNSUPPORTED',
  });
  assert.throws(() => parseDirTree(unhex(`2e2e00${sum}03 24 25`)), { code: 'OSTREE_OBJECT_CORRUPT' });
});

test('of all bytes for a directory tree one form is accepted', () => {
  const sum = 'ab'.repeat(32) as Checksum;
  // Lengths around those at which offsets get wider: of an entry, of a list, of the whole.
  const tree = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 255 }), fc.integer({ min: 0, max: 2 })).map(([files, length, dirs]) =>
    encodeDirTree({
      files: Array.from({ length: files }, (_, i) => ({ name: `${i}`.padEnd(length, 'f'), checksum: sum })),
      dirs: Array.from({ length: dirs }, (_, i) => ({ name: `d${i}`.padEnd(length, 'd'), tree: sum, meta: sum })),
    }),
  );
  // A byte more, less, or of another value; offsets stand at the ends of their containers.
  const edit = fc.tuple(fc.constantFrom('set', 'insert', 'delete'), fc.nat(2000), fc.oneof(fc.nat(4), fc.nat(255)), fc.boolean());
  let accepted = 0;
  fc.assert(
    fc.property(tree, fc.array(edit, { maxLength: 3 }), (bytes, edits) => {
      const changed = [...bytes];
      for (const [how, at, value, fromEnd] of edits) {
        const place = fromEnd ? Math.max(0, changed.length - 1 - (at % 8)) : at % changed.length;
        if (how === 'insert') changed.splice(place, 0, value);
        else changed.splice(place, 1, ...(how === 'set' ? [value] : []));
        if (changed.length === 0) return;
      }
      const input = Buffer.from(changed);
      let parsed: ReturnType<typeof parseDirTree>;
      try {
        parsed = parseDirTree(input);
      } catch (error) {
        assert.ok(isKnownError(error, 'OSTREE_OBJECT_CORRUPT'), String(error));
        return;
      }
      accepted++;
      assert.deepEqual(encodeDirTree(parsed), input);
    }),
    { numRuns: 5000 },
  );
  assert.ok(accepted > 500);
  // The same tree with offsets wider than needed, at each of the three levels.
  const entry = Buffer.concat([Buffer.from('f\0'), Buffer.alloc(32, 0xab)]);
  const wide = Buffer.alloc(2);
  wide.writeUInt16LE(2);
  for (const list of [
    Buffer.concat([entry, Buffer.of(2), Buffer.of(35)]),
    Buffer.concat([entry, wide, Buffer.of(36)]),
    Buffer.concat([entry, Buffer.of(2), Buffer.of(35, 0)]),
  ]) {
    for (const end of [Buffer.of(list.length), Buffer.of(list.length, 0)]) {
      const bytes = Buffer.concat([list, end]);
      if (bytes.length === 37) assert.deepEqual(parseDirTree(bytes).dirs, []);
      else assert.throws(() => parseDirTree(bytes), { code: 'OSTREE_OBJECT_CORRUPT' });
    }
  }
});

test('damaged and random bytes give nothing but known errors', () => {
  const sum = 'ab'.repeat(32) as Checksum;
  const parsers = [parseDirTree, parseDirMeta, parseFileHeader, parseFilezHeader, parseUserMeta, parseXattrList, parseCommit, parseMetadata];
  const samples: Uint8Array[] = [
    encodeDirTree({
      files: [
        { name: 'f', checksum: sum },
        { name: 'gg', checksum: sum },
      ],
      dirs: [{ name: 'd', tree: sum, meta: sum }],
    }),
    encodeDirMeta({ uid: 1, gid: 2, mode: 0o040755, xattrs: [xattr('user.a', 'b'), xattr('user.c', 'd')] }),
    encodeFileHeader(file({ xattrs: [xattr('user.a', 'b')] })),
    encodeFilezHeader(file({ xattrs: [xattr('user.a', 'b')] }), 77),
    encodeCommit({
      metadata: [['k', new Variant('s', 'v')]],
      parent: sum,
      related: [['x', sum]],
      subject: 's',
      body: '',
      timestamp: 1n,
      root: { tree: sum, meta: sum },
    }),
  ];
  const damaged = fc.tuple(fc.constantFrom(...samples), fc.nat(400), fc.nat(255), fc.nat(400)).map(([bytes, at, value, cut]) => {
    const copy = Uint8Array.from(bytes);
    copy[at % copy.length] = value;
    return cut < copy.length ? copy.subarray(0, cut) : copy;
  });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      for (const parse of parsers) {
        try {
          parse(bytes);
        } catch (error) {
          assert.ok(isKnownError(error, 'OSTREE_OBJECT_CORRUPT'), String(error));
        }
      }
    }),
    { numRuns: 3000 },
  );
});
