/** Static deltas of both tools, applied by both. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { compressXz } from '@cambium/archive';
import type { Checksum } from '@cambium/base';
import { isKnownError } from '@cambium/base';
import { needsPeer, scratch, startStaticServer } from '@cambium/testkit';
import fc from 'fast-check';
import { fsck } from '../check/fsck.ts';
import { encodeCommit, parseMetadata } from '../format/commit-format.ts';
import { checksumOf } from '../format/object-format.ts';
import { pullLocal } from '../pull/pull-local.ts';
import { ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { reindexDeltas } from '../summary/delta-index.ts';
import { formatDeltaDescription } from './delta-text.ts';
import { describeDelta } from './describe.ts';
import { type GenerateDeltaOptions, generateDelta } from './generate.ts';
import { applyDeltaOffline } from './offline.ts';
import { deleteDelta, hasDelta, openDelta, openRepoDelta } from './open-delta.ts';
import { OperationWriter } from './operations.ts';
import { encodePart } from './part.ts';
import { encodeObjectList, encodeSuperblock } from './superblock.ts';

const skip = needsPeer('ostree');

/** Bytes without structure, the same each time. */
function noise(length: number, seed: number): Buffer {
  let state = seed | 1;
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) {
    state = Math.imul(state ^ (state << 13), 1_664_525) + 1_013_904_223;
    bytes[i] = (state >>> 16) & 0xff;
  }
  return bytes;
}

interface Versions {
  path: string;
  repo: Repo;
  from: Checksum;
  to: Checksum;
}

/** Two versions of a tree: a file changed in one place, one changed all over, new ones, one too large for a part. */
async function makeVersions(directory: string, mode: string): Promise<Versions> {
  const [path, tree] = [join(directory, `source-${mode}`), join(directory, `tree-${mode}`)];
  ostree(path, 'init', `--mode=${mode}`);
  mkdirSync(join(tree, 'usr'), { recursive: true });
  const large = noise(600_000, 3);
  const library = noise(120_000, 5);
  writeFileSync(join(tree, 'usr/large.img'), large);
  writeFileSync(join(tree, 'usr/library.so.1'), library);
  writeFileSync(join(tree, 'same'), 'same');
  const commit = (subject: string): Checksum => ostree(path, 'commit', '--fsync=false', '-b', 'main', '-s', subject, `--tree=dir=${tree}`).trim() as Checksum;
  const from = commit('one');
  large.write('changed here', 300_000);
  writeFileSync(join(tree, 'usr/large.img'), large);
  // Each piece moved a little, and addresses in it changed, as in code when a function grows.
  for (let at = 20; at < library.byteLength; at += 40) library[at] = (library[at] as number) + 4;
  const pieces = Array.from({ length: 40 }, (_, i) => Buffer.concat([library.subarray(i * 3000, (i + 1) * 3000), Buffer.from([i])]));
  writeFileSync(join(tree, 'usr/library.so.2'), Buffer.concat(pieces));
  rmSync(join(tree, 'usr/library.so.1'));
  writeFileSync(join(tree, 'usr/new'), 'new\n');
  writeFileSync(join(tree, 'usr/empty'), '');
  writeFileSync(join(tree, 'usr/huge'), noise(1_300_000, 11));
  symlinkSync('../same', join(tree, 'usr/link'));
  const to = commit('two');
  return { path, repo: await Repo.open(path), from, to };
}

async function receiver(directory: string, mode: string, source: Versions, start: 'empty' | 'from'): Promise<Repo> {
  const path = join(directory, `receiver-${mode}-${start}`);
  rmSync(path, { recursive: true, force: true });
  ostree(path, 'init', `--mode=${mode}`);
  const repo = await Repo.open(path);
  if (start === 'from') await pullLocal(repo, source.repo, { refs: [source.from], fsync: false });
  return repo;
}

/** Both tools say that all is there and right. */
async function assertWhole(repo: Repo, commit: Checksum): Promise<void> {
  assert.deepEqual((await fsck(repo)).bad, []);
  assert.equal(repo.isPartial(commit), false);
  assert.equal(tryOstree(repo.path, ['fsck']).status, 0);
  assert.match(ostree(repo.path, 'ls', '-R', commit), /usr\/huge/);
}

