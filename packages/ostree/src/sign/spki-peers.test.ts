/** Signatures of type spki, by a libostree that has them (Debian's 2022.7 has not), and made here from the same keys. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rawSignatureEngine } from '@cambium/trust';
import { parseMetadata } from '../format/commit-format.ts';
import { checksumOf } from '../format/object-format.ts';
import { rawSignaturesIn, signBytesRaw } from './sign-raw.ts';
import type { EngineTrust } from './trust-policy.ts';
import { checkRawSignatures } from './verify.ts';

/** Made for this test, by OpenSSL 3.0: `genpkey`, and DER in base64, which is what libostree takes as text. */
const KEYS = {
  ed25519: {
    publicKey: 'MCowBQYDK2VwAyEAZ8HNwscXDkwt8gqCNNWKn//C4Fy/v1oKqGztNePIwZc=',
    secretKey: 'MC4CAQAwBQYDK2VwBCIEIEndsGioR0rWRmhL7sSzFICrUrltyh4beGyON3KNsgqg',
  },
  rsa: {
    publicKey: [
      'MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtvW45Iyz3lZSIplUSiziW7r9Ju1nWW3epRN1lTr5G0RWSXkXH/5l0Z/ILuRxq52LRyE+094bsxINWDb9C006Jor/ZZh5w9fFe5JY6ZXs08',
      'Gc5IfCavvCE/BSrDboPCowSNgNaY1sKW3NEzLvYvPwwkI8rmRXtPEzITi3mBFIkP53g4V0gO+3nHry21aTbe+tYMZnKdrfbkIEQt6+3SWkXmfBqcOv6drbhmym/hyNLe4ledkGgnSu0/p/nNH14pLf',
      'TuplVnFdEQa4nsWSbSR8Dlv7FJy3/rMCOAs2AJAyMiLMjaASCpvhUh2mBV2TPPMUJX95ERzo13dSWOjyzhsfTQIDAQAB',
    ].join(''),
    secretKey: [
      'MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQC29bjkjLPeVlIimVRKLOJbuv0m7WdZbd6lE3WVOvkbRFZJeRcf/mXRn8gu5HGrnYtHIT7T3huzEg1YNv0LTTomiv9lmHnD18V7kl',
      'jplezTwZzkh8Jq+8IT8FKsNug8KjBI2A1pjWwpbc0TMu9i8/DCQjyuZFe08TMhOLeYEUiQ/neDhXSA77ecevLbVpNt761gxmcp2t9uQgRC3r7dJaReZ8Gpw6/p2tuGbKb+HI0t7iV52QaCdK7T+n+c',
      '0fXikt9O6mVWcV0RBriexZJtJHwOW/sUnLf+swI4CzYAkDIyIsyNoBIKm+FSHaYFXZM88xQlf3kRHOjXd1JY6PLOGx9NAgMBAAECggEAA4L9r8+7J68Jd/K9Qu7P0D0eqclQIzYwJupgmeL3yajkoE',
      'r/AVUZ/ppUac4AGCN3rmXtdXyWx7edFcHfo01lEQm4jQP05ltOxfUeC5G30EXjLVTyJUKJMmYs+A0JWEpJAsTrpC7ontzykDlGJ5fEc1esUxguJ/tvMbNYfSzSJnJFHMxWTfUrGvI0ZU36VUXJ+fNY',
      'x7erpUbUpmpTuhuC0phAyAQuqDWSY16BP3HOYbVYAQd9osLqGTUzoxqVo5artJMZR21rFsdFK5dEIJzzeX3dD3m6kyC+dLGjmcfphgKjUP0hHXupIYcXDGQcV/M2LOP68F9FU0WB5x93zmiC0wKBgQ',
      'D8qh9pi0sfZ5tlchnSdqtpsqOsZZ0ky9xE6y84R5N8/LSr6x+4dc/FAtmEpQSRO3qguupBqSn53+BLr+Iw7G9LZxVMV2YJLuOQE56Xv2Hn6T4oBEDoj6h8C3IYN7jkIKgyUWUJ5CZ3YLeKE7zG2iJL',
      'aA/nPDRpXd8wvYPob61vhwKBgQC5YAiB36tByqhKNX04Ih9GpLqGNMtXaWsdYHtq5jxtfbAJf9fzDyKikFYjO8Ggv+SrcHV2I6+tn1vy8URcgNocSpOTXSEUeBg4Q0OHSmi1onkmnmSh79dX/T3SNz',
      '6gxY5G3t6YVlR7gjHU0dPFg+VLDKcFarZ0VYuZnOgY8f4niwKBgHSItpJEd7KVY7vnY3eJ2keW6By0hUUabY6v9oh7os/r8hy1Bl1aoSiZxt+CCNg/WbDWZQNB1aV1F4txJN8xvadGdTFPwjUMFlM2',
      'aVhOIgcHse5c/98Dm08TLF11HebCFTGYDwT/4KoAxsZ9kf0ZUOX8qhEZ2IackDt3vWYwVArzAoGACP6r6wFbYfnfaJpn1Q1yzw63LkPpifhHhklkM6+wRu/OVuepJtYZLCIsy9DeeFpXUipGyNC6eY',
      'Y+A+/JDWQDMVQ9DO176W5aXoCFCk+F/SpBDqqo32Kv5EkZctXTaCGt4ap2ypWFy+hpWpZD3FWmDpoykIS5DbQI7g87A9raJjkCgYA+XL0f30Uc4hTJcZIStxwvM0A4nFU1hoLEK5kPKTT6VfM5nF+o',
      'HQW8b8FmyP9UHO4SfqUYzZArBbMR4jU8DELoikbG+3cUHXaxhKJr0+OGIEVe8SEdLCucWSYvpSs/D99I64e6ZMHUfMHEU6WCd0CmLkyjOZidpmSX3Z9u54PpSg==',
    ].join(''),
  },
  ec: {
    publicKey: ['MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEuw9nWUfeUfjVMHsCLMCjgQCvG+7fEh6/cOdOCK6ba+c6H2lC+rwYB2UZXQ5eAtG7YaCafJGpYDyW+UZVN89IfQ=='].join(''),
    secretKey: [
      'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgn9KNf5nSd8QEIIPu78YCxI6GdnlaBtC/hsF9yqYRFeihRANCAAS7D2dZR95R+NUwewIswKOBAK8b7t8SHr9w504Irptr5zofaUL6vB',
      'gHZRldDl4C0bthoJp8kalgPJb5RlU3z0h9',
    ].join(''),
  },
  ed448: {
    publicKey: 'MEMwBQYDK2VxAzoAFqOm8ngDvqWEpaupfEecMH7V4prMi9joDBwFwl1i2XLPFi8qqHWIU2w7Gzf9ft91DqZPBFZeFkOA',
    secretKey: 'MEcCAQAwBQYDK2VxBDsEOf947/fz/YvsjA5oc2XjYSWj6s8Fo9WbXnAxtyHG1xOPpyGMKjdkOZncRgAh6mgBpqpUds1jCRQTXQ==',
  },
};

