import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { MAX_METALINK_BYTES, metalinkMismatch, parseMetalink } from './metalink.ts';

const SUMMARY = Buffer.from('a summary\n');
const digest = (algorithm: string): string => createHash(algorithm).update(SUMMARY).digest('hex');
const hash = (algorithm: string, hex: string = digest(algorithm)): string => `<hash type="${algorithm}">${hex}</hash>`;
const url = (text: string, protocol = 'http'): string => `<url protocol="${protocol}" type="${protocol}" location="US" preference="100">${text}</url>`;
const file = (options: { name?: string; size?: string; hashes?: string; urls?: string } = {}): string => {
  const { name = 'summary', size = String(SUMMARY.length), hashes = hash('sha256'), urls = url('http://example.com/repo/summary') } = options;
  return `<file name="${name}"><size>${size}</size><verification>${hashes}</verification><resources maxconnections="1">${urls}</resources></file>`;
};
const around = (files: string): string => `<metalink version="3.0" xmlns="http://www.metalinker.org/"><files>${files}</files></metalink>`;
const parse = (text: string) => parseMetalink(Buffer.from(text), 'summary');

/** As mirror managers write them: a namespace that is none of ours, comments, timestamps, older files, other protocols. */
const MIRRORS = `<?xml version="1.0" encoding="utf-8"?>
<!-- generated -->
<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" pubdate="Fri, 02 Jan 2026 03:04:05 GMT" xmlns:mm0="http://example.com/mirrors">
 <files>
  <file name="repomd.xml"><size>7</size></file>
  <file name="summary">
   <mm0:timestamp>1500000000</mm0:timestamp>
   <size>${SUMMARY.length}</size>
   <verification>
    <hash type="md5">${digest('md5')}</hash>
    <hash type="sha1">${digest('sha1')}</hash>
    <hash type="sha256">${digest('sha256')}</hash>
    <hash type="sha512">${digest('sha512')}</hash>
   </verification>
   <mm0:alternates><mm0:alternate><size>1</size><verification><hash type="sha512">00</hash></verification></mm0:alternate></mm0:alternates>
   <resources maxconnections="1">
    <url protocol="rsync" type="rsync" location="DE" preference="100">rsync://one.example.com/repo/summary</url>
    <url protocol="https" type="https" location="DE" preference="99">https://one.example.com/repo/summary?a=1&amp;b=2</url>
    <url protocol="http" type="http" location="US" preference="100">http://two.example.com/r&#x65;po/summary</url>
    <url protocol="http">file:///etc/passwd</url><url protocol="http"/><url protocol="http">none</url>
   </resources>
  </file>
  <file name="summary"><size>1</size></file>
 </files>
</metalink>
`;

test('a metalink says how a file is known and where it is', () => {
  const metalink = parse(MIRRORS);
  assert.equal(metalink.sizeBytes, SUMMARY.length);
  assert.deepEqual(metalink.hash, { algorithm: 'sha512', hex: digest('sha512') });
  assert.deepEqual(
    metalink.urls.map(({ href }) => href),
    ['https://one.example.com/repo/summary?a=1&b=2', 'http://two.example.com/repo/summary'],
  );
  assert.equal(metalinkMismatch(metalink, SUMMARY), undefined);
  assert.match(metalinkMismatch(metalink, Buffer.from('moo')) as string, /^Expected size is 10 bytes but content is 3 bytes$/);
  assert.match(metalinkMismatch(metalink, Buffer.from('A summary\n')) as string, /^Expected checksum is [0-9a-f]{128} but actual is [0-9a-f]{128}$/);
  assert.equal(parse(around(file())).hash.algorithm, 'sha256');
});