describe('static deltas of the real ostree are applied', { skip }, () => {
  for (const mode of ['bare-user', 'archive', 'bare-user-only']) {
    test(`to ${mode} repositories`, async (t) => {
      const directory = scratch(t);
      const source = await makeVersions(directory, 'archive');
      const cases: [start: 'empty' | 'from', flags: string[]][] = [
        ['from', ['--inline', '--min-fallback-size=0']],
        ['from', ['--min-fallback-size=0', '--max-chunk-size=1', '--set-endianness=B']],
        ['from', ['--min-fallback-size=0', '--disable-bsdiff']],
        ['empty', ['--empty', '--min-fallback-size=0', '--max-chunk-size=1']],
      ];
      for (const [start, flags] of cases) {
        const place = join(directory, 'delta');
        rmSync(place, { recursive: true, force: true });
        mkdirSync(place);
        ostree(source.path, 'static-delta', 'generate', ...flags, `--filename=${join(place, 'superblock')}`, 'main');
        const repo = await receiver(directory, mode, source, start);
        const { parts } = await applyDeltaOffline(repo, openDelta(place), { fsync: false });
        assert.ok(parts > (flags.includes('--max-chunk-size=1') ? 1 : 0), flags.join(' '));
        await assertWhole(repo, source.to);
      }
    });
  }

  test('a delta that leaves files out is refused offline, and one from a commit that is not here', async (t) => {
    const directory = scratch(t);
    const source = await makeVersions(directory, 'archive');
    const file = join(directory, 'some.delta');
    ostree(source.path, 'static-delta', 'generate', '--min-fallback-size=1', '--inline', `--filename=${file}`, 'main');
    const repo = await receiver(directory, 'bare-user', source, 'from');
    assert.equal(openDelta(file).superblock.fallbacks.length, 1);
    await assert.rejects(applyDeltaOffline(repo, openDelta(file)), { code: 'OSTREE_DELTA_INCOMPLETE' });
    ostree(source.path, 'static-delta', 'generate', '--min-fallback-size=0', '--inline', `--filename=${file}`, 'main');
    await assert.rejects(applyDeltaOffline(await receiver(directory, 'bare-user', source, 'empty'), openDelta(file)), { code: 'OSTREE_OBJECT_MISSING' });
  });
});