/**
 * By ostree 2026.4 with OpenSSL: `commit --sign-type=spki --sign=ED25519 --sign=RSA --sign=EC --sign=ED448`, `summary -u --sign-type=spki --sign=ED25519`.
 */
const PEER = {
  checksum: '49134ca567da794e88aca26a2b5a8e9b2925099a2f9bcde7a640e6f8aa920ac0',
  commit: [
    'b3N0cmVlLnJlZi1iaW5kaW5nAAAAAAAAbWFpbgAFAGFzEyIAAAAAAAAAAAAAAAACHyMKhMx6q3+O8HdVX3nPgCgk35CFTxwwT8nZweMQJ+dEag7xG3zBZ/O2A+WFx+7utnX6pBLV7HP2KYjrC2xUiF',
    'AlJCMjIw==',
  ].join(''),
  commitMeta: [
    'b3N0cmVlLnNpZ24uc3BraQAAAAAAAAAAcmNp4XG6HSOb3Een/F/UbGDxzpv6joMf2mo+i8hHMVAE7STZKRHo7Zkousszvdgxz6pENvcu+YeM5G6xdYtyBXsu7LtQ4jzXRWewyB7jV0aU4O25wQSbWu',
    '/LmqokAmLAwZRLXwHCgiwjOpj65iNzdT8Bxs4dbb7VvpE5ILaArgp9ft4JASQPGyHq/R/x99ESZQ/5nfM1MG67Vm/yBvJlZziQreTPvodzP5ObAO195GTewKaCbXeEd/gAOaJ8dhE9KPfN1jCEgZYd',
    'GUS9FUXY2H+nkdo21SbWbvKO450FQ3/Ple2gHV36l94ergZjeNUW25wsJBGsU1xOrtfYF8HvylEAuPl29ZQlFRsk60LnCWtgVlGorhoo191+92HMdECL5F4d+GsNYZcWjBaDy6GSClZwxePSEhDpEY',
    'NwJsFLY54wRgIhAIuPWQPKn/fuEzwXBYywYay9TAcU6UEi5P9w42gMXKU1AiEAuaHB8xdBJH4GIKOKlXd8wND36I2VhTyM6S42FzWpXJJ3bAVthpf2ArTfN4rRx1rRH2PuRiTCy+qRzO85ADF2id6k',
    'sJ0ZIiq3V9gOAtQq5KxZll11tLh7HgCW6WAYRmiGZQQUOOXAvGM2MvoEXox2O1L7lEiss6Ri45IBpBpvbz5HbTW1Qs0b+Xo1f8kgQACbPgBAAEABiAH6AQBhYXkRACAC',
  ].join(''),
  summary: [
    'bWFpbgAAAAB2AAAAAAAAAEkTTKVn2nlOiKyiaitajpspJQmaL5vN56ZA5viqkgrAb3N0cmVlLmNvbW1pdC50aW1lc3RhbXAAAAAAAAAAAAIAdBgjKAVWAG9zdHJlZS5zdW1tYXJ5Lm1vZGUAAAAAAG',
    'FyY2hpdmUtejIAAHMUAABvc3RyZWUuc3VtbWFyeS5sYXN0LW1vZGlmaWVkAAAAAAAAAABrAVMkAHQdAAAAAABvc3RyZWUuc3VtbWFyeS50b21ic3RvbmUtY29tbWl0cwAAAAAAAAAAAABiIQAAAABv',
    'c3RyZWUuc3VtbWFyeS5pbmRleGVkLWRlbHRhcwAAAAEAYh4mU4SsVwA=',
  ].join(''),
  summarySignature: ['b3N0cmVlLnNpZ24uc3BraQAAAAAAAAAAol/RJ30Q+4dBCKbeSLqNAibL1a9Hl+AGVkjwOKE82QzzRlij/Zt2EUHNqRWZpR5i0gdA05Ko4Fe0k1Sqd2xaCUAAYWF5EV4='].join(
    '',
  ),
};

