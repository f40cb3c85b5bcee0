import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Bytes, bytesOf, collect, compareUtf8, concat, decodeUtf8, digestOf, verified, verifiedBuffer } from './bytes.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test('collect joins chunks and copies them', async () => {
  // One buffer used again and again, as readers of files do; a Buffer, whose slice() is a view.
  async function* reused(): Bytes {
    const buffer = Buffer.alloc(3);
    for (const word of ['one', 'two', 'six']) {
      buffer.write(word);
      yield buffer;
    }
  }
  assert.deepEqual(await collect(reused(), 9), text('onetwosix'));
  await assert.rejects(collect(reused(), 8), { code: 'BYTES_TOO_LARGE' });
  assert.equal((await collect(bytesOf(), 0)).byteLength, 0);
});

test('memory follows the limit, not the number of chunks', () => {
  // A million chunks of one byte, in a heap that could not hold an object for each.
  const code = `const { collect } = await import(${JSON.stringify(import.meta.resolve('./bytes.js'))});
    async function* trickle() { for (let i = 0; i < 1e6; i++) yield new Uint8Array([7]); }
    const all = await collect(trickle(), 1e6);
    console.log(all.byteLength, all.every((byte) => byte === 7));`;
  const { stdout, status } = spawnSync(process.execPath, ['--max-old-space-size=32', '--input-type=module', '-e', code], { encoding: 'utf8' });
  assert.deepEqual([status, stdout], [0, '1000000 true\n']);
});

test('a single reused chunk is copied too', async () => {
  const buffer = Buffer.from('abc');
  const kept = await collect(bytesOf(buffer), 3);
  buffer.fill(0);
  assert.deepEqual(kept, text('abc'));
});

test('verified passes what matches and ends endless bodies at their stated size', async () => {
  const content = text('content');
  const digest = digestOf(content);
  assert.deepEqual(await collect(verified(bytesOf(content.subarray(0, 3), content.subarray(3)), { digest, size: 7 }), 7), content);
  await assert.rejects(collect(verified(bytesOf(content), { digest, size: 8 }), 99), { code: 'BYTES_MISMATCH' });
  await assert.rejects(collect(verified(bytesOf(text('CONTENT')), { digest, size: 7 }), 99), { code: 'BYTES_MISMATCH' });
  let given = 0;
  async function* endless(): Bytes {
    for (;;) {
      given++;
      yield content;
    }
  }
  await assert.rejects(collect(verified(endless(), { digest, size: 14 }), 1000), { code: 'BYTES_MISMATCH' });
  assert.equal(given, 3);
  assert.equal(verifiedBuffer(content, { digest }), content);
  assert.throws(() => verifiedBuffer(content, { digest: digestOf('other') }), { code: 'BYTES_MISMATCH', retryable: true });
});

test('text sorts as its bytes do', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
      assert.equal(Math.sign(compareUtf8(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
  assert.ok(compareUtf8('\u{1f600}', '\ufffd') > 0);
  assert.ok('\u{1f600}' < '\ufffd');
});

test('UTF-8 is read strictly', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) =>
      assert.equal(decodeUtf8(text(value)), text(value).length === 0 ? '' : new TextDecoder('utf-8', { ignoreBOM: true }).decode(text(value))),
    ),
  );
  assert.equal(decodeUtf8(Uint8Array.of(0x61, 0xff)), undefined);
  for (const bytes of [Uint8Array.of(0xff, 0x61, 0xc3, 0xa9, 0xff), Buffer.of(0xff, 0x61, 0xc3, 0xa9, 0xff)]) {
    assert.deepEqual([decodeUtf8(bytes, 1, 2), decodeUtf8(bytes, 1, 4), decodeUtf8(bytes, 1, 1), decodeUtf8(bytes, 3)], ['a', 'aé', '', undefined]);
  }
  assert.equal(decodeUtf8(Uint8Array.of(0xc0, 0x80)), undefined);
  assert.equal(decodeUtf8(Uint8Array.of(0xed, 0xa0, 0x80)), undefined);
});

test('concat joins', () => {
  assert.deepEqual(concat([text('a'), text(''), text('bc')]), text('abc'));
});