describe('static deltas made here', { skip }, () => {
  test('are applied by the real ostree', async (t) => {
    const directory = scratch(t);
    const source = await makeVersions(directory, 'archive');
    const cases: [start: 'empty' | 'from', mode: string, options: Partial<GenerateDeltaOptions>][] = [
      ['from', 'bare-user', { inline: true }],
      ['from', 'bare', { maxChunkBytes: 200_000, endianness: 'big' }],
      ['from', 'bare-user-only', { disableBsdiff: true, workers: 0 }],
      ['empty', 'archive', { maxChunkBytes: 200_000 }],
      ['empty', 'bare-user', { inline: true, endianness: 'big' }],
    ];
    for (const [start, mode, options] of cases) {
      if (mode === 'bare' && process.getuid?.() !== 0) continue;
      const filename = join(directory, 'delta', 'superblock');
      rmSync(join(directory, 'delta'), { recursive: true, force: true });
      const from = start === 'from' ? source.from : undefined;
      const result = await generateDelta(source.repo, { from, to: source.to, minFallbackBytes: 0, filename, ...options });
      assert.equal(result.fallbacks, 0);
      assert.equal(readdirSync(join(directory, 'delta')).length, options.inline === true ? 1 : result.parts + 1);
      if (start === 'from') {
        assert.equal(result.rollsum.objects, 1);
        assert.equal(result.bsdiff.objects, options.disableBsdiff === true ? 0 : 1);
        // All that is new, and not the two files that hardly changed.
        assert.ok(result.sizeBytes < (options.disableBsdiff === true ? 1_450_000 : 1_310_000), `${result.sizeBytes} bytes`);
      }
      if (options.maxChunkBytes !== undefined) assert.ok(result.parts > 1);
      const repo = await receiver(directory, mode, source, start);
      assert.deepEqual(tryOstree(repo.path, ['static-delta', 'apply-offline', filename]), { status: 0, stdout: '', stderr: '' });
      await assertWhole(repo, source.to);
    }
  });

  test('are pulled by the real ostree, which wants nothing else', async (t) => {
    const directory = scratch(t);
    const source = await makeVersions(directory, 'archive');
    await generateDelta(source.repo, { from: undefined, to: source.from });
    await generateDelta(source.repo, { from: source.from, to: source.to, minFallbackBytes: 1_000_000 });
    ostree(source.path, 'summary', '-u');
    const server = await startStaticServer({ directory: source.path });
    try {
      const path = join(directory, 'device');
      ostree(path, 'init', '--mode=bare-user');
      ostree(path, 'remote', 'add', '--no-gpg-verify', 'origin', server.url);
      // In another process, and not waited for in this thread: it is the server's.
      const pull = (rev: string): Promise<unknown> => promisify(execFile)('ostree', [`--repo=${path}`, 'pull', '--require-static-deltas', 'origin', rev]);
      await pull(`main@${source.from}`);
      await pull('main');
      // libostree fetches objects singly while parts are under way, also with its own deltas; that it took the parts is what counts.
      const parts = server.requests().filter(({ path: asked, status }) => /^\/+deltas\/.*\/0$/.test(asked) && status === 200);
      assert.equal(parts.length, 2);
      await assertWhole(await Repo.open(path), source.to);
    } finally {
      await server.stop();
    }
  });

  test('are shown, listed, indexed and deleted as the real ostree does', async (t) => {
    const directory = scratch(t);
    const source = await makeVersions(directory, 'archive');
    const { repo, path, from, to } = source;
    await generateDelta(repo, { from, to, minFallbackBytes: 1_000_000 });
    await generateDelta(repo, { from: undefined, to, maxChunkBytes: 200_000, endianness: 'big' });
    for (const ends of [
      { from, to },
      { from: undefined, to },
    ]) {
      const name = ends.from === undefined ? to : `${from}-${to}`;
      assert.equal(formatDeltaDescription(describeDelta(openRepoDelta(repo, ends))), ostree(path, 'static-delta', 'show', name));
    }
    await reindexDeltas(repo);
    // Without order: libostree's is that of its hash table.
    const index = (): unknown[] =>
      readdirSync(join(path, 'delta-indexes'), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.index'))
        .map((name) =>
          parseMetadata(readFileSync(join(path, 'delta-indexes', name))).map(([key, value]) => [key, value.type, new Map(value.value as [string, unknown][])]),
        );
    const ours = index();
    assert.equal(ours.length, 1);
    ostree(path, 'static-delta', 'reindex');
    assert.deepEqual(ours, index());
    assert.match(ostree(path, 'config', 'get', 'core.indexed-deltas'), /true/);
    deleteDelta(repo, { from, to });
    deleteDelta(repo, { from: undefined, to });
    assert.equal(hasDelta(repo, { from, to }), false);
    assert.throws(() => deleteDelta(repo, { from, to }), { code: 'OSTREE_DELTA_NOT_FOUND' });
    assert.match(ostree(path, 'static-delta', 'list'), /No static deltas/);
    await reindexDeltas(repo);
    assert.equal(index().length, 0);
  });

  test('leave the delta there was when they cannot be made', async (t) => {
    const directory = scratch(t);
    const { repo, from, to } = await makeVersions(directory, 'archive');
    const before = await generateDelta(repo, { from, to, timestamp: 1n });
    const again = await generateDelta(repo, { from, to, timestamp: 1n });
    assert.equal(again.checksum, before.checksum);
    const lost = repo.readDirTree(repo.readDirTree(repo.readCommit(to).root.tree).dirs[0]?.tree as Checksum).files.find(({ name }) => name === 'huge');
    rmSync(repo.objectPath('file', lost?.checksum as Checksum));
    await assert.rejects(generateDelta(repo, { from, to }), { code: 'OSTREE_OBJECT_MISSING' });
    assert.equal(hasDelta(repo, { from, to }), true);
    assert.deepEqual(
      readdirSync(join(repo.path, 'tmp')).filter((name) => name.startsWith('.delta-')),
      [],
    );
  });
});

test('a delta that lies changes nothing', { skip }, async (t) => {
  const directory = scratch(t);
  const source = await makeVersions(directory, 'archive');
  const filename = join(directory, 'inline.delta');
  await generateDelta(source.repo, { from: source.from, to: source.to, minFallbackBytes: 0, inline: true, filename });
  const good = readFileSync(filename);
  let repo = await receiver(directory, 'bare-user', source, 'from');
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(good.byteLength - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 }), async (changes) => {
      const bad = Buffer.from(good);
      for (const [at, value] of changes) bad[at] = (bad[at] as number) ^ value;
      writeFileSync(join(directory, 'bad.delta'), bad);
      try {
        await applyDeltaOffline(repo, openDelta(join(directory, 'bad.delta')), { fsync: false, workers: 0 });
        // Some bytes are free, as those of the time.
        assert.deepEqual((await fsck(repo)).bad, []);
        repo = await receiver(directory, 'bare-user', source, 'from');
      } catch (error) {
        if (!isKnownError(error)) throw error;
        assert.equal(repo.hasObject('commit', source.to), false);
        refused++;
      }
    }),
    { numRuns: 12 },
  );
  assert.ok(refused > 0);
  assert.deepEqual((await fsck(repo)).bad, []);
});

