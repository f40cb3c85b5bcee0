/** Bare ed25519 signatures of libostree, and of this package for a libostree that has them: Debian's is built without. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { needsPeer, scratch } from '@cambium/testkit';
import { rawSignatureEngine } from '@cambium/trust';
import { parseMetadata } from '../format/commit-format.ts';
import { checksumOf } from '../format/object-format.ts';
import type { Metadata } from '../format/types.ts';
import { ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { rawSignaturesIn, signBytesRaw, signCommitRaw } from '../sign/sign-raw.ts';
import type { EngineTrust } from '../sign/trust-policy.ts';
import { checkRawSignatures } from '../sign/verify.ts';
import { describeDelta } from './describe.ts';
import { generateDelta } from './generate.ts';
import { applyDeltaOffline } from './offline.ts';
import { openDelta, verifyDelta } from './open-delta.ts';
import { parseSuperblock } from './superblock.ts';

/**
 * By ostree 2022.7 configured with --with-ed25519-libsodium: `commit --sign-type=ed25519 --sign=SECRET` twice (file `f` "one", then
 * "two"; file `g` 3000 times "a"), `static-delta generate --inline --min-fallback-size=0 --sign-type=ed25519 --sign=SECRET`,
 * `summary -u --sign-type=ed25519 --sign=SECRET`. The secret is the sha256 of "fixture", followed by the public key.
 */
