import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { brotliDecompressSync } from 'node:zlib';
import { Variant } from '@cambium/gvariant';
import { scratch } from '@cambium/testkit';
import { writeCommitObject } from '../commit/commit-object.ts';
import { pullLocal } from '../pull/pull-local.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';
import { composefsMetadata, writeComposefs } from './composefs.ts';
import { commitSample, LONG_LINK, type Sample, SMALL, VARIED } from './composefs-samples.test.ts';
import { encodeImage } from './erofs-image.ts';
import { FsVerityHasher } from './fs-verity.ts';
import { type ImageNode, InodeMaker, linkDots } from './image-tree.ts';

/** `ostree checkout --composefs` of SMALL by libostree 2026.4 with libcomposefs 1.0.8, packed with Brotli. */
const GOLDEN = [
  'H/8/lQcAAACA8wiZ3PF8BcD/35MbIhO2gzr7q2ICgYjAyVTKisbGBMWpZI4yycjZcqh0keYDKuJwvIjNFSq0QzhRq41D7z3P/jNl4eNmzd/QRLQ/60NrHuLo/N7kx//7znoE0FqbvRdRxC2USiYVUv',
  'RGEn0JAHgbfqssHTn42JWTl6RVTnY7oAHAIQIGR9XNHEE8hAE554/HC3Cyqqm8lr28ZDxvx9XgObSJWec73ErQccyjgLiNXtMgAONqJfYT/QBzQACgABoSgKGhABgSQGCgAhzCgQD+XtXY42zC6DwM',
  'aAjmRv0a5Xh0LoxpFQpS0YIUS1qVmrtsL15kxUhK6bb2jfat4u+e/M/u8WE3JJE3Lx0AAIgDIunKSW83KWUgBgAYj8cxUIwHUVTOH09DxY8/HNyFAwABgDESSUzikpCkpCQtGclKTvJSkKKUpCwVqU',
  'pN6tKQprSkLR3pSk/6MiGTMiXTMiOzMifzsiCLsiTLsiKrsibrsiGbsiVUTyAlLRSJZSSywrEAAQpIwAIRqMAELghBCkrQghGs4AQvBCEKSchCEarQhC4MYQpL2MIRrvCELwIRikjEIhGpyEQuClGK',
  'StSiEa3oRC8GMYpJzGKRAimUIrGKTeziEKcUS4mUSpmUS4VUSpW4pFrcUiO1Uif10iCN0iTN0iKt0ibt0iGd0iXd0iO90if9MiCDMiQeGZYRGZUxGZcJmRSvTMm0zMiszMm8LMiiLMmyrMiqrMm6bM',
  'imbMm27Miu7Mm+HMihHMmxnMipnMl5uHikSOJ4u4l6ALgH4BVoi8wDOiIlAEVbI+QjsBSkKCUpS0WqUpO6NKQpLWlLR7rSk74MZCgjGctEpjKTuSxkKStZy0a2spO9HOQoJzmTc7mQS7mSa7mRW7mT',
  'e3lY5PENCU9VRoR2kHf5kE/5km/5kV/5k38ZyFBGMq5AWCRQiCLcoWwskNWWjnCeJZ5mPWzH2Vl1JwB7guMAHEvprsMUayi0SHvMT8hWbtqiO7dklmQNo5H+XdlyfL7u87eGmzuIeSHOKuffy0jnf3',
  'A9N2NjQfttQ8KattwoHx43jx7/u/9qaW6oOrTi2FY2e7ry85sj/7r/3vJgvtZj5U6XUxTq6oI/7vecdHI35F85Di7UZ0XkOd2n/X9T7tqR5uN/rwLnAyAqPgAH+kkJAEDLMgGNWo41/ssfMUDTiAWa',
  'RxzQMuKB1pEAtI1EoH0kAR0jGegcKUDXSAW6RxrQM9KB3pEB9I1MoH9kAQMjGxgcOcDQyAWGRx4wMvKB0QEAxgYQGB8gYGKAgckBAaYGFJgeMMDMgANmBwIwN5CA+YECLAw0YHFgAEsDC1geOMDKwA',
  'NWBwGwNoiA9UECbAwyYHNQAFuDCtgeNMDOoAN2BwOwN5iA/cECHAw24HBwAEeDCzgePMDJ4ANOhwBwNoSA8xEBLkYMuBwJ4GqkgOuRAW5GDrgdBeBulID7UQEeRg14HA3gabSA59EBXkYPeB0D4G2M',
  'gPcxAT7GDPg0FsDnKQB8mULA1ykCfBsr4PvYAD/GDvg5DsCvcQJ+TzHgz5QA/k4p4N+UAf4PohwQUVABCAWVgMgFVYCoBS5A9IJqIGaBG4hdUAPELagF4qcOSJh6IHEagKRpBJKnCUiZZiB1WoC0aQ',
  'XSpw3ImHYgczqArOkEsqcLyJluIHd6gLzpBfKnDyiYfqBwBoCiGQSKZwgoGQ9QOsNA2YwA5WcUqDhjQOUZB6rOBFB9JoGa4wVqzxRQd6aB+jMDNJxZoPHMAU1nHmg+C0DLWQRazxLQdpaB9rMCdJxV',
  'oPOsAV1nHeg+G0DP2QR6zxbQd7aB/rMDDJxdYPDsAUNnHxg+B8DIOQRGzxEwdo6B8XMCTJxTYPKcAVPnHJg+F8DMuQRmzxUwd66B+XMDLJxbYPHcAUvnHlg+D8DKeQRWzxOwdp6B9fMCbJxXYPO8AV',
  'vnHdg+H8DO+QR2zxewd76B/fPT8wKBIBAKAZEwEIsAiSiQigGZOJBLAIUkUEoBlTRQywCNLNDKAZ080CsAgyIwKgGTF2BRBVY1wKYW2NUBh3rg1ACcNwKXTcB1M3DbAty3Ao9twHM78NoBvHcCn13A',
  'dzfw2wP89wJvVMSDAQgPhiDygxGI+mAMoj8QMRDzQQDEfhAB4j6IAeJfHJDwEoDElwQkvRQg+aUBKS8DSH1ZQNrLAdJfHpDxCoDMVwRkvRIg+5UBOa8CyH1VQN6rAfJfHVDwGoDC1wQUvRag+LUBJa',
  'cLKHM9QDn6gApMACoxCajCFKAa04AazABqMQuowxygHvOABiwAGrEIaMISoBnLgBasAFqxCmizdUDnbQG6/R933ITHMzxT/Ffx6fnNy9t3T4/nl1cMgEKDEIxBsDgIwAhqvB+rd+liqVxTqa0rFeVK',
  'tafR1d1stXs6vX2tpt3pcggWm6To+svi8ihCM6xGUKlFSdYoWp0kZEX1GC63adkex+uzjO24M4Op6eFoPDOZnRsN48k0E6TSYRRnkmwuCnGS7iy2tper9c5md2+1rDfbm8XW9nK13tns7q2W9WarEV',
  'RqUZI1ilYnCVlRfRP8EAygaIgwQ1gOASbUY7jcpmV7HK/PMrbjZoJUOoziTJLNRSFO0nzoFK12WdWdpturSt207/+30X3n2/t6+u2LAA==',
];