/** Returns a part file of 40 KB from which 200 MB would come: the chunk of 2 MiB of zeros, a hundred times. */
async function makeBomb(): Promise<Uint8Array> {
  const file = Buffer.from(await compressXz(Buffer.alloc(2 << 20)));
  // Behind the headers of stream and block, 12 bytes each; the chunk's own begins with its kind and sizes.
  const end = 24 + 6 + file.readUInt16BE(27) + 1;
  const chunks = Array.from({ length: 100 }, () => file.subarray(24, end));
  return Buffer.concat([Buffer.from('x'), file.subarray(0, 24), ...chunks, file.subarray(end)]);
}

describe('parts that lie', () => {
  const CHECKSUM = checksumOf(Buffer.from('an object'));
  const COMMIT = encodeCommit({
    metadata: [],
    parent: undefined,
    related: [],
    subject: 's',
    body: '',
    timestamp: 1n,
    root: { tree: checksumOf(Buffer.from('t')), meta: checksumOf(Buffer.from('m')) },
  });
  const to = checksumOf(COMMIT);

  interface Lie {
    what: string;
    operations?: (writer: OperationWriter) => void;
    payload?: Uint8Array;
    usizeBytes?: number;
    /** Instead of the part made of these. */
    file?: () => Promise<Uint8Array>;
    sizeBytes?: number;
  }

  const splice = (writer: OperationWriter): void => writer.spliceContent(0, 0, 5, 0);
  const HUGE = Number.MAX_SAFE_INTEGER;
  const LIES: Lie[] = [
    { what: 'content that is another', operations: splice },
    { what: 'a piece after the payload', operations: (writer) => writer.spliceContent(0, 0, 6, 0) },
    { what: 'a piece of an absurd size', operations: (writer) => writer.spliceContent(0, 0, HUGE, 0) },
    { what: 'a piece at an absurd place', operations: (writer) => writer.spliceContent(0, 0, 1, HUGE) },
    { what: 'a mode outside of the table', operations: (writer) => writer.spliceContent(1, 0, 5, 0) },
    { what: 'attributes outside of the table', operations: (writer) => writer.spliceContent(0, 7, 5, 0) },
    {
      what: 'an object of petabytes',
      operations: (writer) => {
        writer.open(0, 0, HUGE);
        writer.close();
      },
    },
    {
      what: 'an object that ends early',
      operations: (writer) => {
        writer.open(0, 0, 100);
        writer.write(5, 0);
        writer.close();
      },
    },
    {
      what: 'a source that is not there',
      operations: (writer) => {
        writer.setReadSource(0);
        writer.open(0, 0, 5);
        writer.write(5, 0);
        writer.close();
      },
      payload: Buffer.alloc(32, 7),
    },
    {
      what: 'a patch without a source',
      operations: (writer) => {
        writer.open(0, 0, 5);
        writer.bspatch(0, 5);
        writer.close();
      },
    },
    { what: 'no operations' },
    { what: 'a part file that is empty', file: async () => new Uint8Array(0) },
    { what: 'a part of an unknown compression', file: async () => Buffer.from('ghello') },
    { what: 'a part that is no xz', file: async () => Buffer.from('xhello') },
    { what: 'a part longer than it says', operations: splice, sizeBytes: 1 },
    { what: 'a bomb', file: makeBomb, usizeBytes: 5 },
  ];
  for (const { what, operations, payload = Buffer.from('hello'), usizeBytes = 5, file, sizeBytes } of LIES) {
    test(`${what}: a known error, and nothing is there`, async (t) => {
      const directory = scratch(t);
      const writer = new OperationWriter();
      operations?.(writer);
      const bytes =
        (await file?.()) ??
        Buffer.concat([
          Buffer.of(0),
          encodePart({ modes: [{ uid: 0, gid: 0, mode: 0o100644 }], xattrs: [[]], payload: [payload], operations: writer.finish() }),
        ]);
      const header = {
        checksum: checksumOf(bytes),
        sizeBytes: sizeBytes ?? bytes.byteLength,
        usizeBytes,
        objects: encodeObjectList([{ type: 'file', checksum: CHECKSUM }]),
      };
      const superblock = encodeSuperblock({ endianness: 'little', timestamp: 1n, from: undefined, to, commitBytes: COMMIT, parts: [header], fallbacks: [] });
      writeFileSync(join(directory, 'superblock'), superblock);
      writeFileSync(join(directory, '0'), bytes);
      const repo = await Repo.init(join(directory, 'repo'), { mode: 'bare-user-only' });
      const before = process.resourceUsage().maxRSS;
      await assert.rejects(applyDeltaOffline(repo, openDelta(directory), { fsync: false, workers: 0 }), (error) => isKnownError(error));
      // In KB. What is announced is five bytes.
      assert.ok(process.resourceUsage().maxRSS - before < 100_000);
      assert.equal(repo.hasObject('file', CHECKSUM), false);
      assert.equal(repo.hasObject('commit', to), false);
      assert.deepEqual((await fsck(repo)).bad, []);
    });
  }
});