const PEER = {
  publicKey: 'CViKnk6aO0k+3rS1SPdYggLCjBPmMG6s4UU/Y95Smqc=',
  secretKey: '8W0F7GspJI0sYa2x6SY/eOT3us4blVAUotF4cs/kBk0JWIqeTpo7ST7etLVI91iCAsKME+YwbqzhRT9j3lKapw==',
  checksum: 'af35e567767ecfb4661d8c8df6a99bc503f56ca9d957d66a69c7d29e089b585a' as Checksum,
  commit: [
    'b3N0cmVlLnJlZi1iaW5kaW5nAAAAAAAAbWFpbgAFAGFzEyI89xRlhNucfD3jK21+UVO8Da1nPceDdnhQjZ46lRElQHR3bwAAAAAAAAAAAAL0Ca28FC1nAy6VoP7SXCggIq',
    'oJejk8ah706sEyLgbztkRqDvEbfMFn87YD5YXH7u62dfqkEtXsc/YpiOsLbFSIcEhHQ0Mj',
  ].join(''),
  commitMeta: 'b3N0cmVlLnNpZ24uZWQyNTUxOQAAAAAAjJFowCMHGpnmXWsIvKhrwccBdVUp3BdYuRyfgNz0jwpL/+gMSRtHmAkwwCCotWxdWt1XasYnWq0turZ/1Fj2BEAAYWF5FF4=',
  summary: [
    'bWFpbgAAAACWAAAAAAAAAK815Wd2fs+0Zh2Mjfapm8UD9Wyp2VfWamnH0p4Im1hab3N0cmVlLmNvbW1pdC50aW1lc3RhbXAAAAAAAAAAAAIAdBgjKAUAAG91cnMAAAAAfg',
    'AAAAAAAACeLPwlXGw2tJrrPpfdErC98nwQ3GKdJhNJopOxW0L2om9zdHJlZS5jb21taXQudGltZXN0YW1wAAAAAAAAAAADAHQYIygFVq5vc3RyZWUuc3VtbWFyeS5tb2Rl',
    'AAAAAABhcmNoaXZlLXoyAABzFAAAb3N0cmVlLnN1bW1hcnkubGFzdC1tb2RpZmllZAAAAAAAAAAAawEpGwB0HQAAAAAAb3N0cmVlLnN1bW1hcnkudG9tYnN0b25lLWNvbW',
    '1pdHMAAAAAAAAAAAAAYiEAAAAAb3N0cmVlLnN1bW1hcnkuaW5kZXhlZC1kZWx0YXMAAAABAGIeJlOErLAA',
  ].join(''),
  summarySignature: 'b3N0cmVlLnNpZ24uZWQyNTUxOQAAAAAAyKWu5enkWJH7pq1oY87EWsj5fe6VTyRoB2TQ/SLIZPGIPI7HenQZA4hgPsED4Bv8krG3lOsXMd7eOe59pEydC0AAYWF5FF4=',
  delta: [
    'T1NUU0dORFRvc3RyZWUuZW5kaWFubmVzcwAAAAAAAABsAHkSAAAAAGRlbHRhcy9QUC9jVVpZVGJuSHc5NHl0dGZsRlR2QTJ0WnozSGczWjRVSTJlT3BVUkpVQS1yelhsWj',
    'NaK3o3Um1IWXlOOXFtYnhRUDFiS25aVjlacWFjZlNuZ2liV0ZvLzAAAAAAAAAAeP03elhaAAAE5ta0RgIAIQEaAAAAzJAz6eAAogCWXQAAa56l/rE1ohofrfKffOxQSbac',
    'm+GQ5F/lH5HSbUJyrIZymojDlvE9Uame+KqJrdI9YIoEqbU/Yuu+KwCKEnkJrrGFodal4QWtNqPPkvKj24HNIFMOdFgITeCi1W6hMhRVy/tQe0Q/ig2PsyuhLO12Jhu5m/',
    'MZUnZkSfnd+VZd6tvz1wBLTZOvyiX1+I8DtYujjZEndFgAAAAse6vLOsmSdgABsgGjAQAAz5Mr97HEZ/sCAAAAAARZWgAoeWF5KWIAAAAAAAAAAGRlbHRhcy9QUC9jVVpZ',
    'VGJuSHc5NHl0dGZsRlR2QTJ0WnozSGczWjRVSTJlT3BVUkpVQS1yelhsWjNaK3o3Um1IWXlOOXFtYnhRUDFiS25aVjlacWFjZlNuZ2liV0ZvL2NvbW1pdG1ldGEAAAAAAA',
    'Bvc3RyZWUuc2lnbi5lZDI1NTE5AAAAAACMkWjAIwcameZdawi8qGvBxwF1VSncF1i5HJ+A3PSPCkv/6AxJG0eYCTDAIKi1bF1a3VdqxidarS26tn/UWPYEQABhYXkUXgBh',
    'e3N2fWscAGkBRgIAAAAAAAAAAGsBKRo89xRlhNucfD3jK21+UVO8Da1nPceDdnhQjZ46lRElQK815Wd2fs+0Zh2Mjfapm8UD9Wyp2VfWamnH0p4Im1hab3N0cmVlLnJlZi',
    '1iaW5kaW5nAAAAAAAAbWFpbgAFAGFzEyI89xRlhNucfD3jK21+UVO8Da1nPceDdnhQjZ46lRElQHR3bwAAAAAAAAAAAAL0Ca28FC1nAy6VoP7SXCggIqoJejk8ah706sEy',
    'LgbztkRqDvEbfMFn87YD5YXH7u62dfqkEtXsc/YpiOsLbFSIcEhHQ0MjAAAAAAAAYyJCrdY85skt9+OemZ4xZLFqjngApNqk9zlpQkwQ580AAAAA2QAAAAAAAABNAAAAAA',
    'AAAAL0Ca28FC1nAy6VoP7SXCggIqoJejk8ah706sEyLgbztgHmYijJpyDDhm9o4nxPJftlgILeTL26PFJe9JW+8yZqcyR7AAAAAKwDLgMuA5gCeAJMAgAAAABvc3RyZWUu',
    'c2lnbi5lZDI1NTE5AAAAAADW+kgQibsK8bHNYsE0dU6MdMwGcVkN0JvH/1ixZdNLUVEvov3OSTBnViUvyNAN85zbCTxoisG2/LhRmGu95j8OQABhYXkUXsQD',
  ].join(''),
};

const engine = rawSignatureEngine('ed25519');
const secret = engine.secretKey(PEER.secretKey);
const trust: EngineTrust = { type: 'ed25519', trusted: [{ key: engine.publicKey(PEER.publicKey), source: 'a test' }], revoked: new Set() };
const bytesOf = (text: string): Buffer => Buffer.from(text, 'base64');

