/** Signatures against the examples that Amazon publishes: "Examples: Signature Calculations" (S3) and the SigV4 test suite. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Hex } from '@cambium/base';
import fc from 'fast-check';
import { encodedPath, encodedQuery, signRequest } from './sigv4.ts';

const EMPTY = sha256Hex('');
const HOST = 'https://examplebucket.s3.amazonaws.com';
const S3 = {
  credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
  region: 'us-east-1',
  service: 's3',
};
const SUITE = {
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' },
  region: 'us-east-1',
  service: 'service',
};

function signature(authorization: string | undefined): string {
  return /Signature=([0-9a-f]{64})$/.exec(authorization ?? '')?.[1] ?? '';
}

test('the examples of the S3 API reference', () => {
  const at = new Date('2013-05-24T00:00:00Z');
  const welcome = sha256Hex('Welcome to Amazon S3.');
  const table: [method: string, url: string, headers: Record<string, string>, payloadHash: string, signature: string][] = [
    ['GET', `${HOST}/test.txt`, { range: 'bytes=0-9' }, EMPTY, 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'],
    [
      'PUT',
      `${HOST}/${encodedPath('test$file.text')}`,
      { date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' },
      welcome,
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    ],
    ['GET', `${HOST}/?${encodedQuery({ lifecycle: '' })}`, {}, EMPTY, 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
    ['GET', `${HOST}/?${encodedQuery({ prefix: 'J', 'max-keys': '2' })}`, {}, EMPTY, '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
  ];
  for (const [method, url, headers, payloadHash, expected] of table) {
    const signed = signRequest({ method, url: new URL(url), headers: { ...headers, 'x-amz-content-sha256': payloadHash }, payloadHash }, S3, at);
    assert.equal(signature(signed.authorization), expected, url);
    assert.equal(signed['x-amz-date'], '20130524T000000Z');
  }
});

test("the general suite's first cases", () => {
  const at = new Date('2015-08-30T12:36:00Z');
  const table: [method: string, query: string, headers: Record<string, string>, signature: string][] = [
    ['GET', '', {}, '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    ['POST', '', {}, '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
    ['GET', `?${encodedQuery({ Param2: 'value2', Param1: 'value1' })}`, {}, 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500'],
    ['GET', '', { 'my-header1': ' value1', 'my-header2': ' "a   b   c"' }, 'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736'],
  ];
  for (const [method, query, headers, expected] of table) {
    const signed = signRequest({ method, url: new URL(`https://example.amazonaws.com/${query}`), headers, payloadHash: EMPTY }, SUITE, at);
    assert.equal(signature(signed.authorization), expected, `${method} ${query}`);
  }
});

test('the token of passing credentials is signed', () => {
  const scope = { ...S3, credentials: { ...S3.credentials, sessionToken: 'token' } };
  const signed = signRequest({ method: 'GET', url: new URL(`${HOST}/a`), headers: {}, payloadHash: EMPTY }, scope, new Date(0));
  assert.equal(signed['x-amz-security-token'], 'token');
  assert.match(signed.authorization as string, /SignedHeaders=host;x-amz-date;x-amz-security-token,/);
});

test('what is signed is what a URL keeps', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { minLength: 1 }), (parts) => {
      const path = `/x${parts.map((part) => `/k${part.replaceAll('/', '+')}`).join('')}`;
      const url = new URL('https://example.org');
      url.pathname = encodedPath(path);
      url.search = encodedQuery({ a: path, 'a-b': '' });
      assert.equal(url.pathname, encodedPath(path));
      assert.equal(url.search, `?${encodedQuery({ a: path, 'a-b': '' })}`);
      assert.equal(decodeURIComponent(url.pathname), path);
    }),
  );
});