/** fs-verity digests of the images that libostree 2026.4 with libcomposefs 1.0.8 makes of the same commits: with and without digests of files. */
const IMAGES: readonly (readonly [name: string, sample: Sample, commit: string, verity: string, noVerity: string])[] = [
  [
    'small',
    SMALL,
    '97ec1572849ea88c65e7ed96ea28e48d4abf9bd46485329f79c56f115b23485a',
    '59f62e9e482600b764e653987597a9ebd165e7b165cc27735da86e13b1d2d531',
    'ab0f629dd8cb9dd88ed7ac963a10f17444cfa880a4ff5322d01e01ef947a1410',
  ],
  [
    'varied',
    VARIED,
    'd721f67bfbba49fce2eb7c257085149ea49f01919984423ff5d21e3db7f1422f',
    '9104f0129fd964ccc91c060b3844d1bf5d342deb04f3da1ce5ba12b8082068a8',
    '84de53b78aad18baf35abe2ac8c1bc1b1abe3f3470d253ff74353a1bb7dd8996',
  ],
  [
    // libostree cannot; by mkcomposefs 1.0.8 --from-file.
    'long symlink',
    LONG_LINK,
    'e31a7315092d53dee58821a007c77872078a38c8021b754638bd57b20e077e43',
    '0665ba551fbd36aed10d1d22e5edfeabc8acf492398ad0c245d3b411ae1f29bf',
    '0665ba551fbd36aed10d1d22e5edfeabc8acf492398ad0c245d3b411ae1f29bf',
  ],
];

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

