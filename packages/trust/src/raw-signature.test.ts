import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { rawSignatureEngine } from './raw-signature.ts';

/** RFC 8032, section 7.1, test 2. */
const SEED = '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb';
const PUBLIC = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c';
const SIGNATURE = '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00';
const DATA = Buffer.from('72', 'hex');
const SECRET_TEXT = Buffer.from(SEED + PUBLIC, 'hex').toString('base64');
const PUBLIC_TEXT = Buffer.from(PUBLIC, 'hex').toString('base64');

test('ed25519 as RFC 8032 has it, keys as libostree writes them', () => {
  const engine = rawSignatureEngine('ed25519');
  const secret = engine.secretKey(SECRET_TEXT);
  const signature = secret.sign(DATA);
  assert.equal(Buffer.from(signature).toString('hex'), SIGNATURE);
  assert.equal(secret.publicKey.id, PUBLIC);
  const key = engine.publicKey(PUBLIC_TEXT);
  assert.equal(key.id, PUBLIC);
  assert.equal(key.verify(DATA, signature), true);
  assert.equal(key.verify(Buffer.from('73', 'hex'), signature), false);
  assert.equal(key.verify(DATA, signature.subarray(1)), false);
  assert.equal(key.verify(DATA, new Uint8Array(64)), false);
  const file = Buffer.from(`\n${PUBLIC_TEXT}\r\n${PUBLIC_TEXT}\n`);
  assert.deepEqual(
    engine.publicKeys(file, 'keys').map(({ id }) => id),
    [PUBLIC, PUBLIC],
  );
});

test('keys that are none are refused and not quoted', () => {
  const engine = rawSignatureEngine('ed25519');
  const other = Buffer.from(SEED + '00'.repeat(32), 'hex').toString('base64');
  for (const text of [PUBLIC_TEXT, 'secret!', '', other]) {
    assert.throws(
      () => engine.secretKey(text),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'TRUST_KEY_INVALID');
        assert.ok(text === '' || !error.message.includes(text));
        return true;
      },
    );
  }
  assert.throws(() => engine.publicKey(SECRET_TEXT), { code: 'TRUST_KEY_INVALID' });
  assert.throws(() => engine.publicKeys(Buffer.from(`${PUBLIC_TEXT}\nx\n`), 'keys'), { code: 'TRUST_KEY_INVALID', message: /line 2 of "keys"/ });
  assert.throws(() => rawSignatureEngine('spki').publicKey(PUBLIC_TEXT), { code: 'TRUST_KEY_INVALID' });
  assert.throws(() => rawSignatureEngine('spki').publicKeys(Buffer.from(PUBLIC_TEXT), 'keys'), { code: 'TRUST_KEY_INVALID' });
});

for (const [name, pair] of [
  ['ed25519', generateKeyPairSync('ed25519')],
  ['rsa', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['ecdsa', generateKeyPairSync('ec', { namedCurve: 'prime256v1' })],
] as const) {
  test(`spki with ${name}: PEM files, base64 texts`, () => {
    const engine = rawSignatureEngine('spki');
    const pem = pair.privateKey.export({ format: 'pem', type: 'pkcs8' });
    const der = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
    const publicPem = pair.publicKey.export({ format: 'pem', type: 'spki' });
    const publicDer = pair.publicKey.export({ format: 'der', type: 'spki' });
    const [key] = engine.publicKeys(Buffer.from(`a comment\n${publicPem}`), 'keys');
    assert.ok(key !== undefined);
    assert.equal(engine.publicKey(publicDer.toString('base64')).id, key.id);
    const old = name === 'rsa' ? ('pkcs1' as const) : ('sec1' as const);
    const olds = name === 'ed25519' ? [] : [pair.privateKey.export({ format: 'der', type: old }).toString('base64')];
    const secrets = [pem, ...(name === 'ed25519' ? [] : [pair.privateKey.export({ format: 'pem', type: old })])].flatMap((text) =>
      engine.secretKeys(Buffer.from(text), 'secret'),
    );
    for (const secret of [...secrets, ...[der.toString('base64'), ...olds].map((text) => engine.secretKey(text))]) {
      assert.equal(secret.publicKey.id, key.id);
      const signature = secret.sign(DATA);
      assert.equal(key.verify(DATA, signature), true);
      assert.equal(key.verify(Buffer.from('73', 'hex'), signature), false);
      assert.equal(key.verify(DATA, signature.subarray(1)), false);
    }
  });
}

test('dummy signatures must be allowed', () => {
  assert.throws(() => rawSignatureEngine('dummy'), { code: 'TRUST_TYPE_UNSUPPORTED' });
  assert.throws(() => rawSignatureEngine('minisign'), { code: 'TRUST_TYPE_UNSUPPORTED' });
  const engine = rawSignatureEngine('dummy', { allowDummy: true });
  const signature = engine.secretKey('k1').sign(DATA);
  assert.equal(Buffer.from(signature).toString(), 'k1');
  assert.equal(engine.publicKey('k1').verify(DATA, signature), true);
  assert.equal(engine.publicKey('k2').verify(DATA, signature), false);
});
