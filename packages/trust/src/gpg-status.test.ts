import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseKeyExpiry, parseSignatureStatus, timeOf } from './gpg-status.ts';

const FINGERPRINT = 'A8EB75E7B9240733A12CFBDEDD3EFE6557577AFC';
const VALID = `VALIDSIG ${FINGERPRINT} 2026-11-20 1795212668 0 4 0 22 8 00 ${FINGERPRINT}`;

test('a good signature needs its details too', () => {
  assert.equal(parseSignatureStatus([`GOODSIG ${FINGERPRINT.slice(-16)} A <a@x>`, VALID])?.valid, true);
  assert.equal(parseSignatureStatus([`GOODSIG ${FINGERPRINT.slice(-16)} A <a@x>`])?.valid, false);
  assert.equal(parseSignatureStatus([`GOODSIG ${FINGERPRINT.slice(-16)} A <a@x>`, VALID, 'KEYREVOKED'])?.valid, false);
});

test('two verdicts on one packet are none', () => {
  assert.equal(parseSignatureStatus([`BADSIG ${FINGERPRINT.slice(-16)} A`, `GOODSIG ${FINGERPRINT.slice(-16)} A`, VALID]), undefined);
  assert.equal(parseSignatureStatus(['NODATA 4']), undefined);
  assert.equal(parseSignatureStatus([VALID]), undefined);
});

test('a user name cannot pass for a status line', () => {
  const found = parseSignatureStatus([`BADSIG ${FINGERPRINT.slice(-16)} GOODSIG%0A[GNUPG:] VALIDSIG <x@y>`]);
  assert.equal(found?.bad, true);
  assert.equal(found?.valid, false);
  assert.equal(found?.userName, 'GOODSIG\n[GNUPG:] VALIDSIG');
});

test('times', () => {
  assert.equal(timeOf('1795212668'), 1795212668);
  assert.equal(timeOf('0'), undefined);
  assert.equal(timeOf(''), undefined);
  assert.equal(timeOf('20200101T000000'), 1577836800);
  assert.equal(timeOf('never'), undefined);
});

test('expiry of keys and subkeys', () => {
  const listing = [
    'pub:e:255:22:7B6084C08D406154:1577836800:1577923200::u:::sc:',
    'fpr:::::::::AAAA:',
    'uid:e::::',
    'sub:u:255:22:1:1577836800:::::',
    'fpr:::::::::BBBB:',
  ].join('\n');
  assert.deepEqual(
    [...parseKeyExpiry(listing)],
    [
      ['AAAA', 1577923200],
      ['BBBB', undefined],
    ],
  );
});