test('what is no metalink for the file is refused, in the words of libostree where it has some', () => {
  for (const [text, message] of [
    ['bacon\n', /Document must begin with an element/],
    ['', /Document must begin with an element/],
    ['<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', /document types are not read/],
    [around(file({ urls: url('http://x/&lol;') })), /entity/],
    [around(file({ urls: url('http://x/&#0;') })), /entity/],
    [around(file({ urls: url('http://x/&#xd800;') })), /entity/],
    [around(file({ urls: url('http://x/&toString;') })), /entity/],
    [around(file()).slice(0, -11), /unclosed tag/],
    [around(file()).slice(0, -1), /unclosed tag/],
    [`${around(file())}<x/>`, /only one root/],
    [`${around(file())}x`, /outside of root/],
    [around('</file>'), /unexpected close tag/],
    [around('<file name="a" name="a"/>'), /duplicate attribute/],
    [around('<file name=summary/>'), /unquoted/],
    [around('<file name="a<b"/>'), /disallowed character/],
    [around('<!-- open'), /unclosed tag/],
    [around('\0'), /disallowed character/],
    ['<a>'.repeat(1000), /nested deeper than 64/],
    [around(''), /No <file> element found/],
    [`<metalink>${file()}</metalink>`, /No <file> element found/],
    [around(file({ name: 'other' })), /No <file name='summary'> found/],
    [around(file({ size: '0' })), /No <size> element found or it is zero/],
    [around(file({ size: '-5' })), /No <size>/],
    [around(file({ size: '9'.repeat(30) })), /No <size>/],
    [around(file({ hashes: '' })), /No <verification> element with known <hash type=> found/],
    [around(file({ hashes: hash('md5') + hash('sha1') })), /No <verification>/],
    [around(file({ hashes: hash('sha512', 'bacon') })), /Invalid hash digest for sha512/],
    [around(file({ hashes: hash('sha512') + hash('sha256', digest('sha256').toUpperCase()) })), /Invalid hash digest for sha256/],
    [around(file({ urls: '' })), /No <url method='http'> elements found/],
    [around(file({ urls: url('ftp://x/', 'ftp') })), /No <url/],
    [around(file({ urls: url('http://x/', 'ftp') })), /No <url/],
  ] as const) {
    assert.throws(
      () => parse(text),
      (error: unknown) => isKnownError(error, 'OSTREE_METALINK_INVALID') && message.test(error.message),
      text.slice(0, 200),
    );
  }
  assert.throws(() => parseMetalink(Buffer.alloc(MAX_METALINK_BYTES + 1, ' '), 'summary'), /over 1048576 bytes/);
  assert.throws(() => parseMetalink(Buffer.from([0x3c, 0xff]), 'summary'), /not UTF-8/);
});

test('a document of the largest size is read in a pass, whatever it is made of', () => {
  for (const piece of ['<', '<a ', '<a>', '<a/>', '&', '&amp', '<!--', '<a b="', ' ', '<url>x</url>', '</a>', 'x'.repeat(50), '<a b="1" c="2" d="3"/>']) {
    const text = around(file({ urls: piece.repeat(Math.floor((MAX_METALINK_BYTES - 2000) / piece.length)) }));
    assert.throws(
      () => parse(text),
      (error: unknown) => isKnownError(error, 'OSTREE_METALINK_INVALID'),
      piece,
    );
  }
  const many = parse(around(file({ urls: url('http://x.example/summary').repeat(5000) })));
  assert.equal(many.urls.length, 100);
});

test('whatever is changed in a metalink, it is read or refused with a code', () => {
  const whole = Buffer.from(MIRRORS);
  const fragments = ['<', '>', '/>', '</', '<!--', '-->', '<![CDATA[', ']]>', '<?', '?>', '&', ';', '"', "'", '=', '&#x41;', '<size>', '</size>', '\n', 'é'];
  const edit = fc.record({
    at: fc.nat({ max: whole.length }),
    remove: fc.nat({ max: 40 }),
    insert: fc.oneof(
      fc.constantFrom(...fragments).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 8 }),
    ),
  });
  fc.assert(
    fc.property(fc.oneof(fc.array(edit, { minLength: 1, maxLength: 6 }), fc.uint8Array({ maxLength: 300 })), (input) => {
      let bytes: Uint8Array = whole;
      if (Array.isArray(input)) for (const { at, remove, insert } of input) bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
      else bytes = input as Uint8Array;
      try {
        const { sizeBytes, hash: found, urls } = parseMetalink(bytes, 'summary');
        assert.ok(sizeBytes > 0 && found.hex.length === { sha256: 64, sha512: 128 }[found.algorithm]);
        for (const { protocol } of urls) assert.match(protocol, /^https?:$/);
      } catch (error) {
        assert.ok(isKnownError(error, 'OSTREE_METALINK_INVALID'), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
