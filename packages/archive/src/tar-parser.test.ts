/** The forms and defects of headers, one by one; any cut gives the same result; damage gives known errors only. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import type { TarLimits } from './tar-entry.ts';
import { END, octalText, padding, parseTar, rawHeader, rawPax, record } from './tar-oracle.test.ts';
import { TarParser } from './tar-parser.ts';

const concat = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const file = (name: string, content: string): Buffer => concat(rawHeader({ name, size: octalText(content.length) }), padding(Buffer.from(content)));
const names = (archive: Uint8Array): string[] => parseTar(archive).map((entry) => `${entry.type} ${entry.path}`);

function base256(value: bigint, length = 12): Buffer {
  const bytes = Buffer.alloc(length);
  let rest = BigInt.asUintN(length * 8, value);
  for (let i = length - 1; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 255n);
  bytes[0] = (bytes[0] as number) | 0x80;
  return bytes;
}

function sparse10(map: string, data: Buffer, size: number): Buffer {
  const stored = concat(padding(Buffer.from(map)), data);
  const records =
    record('GNU.sparse.major', '1') + record('GNU.sparse.minor', '0') + record('GNU.sparse.name', 'real') + record('GNU.sparse.realsize', `${size}`);
  return concat(rawPax(records), rawHeader({ name: 'GNUSparseFile.0/real', size: octalText(stored.length) }), padding(stored), END);
}

function sparse01(map: string, data: Buffer, size: number, more = ''): Buffer {
  const records = record('GNU.sparse.size', `${size}`) + record('GNU.sparse.map', map) + more;
  return concat(rawPax(records), rawHeader({ name: 'real', size: octalText(data.length) }), padding(data), END);
}

test('kinds and oddities of headers', () => {
  const table: [what: string, archive: Buffer, want: string[]][] = [
    ['an empty archive', END, []],
    ['no bytes at all', Buffer.alloc(0), []],
    ['no end mark, at a block boundary', file('a', 'x'), ['file a']],
    ['one zero block at the end of data', concat(file('a', 'x'), Buffer.alloc(512)), ['file a']],
    ['anything after the end mark', concat(file('a', 'x'), END, Buffer.from('garbage of any length')), ['file a']],
    ['a signed checksum', concat(rawHeader({ name: 'é\xff\xfe', signedChecksum: true }), END), ['file é\xff\xfe']],
    ['a ustar prefix', concat(rawHeader({ name: 'name', patch: { 345: 'pre/fix' } }), END), ['file pre/fix/name']],
    ['no prefix in v7', concat(rawHeader({ name: 'name', magic: '', patch: { 345: 'pre/fix' } }), END), ['file name']],
    [
      'times where POSIX has the prefix, in GNU',
      concat(rawHeader({ name: 'name', magic: 'ustar  ', patch: { 345: '14000000000\x0014000000000\0' } }), END),
      ['file name'],
    ],
    [
      'a prefix under the GNU magic, as Go wrote',
      concat(rawHeader({ name: 'name', magic: 'ustar  ', patch: { 345: 'some/prefix' } }), END),
      ['file some/prefix/name'],
    ],
    ['a v7 directory by its slash', concat(rawHeader({ name: 'dir/', flag: '\0', magic: '' }), END), ['directory dir/']],
    ['a contiguous file', concat(rawHeader({ flag: '7', size: octalText(1) }), padding(Buffer.from('x')), END), ['file file']],
    ['an unknown kind', concat(rawHeader({ flag: 'Z', size: octalText(1) }), padding(Buffer.from('x')), END), ['file file']],
    [
      'a dump directory with its list',
      concat(rawHeader({ name: 'd/', flag: 'D', size: octalText(600) }), Buffer.alloc(1024, 'Yname'), file('a', 'x'), END),
      ['directory d/', 'file a'],
    ],
    ['a volume label', concat(rawHeader({ name: 'Backup', flag: 'V' }), file('a', 'x'), END), ['file a']],
    ['a Solaris ACL', concat(rawHeader({ flag: 'A', size: octalText(3) }), padding(Buffer.from('acl')), file('a', 'x'), END), ['file a']],
    ['a Solaris extended header', concat(rawPax(record('path', 'b'), 'X'), file('a', 'x'), END), ['file b']],
    ['a size on a hard link', concat(rawHeader({ flag: '1', link: 'a', size: octalText(999) }), file('a', 'x'), END), ['hardlink file', 'file a']],
    ['a size on a directory', concat(rawHeader({ name: 'd', flag: '5', size: octalText(4096) }), file('a', 'x'), END), ['directory d', 'file a']],
    ['a long name without NUL', concat(rawHeader({ flag: 'L', size: octalText(3) }), padding(Buffer.from('abc')), file('a', 'x'), END), ['file abc']],
    [
      'a long name over PAX',
      concat(rawPax(record('path', 'b')), rawHeader({ flag: 'L', size: octalText(2) }), padding(Buffer.from('c\0')), file('a', 'x'), END),
      ['file c'],
    ],
    [
      'a global name until a local one',
      concat(rawPax(record('path', 'g'), 'g'), file('a', 'x'), rawPax(record('path', 'l')), file('b', 'x'), file('c', 'x'), END),
      ['file g', 'file l', 'file g'],
    ],
    ['a local empty value takes the global one back', concat(rawPax(record('path', 'g'), 'g'), rawPax(record('path', '')), file('a', 'x'), END), ['file a']],
    ['an empty global value ends it', concat(rawPax(record('path', 'g'), 'g'), rawPax(record('path', ''), 'g'), file('a', 'x'), END), ['file a']],
    ['bytes as names', concat(rawPax(record('hdrcharset', 'BINARY') + record('path', '\xff\xfe')), file('a', 'x'), END), ['file \xff\xfe']],
    ['a size of PAX over the header', concat(rawPax(record('size', '1')), rawHeader({ name: 'a' }), padding(Buffer.from('x')), END), ['file a']],
  ];
  for (const [what, archive, want] of table) assert.deepEqual(names(archive), want, what);
});

test('numbers: spaces, base-256, decimal records', () => {
  const one = (archive: Buffer): unknown => {
    const [{ uid, mtime, mode, size } = { uid: -1, mtime: -1, mode: -1, size: -1 }] = parseTar(archive);
    return { uid, mtime, mode, size };
  };
  assert.deepEqual(one(concat(rawHeader({ uid: '  17 ', mode: '100644 \0', mtime: '           ' }), END)), { uid: 15, mtime: 0, mode: 0o644, size: 0 });
  assert.deepEqual(one(concat(rawHeader({ patch: { 108: base256(2n ** 32n, 8), 136: base256(-1n) } }), END)), {
    uid: 2 ** 32,
    mtime: -1,
    mode: 0o644,
    size: 0,
  });
  const pax = record('uid', '4000000') + record('mtime', '-1.5') + record('gid', '0');
  assert.deepEqual(one(concat(rawPax(pax), file('a', ''), END)), { uid: 4_000_000, mtime: -1.5, mode: 0o644, size: 0 });
});

test('extended attributes: both spellings, sorted, SCHILY first', () => {
  const records =
    record('LIBARCHIVE.xattr.user.b%3Dc', Buffer.from('lib').toString('base64').replace(/=+$/, '')) +
    record('SCHILY.xattr.user.z', 'last') +
    record('LIBARCHIVE.xattr.user.z', 'bm90IHRoaXM=') +
    record('SCHILY.xattr.security.capability', '\x01\x00\x00\x02');
  const [entry] = parseTar(concat(rawPax(records), file('a', ''), END));
  assert.deepEqual(Object.entries(entry?.xattrs ?? {}), [
    ['security.capability', '\x01\x00\x00\x02'],
    ['user.b=c', 'lib'],
    ['user.z', 'last'],
  ]);
});

test('sparse maps of all shapes', () => {
  const data = Buffer.alloc(1024, 'd');
  for (const archive of [
    sparse01('512,1024', data, 4096),
    sparse01('512,512,2048,512', data, 4096),
    sparse01('0,1024,4096,0', data, 4096),
    sparse10('2\n0\n1000\n3000\n24\n', data, 4096),
    sparse10('1\n3072\n1024\n', data, 4096),
  ]) {
    const [entry] = parseTar(archive);
    assert.deepEqual([entry?.path, entry?.size], ['real', 4096]);
  }
  const [empty] = parseTar(sparse01('', Buffer.alloc(0), 100_000));
  assert.equal(empty?.size, 100_000);
});

test('defects have codes, offset and name', () => {
  const pax = (records: string): Buffer => concat(rawPax(records), file('a', 'x'), END);
  const data = Buffer.alloc(512);
  const damaged = file('a', 'x');
  damaged[0] = 0x62;
  const table: [what: string, archive: Buffer, code: string, limits?: TarLimits][] = [
    ['text', Buffer.alloc(1024, 'this is no tar '), 'ARCHIVE_TAR_CHECKSUM'],
    ['a flipped bit', damaged, 'ARCHIVE_TAR_CHECKSUM'],
    ['half a header', file('a', 'x').subarray(0, 300), 'ARCHIVE_TAR_TRUNCATED'],
    ['half a content', file('a', 'x').subarray(0, 512), 'ARCHIVE_TAR_TRUNCATED'],
    ['no padding', file('a', 'x').subarray(0, 513), 'ARCHIVE_TAR_TRUNCATED'],
    ['an extended header at the end', rawPax(record('path', 'x')), 'ARCHIVE_TAR_TRUNCATED'],
    ['an extended header before the end mark', concat(rawPax(record('path', 'x')), END), 'ARCHIVE_TAR_TRUNCATED'],
    ['a lone zero block', concat(file('a', 'x'), Buffer.alloc(512), file('b', 'x'), END), 'ARCHIVE_TAR_HEADER_INVALID'],
    ['no name', concat(rawHeader({ name: '' }), END), 'ARCHIVE_TAR_HEADER_INVALID'],
    ['no link target', concat(rawHeader({ flag: '2' }), END), 'ARCHIVE_TAR_HEADER_INVALID'],
    ['a size that is no number', concat(rawHeader({ size: '12x' }), END), 'ARCHIVE_TAR_NUMBER_INVALID'],
    ['a decimal size', concat(rawHeader({ size: '00000000089' }), END), 'ARCHIVE_TAR_NUMBER_INVALID'],
    ['a negative size', concat(rawHeader({ size: base256(-512n) }), END), 'ARCHIVE_TAR_NUMBER_INVALID'],
    ['a size over 2^53', concat(rawHeader({ size: base256(2n ** 53n) }), END), 'ARCHIVE_TAR_NUMBER_INVALID'],
    ['a negative uid', concat(rawHeader({ patch: { 108: base256(-2n, 8) } }), END), 'ARCHIVE_TAR_NUMBER_INVALID'],
    ['a record longer than the header', pax('99 path=x\n'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a record shorter than its key', pax('5 path=x\n'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a record of length 0', pax('0 path=x\n'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a record without length', pax('path=x\n'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a record without "="', pax('9 pathxx\n'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a record without key', pax('5 =x\n'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a record without newline', pax('10 path=xyz'), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a NUL in a path', pax(record('path', 'a\0b')), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a negative record', pax(record('size', '-1')), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a huge record', pax(record('size', '9007199254740993')), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a time that is none', pax(record('mtime', '1e5')), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a foreign charset', pax(record('hdrcharset', 'KOI8')), 'ARCHIVE_TAR_PAX_INVALID'],
    ['a nameless attribute', pax(record('SCHILY.xattr.', 'x')), 'ARCHIVE_TAR_XATTR_INVALID'],
    ['a large attribute', pax(record('SCHILY.xattr.user.x', 'x'.repeat(65_537))), 'ARCHIVE_TAR_XATTR_INVALID'],
    ['many attributes', pax(record('SCHILY.xattr.a', '') + record('SCHILY.xattr.b', '')), 'ARCHIVE_TAR_XATTR_INVALID', { maxXattrs: 1 }],
    ['an attribute that is not base64', pax(record('LIBARCHIVE.xattr.user.x', '!!')), 'ARCHIVE_TAR_XATTR_INVALID'],
    ['a large extended header', rawHeader({ flag: 'x', size: octalText(2 ** 21) }), 'ARCHIVE_TAR_TOO_LARGE'],
    [
      'large global headers',
      concat(rawPax(record('a', 'x'.repeat(50)), 'g'), rawPax(record('b', 'x'.repeat(50)), 'g')),
      'ARCHIVE_TAR_TOO_LARGE',
      { maxPaxBytes: 90 },
    ],
    ['a long path', pax(record('path', 'p/'.repeat(3000))), 'ARCHIVE_TAR_NAME_TOO_LONG'],
    ['a long GNU name', concat(rawHeader({ flag: 'L', size: octalText(5000) }), padding(Buffer.alloc(5000, 'x')), END), 'ARCHIVE_TAR_NAME_TOO_LONG'],
    ['many entries', concat(file('a', ''), file('b', ''), END), 'ARCHIVE_TAR_TOO_LARGE', { maxEntries: 1 }],
    ['much content', concat(file('a', 'xx'), file('b', 'xx'), END), 'ARCHIVE_TAR_TOO_LARGE', { maxTotalBytes: 3 }],
    ['a bomb of holes', sparse01('', Buffer.alloc(0), 2 ** 39), 'ARCHIVE_TAR_TOO_LARGE'],
    ['the rest of another volume', concat(rawHeader({ flag: 'M' }), END), 'ARCHIVE_TAR_UNSUPPORTED'],
    ['old long names', concat(rawHeader({ flag: 'N' }), END), 'ARCHIVE_TAR_UNSUPPORTED'],
    ['an unknown sparse format', pax(record('GNU.sparse.major', '2') + record('GNU.sparse.realsize', '9')), 'ARCHIVE_TAR_UNSUPPORTED'],
    ['a sparse file without size', pax(record('GNU.sparse.major', '1')), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['overlapping extents', sparse01('0,256,128,256', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['unordered extents', sparse01('1024,256,0,256', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['an extent beyond the end', sparse01('4000,512', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['an offset beyond the end', sparse01('0,512,5000,0', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['too little data', sparse01('0,1024', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['too much data', sparse01('0,100', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['half an extent', sparse01('0', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['another number of extents', sparse01('0,512', data, 4096, record('GNU.sparse.numblocks', '2')), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['offsets without lengths', pax(record('GNU.sparse.offset', '0') + record('GNU.sparse.offset', '1')), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['a map that is no numbers', sparse10('1\n0\nx\n', data, 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['a map without end', sparse10('9\n0\n1\n', Buffer.alloc(0), 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['a map of more than the data', sparse10(`300\n${'0\n0\n'.repeat(120)}`, Buffer.alloc(0), 4096), 'ARCHIVE_TAR_SPARSE_INVALID'],
    ['a map of many extents', sparse10('999999999\n', data, 4096), 'ARCHIVE_TAR_TOO_LARGE'],
    ['many extents in records', sparse01('0,1,2,1', data, 4096), 'ARCHIVE_TAR_TOO_LARGE', { maxSparseExtents: 1 }],
  ];
  for (const [what, archive, code, limits] of table) {
    const check = (error: unknown): boolean => {
      assert.ok(isKnownError(error), `${what}: ${error}`);
      assert.equal(error.code, code, what);
      return true;
    };
    assert.throws(() => parseTar(archive, limits === undefined ? {} : { limits }), check, what);
  }
  assert.throws(
    () => parseTar(concat(file('first', 'x'), rawHeader({ name: 'second', uid: 'bad' }), END)),
    (error) => isKnownError(error) && error.data.offset === 1024 && error.data.entry === 'second',
  );
});

test('a failed parser stays failed', () => {
  const parser = new TarParser({ entry() {}, data() {}, entryEnd() {} });
  assert.throws(() => parser.write(Buffer.alloc(512, 'x')), { code: 'ARCHIVE_TAR_CHECKSUM' });
  assert.throws(() => parser.write(file('a', 'x')), { code: 'ARCHIVE_TAR_CHECKSUM' });
  assert.throws(() => parser.end(), { code: 'ARCHIVE_TAR_CHECKSUM' });
});

test('PAX records are kept when asked for', () => {
  const kept: (string | undefined)[] = [];
  const parser = new TarParser(
    {
      entry: (entry) => kept.push(entry.paxHeaders === undefined ? undefined : Buffer.from(entry.paxHeaders.get('VENDOR.key') ?? []).toString()),
      data() {},
      entryEnd() {},
    },
    { keepPaxHeaders: true },
  );
  parser.write(concat(rawPax(record('VENDOR.key', 'global'), 'g'), file('a', ''), rawPax(record('VENDOR.key', 'local')), file('b', ''), END));
  assert.deepEqual(kept, ['global', 'local']);
});

test('any number of extended headers before one entry does not take any amount of memory', () => {
  const parser = new TarParser({ entry() {}, data() {}, entryEnd() {} }, { keepPaxHeaders: true, maxPaxBytes: 1000 });
  parser.write(rawPax(record('VENDOR.a', 'x'.repeat(900))));
  parser.write(rawPax(record('VENDOR.b', 'x'.repeat(900))));
  assert.throws(() => parser.write(rawPax(record('VENDOR.c', 'x'.repeat(900)))), { code: 'ARCHIVE_TAR_TOO_LARGE' });
});

const CORPUS: readonly Buffer[] = [
  concat(
    file('a', 'x'.repeat(700)),
    rawHeader({ name: 'd/', flag: '5' }),
    rawHeader({ name: 'l', flag: '2', link: 'a' }),
    rawHeader({ name: 'c', flag: '3' }),
    END,
  ),
  concat(
    rawPax(record('path', 'p'.repeat(200)) + record('mtime', '1.5') + record('SCHILY.xattr.user.x', 'y') + record('LIBARCHIVE.xattr.user.z', 'eA==')),
    file('a', 'x'),
    END,
  ),
  concat(
    rawPax(record('comment', 'c'), 'g'),
    rawHeader({ flag: 'L', size: octalText(150) }),
    padding(Buffer.alloc(150, 'n')),
    rawHeader({ flag: 'K', size: octalText(6) }),
    padding(Buffer.from('target')),
    rawHeader({ flag: '2', link: 'x' }),
    END,
  ),
  sparse10('2\n0\n1000\n3000\n24\n', Buffer.alloc(1024, 'd'), 4096),
  sparse01('512,512,2048,512', Buffer.alloc(1024, 'd'), 70_000),
  concat(
    rawHeader({
      name: 'old',
      flag: 'S',
      magic: 'ustar  ',
      size: octalText(600),
      patch: { 386: `${octalText(0)}\0${octalText(500)}\0`, 482: '\x01', 483: octalText(5000) },
    }),
    Buffer.concat([Buffer.from(`${octalText(1000)}\0${octalText(100)}\0`), Buffer.alloc(488)]),
    padding(Buffer.alloc(600, 's')),
    END,
  ),
];

test('names and attributes stay when the caller uses one buffer again', () => {
  const long = `${'a'.repeat(120)}/${'b'.repeat(120)}/file`;
  const archive = Buffer.concat([rawPax(record('path', long) + record('SCHILY.xattr.user.k', 'value')), rawHeader({ name: 'short' }), END]);
  for (const size of [512, 700, 1024, 1536]) {
    // A Buffer, as streams of Node give: its slice() is a view, unlike that of Uint8Array.
    const buffer = Buffer.alloc(size);
    const names: string[] = [];
    const values: string[] = [];
    const parser = new TarParser({
      entry: (entry) => {
        names.push(Buffer.from(entry.path).toString());
        values.push(Buffer.from(entry.xattrs[0]?.[1] ?? []).toString());
      },
      data: () => undefined,
      entryEnd: () => undefined,
    });
    for (let at = 0; at < archive.length; at += size) parser.write(buffer.subarray(0, archive.copy(buffer, 0, at, at + size)));
    parser.end();
    assert.deepEqual([names, values], [[long], ['value']]);
  }
});

test('any cut into chunks gives the same', () => {
  for (const archive of CORPUS) {
    const whole = parseTar(archive);
    assert.ok(whole.length > 0);
    assert.deepEqual(parseTar(archive, { cuts: Array.from(archive, (_, i) => i) }), whole, 'single bytes');
    fc.assert(
      fc.property(fc.array(fc.nat(archive.length), { maxLength: 12 }), (cuts) => assert.deepEqual(parseTar(archive, { cuts }), whole)),
      { numRuns: 60 },
    );
  }
});

test('damage gives known errors or an archive, never anything else', () => {
  const change = fc.record({
    at: fc.nat(),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 12 }),
      fc.stringMatching(/^[0-9 =\n,-]{1,12}$/).map((text) => Buffer.from(text)),
    ),
  });
  let refused = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...CORPUS),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat()),
      fc.boolean(),
      (archive, changes, cut, reseal) => {
        const copy = Buffer.from(archive);
        for (const { at, bytes } of changes) copy.set(bytes.subarray(0, copy.length - (at % copy.length)), at % copy.length);
        // With checksums made right again the damage reaches the fields.
        if (reseal) {
          for (let at = 0; at < copy.length; at += 512) {
            if (copy.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
            copy.fill(0x20, at + 148, at + 156);
            copy.write(
              `${copy
                .subarray(at, at + 512)
                .reduce((sum, byte) => sum + byte, 0)
                .toString(8)
                .padStart(6, '0')}\0`,
              at + 148,
              'latin1',
            );
          }
        }
        try {
          parseTar(cut === null ? copy : copy.subarray(0, cut % copy.length), { limits: { maxHoleBytes: 1 << 20, maxTotalBytes: 1 << 22 } });
        } catch (error) {
          if (!isKnownError(error)) throw error;
          refused++;
        }
      },
    ),
    { numRuns: 4000 },
  );
  assert.ok(refused > 1000, `${refused} of 4000 were refused`);
});

test('random bytes give known errors only', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 513, maxLength: 2048 }), (bytes) => {
      assert.throws(
        () => parseTar(bytes.fill(1, 0, 1)),
        (error) => isKnownError(error),
      );
    }),
    { numRuns: 300 },
  );
});