test('trees of all sorts, by either tool to the other', { skip }, async (t) => {
  const directory = scratch(t);
  const source = join(directory, 'source');
  ostree(source, 'init', '--mode=archive');
  const NAME = fc.constantFrom('a', 'b.so', 'b.so.1', 'c.txt', 'd', 'e.xz');
  const FILE = fc.record({
    name: NAME,
    directory: fc.constantFrom('', 'x', 'y'),
    seed: fc.nat(3),
    length: fc.constantFrom(0, 5, 900, 9000, 60_000),
    cut: fc.nat(800),
  });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(FILE, { maxLength: 8 }), fc.array(FILE, { minLength: 1, maxLength: 8 }), async (before, after) => {
      const branch = `b${round++}`;
      const commits = [before, after].map((files) => {
        const tree = join(directory, 'tree');
        rmSync(tree, { recursive: true, force: true });
        mkdirSync(tree);
        for (const file of files) {
          mkdirSync(join(tree, file.directory), { recursive: true });
          writeFileSync(join(tree, file.directory, file.name), noise(file.length, file.seed).subarray(file.cut));
        }
        return ostree(source, 'commit', '--fsync=false', '-b', branch, '-s', '', `--tree=dir=${tree}`).trim() as Checksum;
      });
      const [from, to] = commits as [Checksum, Checksum];
      const repo = await Repo.open(source);
      const base = join(directory, 'base');
      rmSync(base, { recursive: true, force: true });
      ostree(base, 'init', '--mode=bare-user');
      await pullLocal(await Repo.open(base), repo, { refs: [from], fsync: false });
      const check = async (apply: (device: string) => Promise<unknown> | unknown): Promise<void> => {
        const device = join(directory, 'device');
        rmSync(device, { recursive: true, force: true });
        ostree(device, 'init', '--mode=bare-user');
        await pullLocal(await Repo.open(device), await Repo.open(base), { refs: [from], fsync: false });
        await apply(device);
        assert.equal(tryOstree(device, ['fsck', '-q']).status, 0);
        assert.equal((await Repo.open(device)).hasObject('commit', to), true);
      };
      const ours = join(directory, 'ours.delta');
      await generateDelta(repo, { from, to, inline: true, filename: ours, workers: 0 });
      await check((device) => ostree(device, 'static-delta', 'apply-offline', ours));
      const theirs = join(directory, 'theirs.delta');
      ostree(source, 'static-delta', 'generate', '--inline', `--filename=${theirs}`, `--from=${from}`, `--to=${to}`);
      await check(async (device) => applyDeltaOffline(await Repo.open(device), openDelta(theirs), { fsync: false, workers: 0 }));
    }),
    { numRuns: 8 },
  );
});
