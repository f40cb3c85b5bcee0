/** Ids, cursor, JSON, errors: the small things everything stands on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Cursor } from './cursor.ts';
import { defineErrors, errnoOf, fromPlainError, isKnownError, KnownError, toPlainError } from './errors.ts';
import { isChecksum, parseChecksum, parseDiffId, parseDigest, splitDigest } from './ids.ts';
import { parseJson, stableJson } from './json.ts';
import { systemError } from './system-errors.ts';

const HEX = 'ab'.repeat(32);

test('ids are parsed strictly', () => {
  assert.equal(parseChecksum(HEX), HEX);
  for (const wrong of ['', HEX.slice(1), `${HEX}0`, HEX.toUpperCase(), `${HEX}\n`]) {
    assert.equal(isChecksum(wrong), false);
    assert.throws(() => parseChecksum(wrong), { code: 'ID_CHECKSUM_INVALID' });
  }
  assert.deepEqual(splitDigest(parseDigest(`sha256:${HEX}`)), { algorithm: 'sha256', hex: HEX });
  assert.deepEqual(splitDigest(parseDiffId(`sha512:${HEX}${HEX}`)), { algorithm: 'sha512', hex: HEX + HEX });
  for (const wrong of [HEX, `sha256:${HEX}${HEX}`, `md5:${HEX}`, `sha256:${HEX.toUpperCase()}`])
    assert.throws(() => parseDigest(wrong), { code: 'ID_DIGEST_INVALID' });
});

test('a cursor never reads past the end', () => {
  const bytes = Uint8Array.from([1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
  const cursor = new Cursor(bytes, 'sample');
  assert.deepEqual([cursor.u8(), cursor.u8(), cursor.u32le(), cursor.u16be(), cursor.u64be()], [1, 0, 2, 0x300, 4n]);
  assert.equal(cursor.remaining, 0);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), fc.integer({ min: -5, max: 2 ** 53 }), (data, length) => {
      const at = new Cursor(data, 'sample');
      if (length >= 0 && length <= data.length) assert.equal(at.take(length).length, length);
      else assert.throws(() => at.take(length), { code: 'BYTES_TRUNCATED' });
    }),
  );
});

test('JSON is written with sorted keys', () => {
  assert.equal(stableJson({ b: [{ d: 1, c: 2 }], a: null }), '{"a":null,"b":[{"c":2,"d":1}]}');
  assert.deepEqual(parseJson('{"a":1}', 'x'), { a: 1 });
  assert.throws(() => parseJson('{', 'x'), { code: 'JSON_INVALID' });
  assert.throws(() => parseJson(Uint8Array.of(0xff), 'x'), { code: 'JSON_INVALID' });
});

test('errors keep their code across threads', () => {
  const oops = defineErrors({ TEA_COLD: { kind: 'input', meaning: 'The tea has gone cold.' } });
  const error = oops('TEA_COLD', 'Cannot drink', { hint: 'Brew another', retryable: true, data: { cup: 1 } });
  const back = fromPlainError(structuredClone(toPlainError(error)));
  assert.ok(isKnownError(back, 'TEA_COLD'));
  assert.deepEqual([back.message, back.hint, back.kind, back.retryable, back.data], ['Cannot drink', 'Brew another', 'input', true, { cup: 1 }]);
  assert.equal(isKnownError(new Error('TEA_COLD')), false);
  assert.equal(isKnownError(back, 'OTHER'), false);
});

test('failures of system calls are known as such on the other side of a thread', () => {
  try {
    readFileSync('/nonexistent/file');
    assert.fail('an error was expected');
  } catch (error) {
    const back = fromPlainError(structuredClone(toPlainError(error)));
    assert.equal(errnoOf(back), 'ENOENT');
    assert.deepEqual([back.message, back.stack], [(error as Error).message, (error as Error).stack]);
    assert.equal((back as { path?: string }).path, '/nonexistent/file');
  }
  const full = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });
  assert.equal(systemError(fromPlainError(structuredClone(toPlainError(full))), 'Cannot write')?.code, 'SYSTEM_NO_SPACE');
});

test('what the system says becomes a known error', () => {
  const failure = (code: string): Error => Object.assign(new Error(code), { code, syscall: 'write' });
  assert.equal(errnoOf(failure('ENOENT')), 'ENOENT');
  assert.equal(errnoOf(new Error('no code')), undefined);
  for (const [errno, code] of [
    ['ENOSPC', 'SYSTEM_NO_SPACE'],
    ['EDQUOT', 'SYSTEM_NO_SPACE'],
    ['EROFS', 'SYSTEM_READ_ONLY'],
    ['EACCES', 'SYSTEM_DENIED'],
  ] as const) {
    assert.equal(systemError(failure(errno), 'Cannot write')?.code, code);
  }
  assert.equal(systemError(failure('EIO'), 'Cannot write'), undefined);
  assert.ok(systemError(failure('ENOSPC'), 'Cannot write') instanceof KnownError);
});