for (const [name, sample, expected, verity, noVerity] of IMAGES) {
  test(`the image of a commit is libostree's: ${name}`, async (t) => {
    const at = scratch(t);
    const { repo, commit } = await commitSample(join(at, 'r'), sample);
    assert.equal(commit, expected);
    const destination = join(at, 'image');
    writeFileSync(destination, 'replaced');
    assert.equal(hex(await writeComposefs(repo, commit, { destination, verity: true })), verity);
    const hasher = new FsVerityHasher();
    hasher.update(readFileSync(destination));
    assert.equal(hex(hasher.digest()), verity);
    assert.equal(statSync(destination).mode & 0o7777, 0o644);
    assert.equal(hex(await writeComposefs(repo, commit, { destination, verity: false, fsync: true })), noVerity);
    assert.deepEqual(readdirSync(at).sort(), ['image', 'r']);
    const [key, value] = await composefsMetadata(repo, repo.readCommit(commit).root);
    assert.deepEqual([key, value.type, hex(value.value as Uint8Array)], ['ostree.composefs.digest.v0', 'ay', verity]);
    const user = await Repo.init(join(at, 'user'), { mode: 'bare-user' });
    await pullLocal(user, repo, { refs: [commit] });
    assert.equal(hex(await writeComposefs(user, commit, { destination, verity: true })), verity, 'whatever the mode of the repository');
  });
}

test('each byte of a small image is of libostree', async (t) => {
  const at = scratch(t);
  const { repo, commit } = await commitSample(join(at, 'r'), SMALL);
  await writeComposefs(repo, commit, { destination: join(at, 'image'), verity: true });
  assert.deepEqual(readFileSync(join(at, 'image')), brotliDecompressSync(Buffer.from(GOLDEN.join(''), 'base64')));
});