describe('ed25519 signatures of libostree', () => {
  const superblock = parseSuperblock(bytesOf(PEER.delta));
  const cases: [what: string, bytes: Uint8Array, signatures: Metadata | undefined][] = [
    ['commit', bytesOf(PEER.commit), parseMetadata(bytesOf(PEER.commitMeta))],
    ['summary', bytesOf(PEER.summary), parseMetadata(bytesOf(PEER.summarySignature))],
    ['static delta', superblock.signedBytes, superblock.signatures],
  ];
  for (const [what, bytes, signatures] of cases) {
    test(`of a ${what} are verified, and made here byte for byte`, () => {
      const [report, ...more] = checkRawSignatures(trust, bytes, signatures);
      assert.deepEqual([report?.valid, report?.key, more.length], [true, bytesOf(PEER.publicKey).toString('hex'), 0]);
      assert.deepEqual(
        rawSignaturesIn(signBytesRaw(bytes, undefined, 'ed25519', [secret]), 'ed25519').map((each) => Buffer.from(each)),
        rawSignaturesIn(signatures, 'ed25519').map((each) => Buffer.from(each)),
      );
      const changed = Buffer.from(bytes);
      changed[20] = (changed[20] as number) ^ 1;
      assert.deepEqual(
        checkRawSignatures(trust, changed, signatures).map(({ valid, problem }) => [valid, problem]),
        [[false, 'key-unknown']],
      );
    });
  }

  test('the commit is the one that the delta brings, and the delta one that can be read', (t) => {
    assert.equal(checksumOf(bytesOf(PEER.commit)), PEER.checksum);
    assert.deepEqual(Buffer.from(superblock.commitBytes), bytesOf(PEER.commit));
    assert.deepEqual(
      verifyDelta(superblock, trust).map(({ valid }) => valid),
      [true],
    );
    const file = join(scratch(t), 'signed.delta');
    writeFileSync(file, bytesOf(PEER.delta));
    assert.equal(describeDelta(openDelta(file)).parts[0]?.objects, superblock.parts[0] === undefined ? 0 : superblock.parts[0].objects.byteLength / 33);
  });
});

function needsEd25519(): string | false {
  const missing = needsPeer('ostree');
  if (missing !== false) return missing;
  return /sign-ed25519/.test(execFileSync('ostree', ['--version'], { encoding: 'utf8' }))
    ? false
    : 'the ostree here is built without ed25519 (--with-ed25519-libsodium)';
}

test('an ostree with ed25519 verifies commits and static deltas signed here', { skip: needsEd25519() }, async (t) => {
  const directory = scratch(t);
  const [source, tree, device] = [join(directory, 'source'), join(directory, 'tree'), join(directory, 'device')];
  ostree(source, 'init', '--mode=archive');
  mkdirSync(tree);
  const commit = (text: string): Checksum => {
    writeFileSync(join(tree, 'f'), text);
    return ostree(source, 'commit', '-b', 'main', '-s', text, `--tree=dir=${tree}`).trim() as Checksum;
  };
  const [from, to] = [commit('one'), commit('two')];
  const repo = await Repo.open(source);
  await signCommitRaw(repo, to, 'ed25519', [secret]);
  assert.equal(tryOstree(source, ['sign', '--verify', '--sign-type=ed25519', 'main', PEER.publicKey]).status, 0);
  const filename = join(directory, 'signed.delta');
  const sign = async (superblock: Uint8Array): Promise<Metadata> => signBytesRaw(superblock, undefined, 'ed25519', [secret]);
  await generateDelta(repo, { from, to, inline: true, minFallbackBytes: 0, filename, sign, workers: 0 });
  const other = Buffer.alloc(32).toString('base64');
  assert.equal(tryOstree(source, ['static-delta', 'verify', '--sign-type=ed25519', filename, PEER.publicKey]).status, 0);
  assert.equal(tryOstree(source, ['static-delta', 'verify', '--sign-type=ed25519', filename, other]).status, 1);
  ostree(device, 'init', '--mode=bare-user');
  ostree(device, 'pull-local', source, from);
  ostree(device, 'static-delta', 'apply-offline', '--sign-type=ed25519', filename, PEER.publicKey);
  assert.equal(tryOstree(device, ['sign', '--verify', '--sign-type=ed25519', to, PEER.publicKey]).status, 0);
  // The other way round.
  ostree(source, 'static-delta', 'generate', '--inline', '--sign-type=ed25519', `--sign=${PEER.secretKey}`, `--filename=${filename}`, 'main');
  assert.deepEqual(
    verifyDelta(openDelta(filename).superblock, trust).map(({ valid }) => valid),
    [true],
  );
  assert.deepEqual((await applyDeltaOffline(await Repo.open(device), openDelta(filename), { fsync: false, workers: 0 })).parts, 0);
});