type Name = keyof typeof KEYS;
/** In the order of the signatures. */
const NAMES: readonly Name[] = ['ed25519', 'rsa', 'ec', 'ed448'];

const engine = rawSignatureEngine('spki');
const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64');
const trustIn = (name: Name): EngineTrust => ({
  type: 'spki',
  trusted: [{ key: engine.publicKey(KEYS[name].publicKey), source: 'a test' }],
  revoked: new Set(),
});

describe('spki signatures of libostree', () => {
  const commit = bytesOf(PEER.commit);
  const commitMeta = parseMetadata(bytesOf(PEER.commitMeta));
  assert.equal(checksumOf(commit), PEER.checksum);
  for (const [i, name] of NAMES.entries()) {
    test(`of a commit by ${name} are verified${name === 'ec' ? '' : ', and made here byte for byte'}`, () => {
      const verdicts = checkRawSignatures(trustIn(name), commit, commitMeta).map(({ valid }) => valid);
      assert.deepEqual(
        verdicts,
        NAMES.map((each) => each === name),
      );
      const changed = Buffer.from(commit);
      changed[0] = (changed[0] as number) ^ 1;
      assert.ok(checkRawSignatures(trustIn(name), changed, commitMeta).every(({ valid }) => !valid));
      const [ours, ...more] = rawSignaturesIn(signBytesRaw(commit, undefined, 'spki', [engine.secretKey(KEYS[name].secretKey)]), 'spki');
      assert.ok(ours !== undefined && more.length === 0);
      // Elliptic signatures are different each time.
      if (name !== 'ec') assert.deepEqual(Buffer.from(ours), Buffer.from(rawSignaturesIn(commitMeta, 'spki')[i] as Uint8Array));
    });
  }

  test('of a summary are verified', () => {
    const [report, ...more] = checkRawSignatures(trustIn('ed25519'), bytesOf(PEER.summary), parseMetadata(bytesOf(PEER.summarySignature)));
    assert.deepEqual([report?.valid, more.length], [true, 0]);
  });
});