test('the digest that a commit names is compared, unless files have none', async (t) => {
  const at = scratch(t);
  const { repo, commit } = await commitSample(join(at, 'r'), SMALL);
  const { root } = repo.readCommit(commit);
  const named = async (value: Variant): Promise<typeof commit> => {
    await using transaction = await Transaction.begin(repo);
    const checksum = writeCommitObject(transaction, { root, timestamp: 9n, composefs: ['ostree.composefs.digest.v0', value] });
    await transaction.commit();
    return checksum;
  };
  const destination = join(at, 'image');
  await writeComposefs(repo, await named((await composefsMetadata(repo, root))[1]), { destination, verity: true });
  const good = readFileSync(destination);
  for (const [value, ostreeMessage] of [
    [new Variant('ay', new Uint8Array(32)), /^Generated composefs image digest \(59f62e9e\w+\) doesn't match expected digest \(0{64}\)$/],
    [new Variant('ay', new Uint8Array(31)), /^Expected composefs fs-verity in metadata has the wrong size$/],
    [new Variant('s', 'x'), /^Expected composefs fs-verity in metadata has the wrong size$/],
  ] as const) {
    const wrong = await named(value);
    await assert.rejects(writeComposefs(repo, wrong, { destination, verity: true }), (error: { code?: string; data?: { ostreeMessage?: string } }) => {
      assert.equal(error.code, 'OSTREE_COMPOSEFS_MISMATCH');
      assert.match(error.data?.ostreeMessage ?? '', ostreeMessage);
      return true;
    });
    assert.deepEqual(readFileSync(destination), good);
    await writeComposefs(repo, wrong, { destination: join(at, 'other'), verity: false });
  }
  assert.deepEqual(readdirSync(at).sort(), ['image', 'other', 'r']);
});

test('a damaged object, a place that is none and an end in the middle leave nothing behind', async (t) => {
  const at = scratch(t);
  const { repo, commit } = await commitSample(join(at, 'r'), SMALL);
  mkdirSync(join(at, 'd'));
  const destination = join(at, 'd/image');
  await assert.rejects(writeComposefs(repo, commit, { destination, verity: true }, AbortSignal.abort(new Error('enough'))), /enough/);
  await assert.rejects(writeComposefs(repo, commit, { destination: join(at, 'd/no/image'), verity: true }), { code: 'OSTREE_PATH_NOT_FOUND' });
  await assert.rejects(writeComposefs(repo, commit, { destination: join(at, 'd'), verity: true }), { code: 'OSTREE_CHECKOUT_EXISTS' });
  const { tree } = repo.readDirTree(repo.readCommit(commit).root.tree).dirs.find(({ name }) => name === 'usr') ?? assert.fail();
  const { checksum } = repo.readDirTree(tree).files.find(({ name }) => name === 'hello') ?? assert.fail();
  const object = repo.objectPath('file', checksum);
  const bytes = readFileSync(object);
  bytes[bytes.length - 3] = (bytes.at(-3) as number) ^ 1;
  writeFileSync(object, bytes);
  await assert.rejects(writeComposefs(repo, commit, { destination, verity: true }), { code: 'OSTREE_OBJECT_CORRUPT' });
  assert.deepEqual(readdirSync(join(at, 'd')), []);
  assert.equal(existsSync(destination), false);
});

test('more attributes than composefs holds are refused', async (t) => {
  const at = scratch(t);
  const make = async (name: string, length: number): Promise<unknown> => {
    const { repo, commit } = await commitSample(join(at, name), { entries: { a: { file: 'x', xattrs: { 'user.a': 'y'.repeat(length) } } } });
    return writeComposefs(repo, commit, { destination: join(at, 'image'), verity: true });
  };
  // 32767 bytes with 12 for all, and 7 and the name for each.
  await make('fits', 32_742);
  await assert.rejects(make('not', 32_743), { code: 'OSTREE_FILE_UNSUPPORTED' });
});

test('names and targets that no file system takes are refused', async (t) => {
  const at = scratch(t);
  const make = async (name: string, sample: Sample): Promise<unknown> => {
    const { repo, commit } = await commitSample(join(at, name), sample);
    return writeComposefs(repo, commit, { destination: join(at, 'image'), verity: true });
  };
  await make('fits', { entries: { ['n'.repeat(255)]: { link: 'x'.repeat(4095) } } });
  await assert.rejects(make('name', { entries: { ['n'.repeat(256)]: { file: '' } } }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  await assert.rejects(make('directory', { entries: { ['n'.repeat(256)]: { entries: {} } } }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  await assert.rejects(make('target', { entries: { a: { link: 'x'.repeat(4096) } } }), { code: 'OSTREE_FILE_UNSUPPORTED' });
});

test('a tree as deep as any does not exhaust the stack', () => {
  const maker = new InodeMaker();
  const directory = (): ImageNode => ({ inode: maker.directory({ mode: 0o40755, uid: 0, gid: 0, xattrs: [] }, false), entries: [] });
  const root = directory();
  let deepest = root;
  linkDots(root, root);
  for (let i = 0; i < 50_000; i++) {
    const next = directory();
    deepest.entries?.push({ name: 'd', node: next });
    linkDots(next, deepest);
    deepest = next;
  }
  let sizeBytes = 0;
  encodeImage(root, (piece) => {
    sizeBytes += piece.byteLength;
  });
  assert.equal(sizeBytes % 4096, 0);
  assert.ok(sizeBytes > 50_000 * 32);
});
