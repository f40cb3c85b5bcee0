import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isKnownError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, needsRoot, readOnly, scratch, tmpfs } from '@cambium/testkit';
import { writeCommitObject } from '../commit/commit-object.ts';
import { KeyFile } from '../format/key-file.ts';
import type { FileHeader } from '../format/types.ts';
import { clearPartial, hasTombstone, markPartial, partialReason, writeTombstone } from '../repo/commit-markers.ts';
import { Repo } from '../repo/repo.ts';
import { commitOurs, commitReal, makeSampleTree, ostree, WRITABLE_MODES } from '../sample-trees.test.ts';
import { readBootId } from './staging.ts';
import { Transaction, type TransactionOptions } from './transaction.ts';

const skip = needsPeer('ostree');
const PLAIN: FileHeader = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] };

async function configured(path: string, settings: Readonly<Record<string, string>>): Promise<Repo> {
  const { config } = await Repo.init(path, { mode: 'archive' });
  for (const [key, value] of Object.entries(settings)) config.set('core', key, value);
  writeFileSync(join(path, 'config'), config.toString());
  return Repo.open(path);
}

test('our lock keeps a real prune out, and only as long as we hold it', { skip }, async (t) => {
  const at = scratch(t);
  const repo = await configured(join(at, 'r'), { 'lock-timeout-secs': '0' });
  const transaction = await Transaction.begin(repo);
  const blocked = spawnSync('ostree', [`--repo=${repo.path}`, 'prune', '--refs-only'], { encoding: 'utf8' });
  assert.notEqual(blocked.status, 0);
  assert.match(blocked.stderr, /lock/i);
  await transaction.abort();
  ostree(`--repo=${repo.path}`, 'prune', '--refs-only');
  const exclusive = await repo.lock('exclusive');
  const second = await Repo.open(repo.path);
  await assert.rejects(second.lock('shared'), (error) => isKnownError(error, 'OSTREE_LOCK_TIMEOUT') && error.retryable);
  // Within one Repo an exclusive lock covers a shared one, and stays until the last is released.
  const inner = await repo.lock('shared');
  exclusive.release();
  exclusive.release();
  (await second.lock('shared')).release();
  await assert.rejects(second.lock('exclusive'), { code: 'OSTREE_LOCK_TIMEOUT' });
  inner.release();
  (await second.lock('exclusive')).release();
});

test('without a word in the config we wait for a lock as long as libostree does', { skip }, async (t) => {
  const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
  const said = spawnSync('ostree', [`--repo=${repo.path}`, 'prune', '-v'], { encoding: 'utf8' });
  assert.match(said.stdout + said.stderr, new RegExp(`lock non-blocking with timeout ${repo.settings.lockTimeoutSecs}\n`));
});

test('the lock of a real commit keeps our exclusive lock out, and lets writers in', { skip: needsPeer('ostree', 'mkfifo') }, async (t) => {
  const at = scratch(t);
  const repo = await configured(join(at, 'r'), { 'lock-timeout-secs': '0' });
  makeSampleTree(join(at, 'src'));
  execFileSync('tar', ['-cf', join(at, 'tree.tar'), '-C', join(at, 'src'), '.']);
  execFileSync('mkfifo', [join(at, 'pipe')]);
  const real = spawn('ostree', [`--repo=${repo.path}`, 'commit', '-b', 'real', `--tree=tar=${join(at, 'pipe')}`], { stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => real.once('close', resolve));
  t.after(() => real.kill('SIGKILL'));
  // It locks before it opens the archive, and waits at the pipe.
  const pipe = createWriteStream(join(at, 'pipe'));
  await new Promise((resolve) => pipe.once('open', resolve));
  await assert.rejects(repo.lock('exclusive'), { code: 'OSTREE_LOCK_TIMEOUT' });
  const { checksum } = await commitOurs(repo.path, 'archive', join(at, 'src'));
  pipe.end(readFileSync(join(at, 'tree.tar')));
  assert.equal(await ended, 0);
  (await repo.lock('exclusive')).release();
  assert.equal(repo.refs.resolve('main'), checksum);
  assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
});

test('two writers at once, in one process and in two, lose nothing', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const path = join(at, 'r');
  await Repo.init(path, { mode: 'archive' });
  const real = spawn('ostree', [`--repo=${path}`, 'commit', '-b', 'real', '--timestamp=@1', join(at, 'src')], { stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => real.once('close', resolve));
  const one = Repo.openSync(path);
  const open = await Transaction.begin(one);
  await assert.rejects(Transaction.begin(one), { code: 'OSTREE_TRANSACTION_OPEN' });
  const [first, second] = await Promise.all([commitOurs(path, 'archive', join(at, 'src')), commitOurs(path, 'archive', join(at, 'src'), { ownerUid: 3 })]);
  await open.abort();
  assert.equal(await ended, 0);
  assert.deepEqual(new Set(one.refs.list().keys()), new Set(['main', 'real']));
  assert.ok([first.checksum, second.checksum].includes(one.refs.resolve('main')));
  assert.match(ostree(`--repo=${path}`, 'fsck'), /no errors found/);
  assert.ok(one.hasObject('commit', first.checksum) && one.hasObject('commit', second.checksum));
});

/** Commits in a process of its own that dies by SIGKILL at its n-th rename; prints how many there are when it lives. */
const KILLED = `
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
const [library, helper, repo, source, deadline] = process.argv.slice(1);
const rename = fs.renameSync;
let count = 0;
fs.renameSync = (...args) => {
  if (++count === Number(deadline)) process.kill(process.pid, 'SIGKILL');
  return rename(...args);
};
syncBuiltinESMExports();
const { commitOurs } = await import(helper);
console.log((await commitOurs(repo, 'archive', source, {}, 0)).checksum, count);
`;

test('killed at any rename, the repository is valid and the next commit is the same', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const run = (repo: string, deadline: number): { status: number | null; stdout: string } =>
    spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        KILLED,
        '--',
        import.meta.resolve('../index.js'),
        import.meta.resolve('../sample-trees.test.js'),
        repo,
        join(at, 'src'),
        String(deadline),
      ],
      { encoding: 'utf8' },
    );
  const whole = run(join(at, 'whole'), 0);
  const [checksum, total] = whole.stdout.trim().split(' ');
  const last = Number(total);
  assert.ok(last > 900, whole.stdout);
  assert.equal(checksum, commitReal(join(at, 'real'), 'archive', join(at, 'src')));
  // Config, first objects, the middle of staging, the last metadata, directories being published, the ref.
  for (const deadline of [2, 5, Math.floor(last / 3), last - 300, last - 200, last - 20, last - 1, last]) {
    const repo = join(at, `r${deadline}`);
    assert.equal(run(repo, deadline).status, null, `deadline ${deadline} of ${last}`);
    assert.match(ostree(`--repo=${repo}`, 'fsck'), /no errors found/);
    assert.equal(Repo.openSync(repo).refs.read('main'), undefined);
    const next = run(repo, 0);
    assert.equal(next.stdout.split(' ')[0], checksum);
    // What was staged is taken over, not written again.
    if (deadline > 20) assert.ok(Number(next.stdout.trim().split(' ')[1]) < last);
    assert.match(ostree(`--repo=${repo}`, 'fsck'), /no errors found/);
    // At most the small file that was being written; it goes when it is old.
    const left = readdirSync(join(repo, 'tmp')).filter((name) => name !== 'cache');
    assert.ok(left.length <= 1 && left.every((name) => name.startsWith('.tmp-')), left.join(' '));
  }
});

test('what libostree left when it was killed is taken over, and the reverse', { skip: needsPeer('ostree', 'mkfifo', 'tar') }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const repo = await Repo.init(join(at, 'r'), { mode: 'archive' });
  const staged = (): number => readdirSync(join(repo.path, 'tmp'), { recursive: true }).filter((name) => /\.filez$/.test(String(name))).length;
  execFileSync('tar', ['-cf', join(at, 'many.tar'), '-C', join(at, 'src/many'), '.']);
  execFileSync('mkfifo', [join(at, 'pipe')]);
  const real = spawn('ostree', [`--repo=${repo.path}`, 'commit', '-b', 'real', '--owner-uid=0', '--owner-gid=0', `--tree=tar=${join(at, 'pipe')}`], {
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => real.once('close', resolve));
  t.after(() => real.kill('SIGKILL'));
  // It has stored files, and waits for more when it is killed.
  const pipe = createWriteStream(join(at, 'pipe')).on('error', () => undefined);
  const bytes = readFileSync(join(at, 'many.tar'));
  pipe.write(bytes.subarray(0, bytes.length >> 1));
  while (staged() < 20 && real.exitCode === null) await sleep(5);
  real.kill('SIGKILL');
  await ended;
  pipe.destroy();
  const left = staged();
  assert.ok(left >= 20);
  const fresh = await commitOurs(join(at, 'fresh'), 'archive', join(at, 'src/many'), { canonicalPermissions: true });
  const { checksum, stats } = await commitOurs(repo.path, 'archive', join(at, 'src/many'), { canonicalPermissions: true });
  assert.equal(checksum, fresh.checksum);
  assert.equal(stats.contentWritten, fresh.stats.contentWritten - left);
  assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  const transaction = await Transaction.begin(repo);
  const ours = await Promise.all([transaction.content().add(PLAIN, Buffer.from('left behind')), transaction.content().flush()]);
  await transaction.abort();
  assert.equal(repo.hasObject('file', ours[0]), false);
  ostree(`--repo=${repo.path}`, 'commit', '-b', 'real', join(at, 'src'));
  assert.equal(repo.hasObject('file', ours[0]), true);
});

test('left staging directories: of this boot reused, of another discarded, held ones left alone', async (t) => {
  const at = scratch(t);
  const repo = await Repo.init(join(at, 'r'), { mode: 'archive' });
  const tmp = join(repo.path, 'tmp');
  const other = join(tmp, 'staging-00000000-0000-0000-0000-000000000000-abcdef');
  mkdirSync(join(other, 'aa'), { recursive: true });
  writeFileSync(join(tmp, 'old'), '');
  utimesSync(join(tmp, 'old'), 1, 1);
  writeFileSync(join(tmp, 'young'), '');
  symlinkSync('circle', join(tmp, 'circle'));
  symlinkSync('nowhere', join(tmp, 'dangling'));
  mkdirSync(join(tmp, `staging-${readBootId()}-left00`, '.half'), { recursive: true });
  writeFileSync(join(tmp, `staging-${readBootId()}-left00`, 't0-1'), 'half an object');
  const held = await Transaction.begin(await Repo.open(repo.path));
  const mine = await Transaction.begin(repo);
  await mine.commit();
  assert.deepEqual(
    readdirSync(tmp)
      .filter((name) => name !== 'cache')
      .sort(),
    ['circle', 'dangling', `staging-${readBootId()}-left00`, `staging-${readBootId()}-left00-lock`, 'young'],
  );
  await held.commit();
  assert.deepEqual(
    readdirSync(tmp)
      .filter((name) => name !== 'cache')
      .sort(),
    ['circle', 'dangling', 'young'],
  );
});

test('commits and detached metadata of an ended transaction do not come back with the next', async (t) => {
  const at = scratch(t);
  const repo = await Repo.init(join(at, 'r'), { mode: 'archive' });
  const first = await Transaction.begin(repo);
  const meta = first.writeDirMeta({ uid: 0, gid: 0, mode: 0o040755, xattrs: [] });
  const tree = first.writeDirTree({ files: [], dirs: [] });
  const checksum = writeCommitObject(first, { root: { tree, meta }, timestamp: 1n });
  first.setDetachedMetadata(checksum, [['old', new Variant('b', true)]]);
  await first.abort();
  // Meanwhile a prune may have taken what the commit needs, and somebody may have signed it anew.
  repo.writeDetachedMetadata(checksum, [['new', new Variant('b', true)]]);
  await (await Transaction.begin(repo)).commit();
  assert.equal(repo.hasObject('dirmeta', meta), true);
  assert.equal(repo.hasObject('commit', checksum), false);
  assert.deepEqual(
    repo.readDetachedMetadata(checksum)?.map(([key]) => key),
    ['new'],
  );
});

test('half-written files in a left staging directory harm neither libostree nor us', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  for (const mode of WRITABLE_MODES) {
    const repo = await Repo.init(join(at, mode), { mode });
    const left = join(repo.path, 'tmp', `staging-${readBootId()}-left00`);
    for (const lane of ['writer-main', 'writer-0', 'writer-3']) {
      mkdirSync(join(left, lane), { recursive: true });
      writeFileSync(join(left, lane, '0'), 'half an object');
    }
    ostree(`--repo=${repo.path}`, 'commit', '-b', 'real', '--canonical-permissions', '--no-xattrs', join(at, 'src'));
    assert.deepEqual(
      readdirSync(join(repo.path, 'tmp')).filter((name) => name.startsWith('staging')),
      [],
    );
    const objects = readdirSync(join(repo.path, 'objects'), { recursive: true }).map(String);
    assert.deepEqual(
      objects.filter((name) => name.includes('writer')),
      [],
    );
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  }
  // The same by options of one transaction: objects go to their places at once, as the settings make them.
  const repo = await Repo.init(join(at, 'options'), { mode: 'archive' });
  let uid = 0;
  const isPlacedAtOnce = async (options: TransactionOptions): Promise<boolean> => {
    await using transaction = await Transaction.begin(repo, options);
    const checksum = transaction.writeDirMeta({ uid: uid++, gid: 0, mode: 0o40755, xattrs: [] });
    const placed = existsSync(repo.objectPath('dirmeta', checksum));
    await transaction.commit();
    assert.ok(existsSync(repo.objectPath('dirmeta', checksum)));
    return placed;
  };
  assert.equal(await isPlacedAtOnce({}), false);
  assert.equal(await isPlacedAtOnce({ fsync: false }), true);
  assert.equal(await isPlacedAtOnce({ perObjectFsync: true }), true);
  assert.equal(await isPlacedAtOnce({ fsync: undefined, bootId: 'of-my-own' }), false);
  assert.equal(repo.settings.fsync, true);
  for (const bootId of ['', '../../x', 'a/b']) await assert.rejects(Transaction.begin(repo, { bootId }), { code: 'OSTREE_OPTION_INVALID' });
});

test('what asks an ended transaction for more content is refused, and writes nothing', async (t) => {
  for (const workers of [0, 2]) {
    const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
    const transaction = await Transaction.begin(repo, { workers });
    const content = transaction.content();
    const early = content.add(PLAIN, Buffer.from('not sent yet'));
    const open = content.begin(PLAIN, 20_000_000);
    open.write(Buffer.alloc(2_000_000));
    await transaction.abort();
    const late = content.add(PLAIN, Buffer.from('late'));
    assert.throws(() => transaction.setDetachedMetadata('aa'.repeat(32) as never, []), TypeError);
    open.abort();
    await assert.rejects(early, TypeError);
    await assert.rejects(late, TypeError);
    await assert.rejects(content.flush());
    const files = readdirSync(join(repo.path, 'tmp'), { recursive: true }).filter((name) => /\.filez$/.test(String(name)));
    assert.deepEqual(files, []);
    assert.deepEqual(
      readdirSync('/proc/self/fd').filter((fd) => linkOf(`/proc/self/fd/${fd}`).startsWith(repo.path)),
      [],
    );
  }
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

test('a request for the exclusive lock survives the release of the shared one', async (t) => {
  const at = scratch(t);
  const repo = await Repo.init(join(at, 'r'), { mode: 'archive' });
  const other = await configured(join(at, 'r'), { 'lock-timeout-secs': '0' });
  const [mine, theirs] = [await repo.lock('shared'), await other.lock('shared')];
  const wanted = repo.lock('exclusive');
  // It has tried once, and polls from now on.
  await sleep(0);
  mine.release();
  theirs.release();
  // While it waits it holds nothing.
  (await other.lock('exclusive')).release();
  const exclusive = await wanted;
  await assert.rejects(other.lock('shared'), { code: 'OSTREE_LOCK_TIMEOUT' });
  exclusive.release();
  (await other.lock('exclusive')).release();
});

test('nothing shows before the commit; an aborted transaction keeps its objects for the next', async (t) => {
  const at = scratch(t);
  const repo = await Repo.init(join(at, 'r'), { mode: 'archive' });
  const onlooker = await Repo.open(repo.path);
  const first = await Transaction.begin(repo);
  const content = first.content();
  const pending = content.add(PLAIN, Buffer.from('x'));
  await content.flush();
  const checksum = await pending;
  assert.equal(repo.hasObject('file', checksum), true);
  assert.equal(Buffer.from(repo.readFile(checksum, 10)).toString(), 'x');
  assert.equal(onlooker.hasObject('file', checksum), false);
  first.setRef('main', checksum);
  assert.equal(repo.refs.read('main'), checksum);
  assert.equal(onlooker.refs.read('main'), undefined);
  await first.abort();
  assert.equal(repo.hasObject('file', checksum), false);
  const second = await Transaction.begin(repo);
  await Promise.all([second.content().add(PLAIN, Buffer.from('x')), second.content().flush()]);
  assert.equal((await second.commit()).contentWritten, 0);
  assert.equal(onlooker.hasObject('file', checksum), true);
  assert.throws(() => second.writeDirMeta({ uid: 1, gid: 0, mode: 0o040755, xattrs: [] }), TypeError);
});

test('an aborted signal ends a commit with its reason and without a trace', async (t) => {
  const at = scratch(t);
  const repo = await Repo.init(join(at, 'r'), { mode: 'archive' });
  const controller = new AbortController();
  const transaction = await Transaction.begin(repo, { signal: controller.signal });
  transaction.setRef('main', 'aa'.repeat(32) as never);
  controller.abort(new Error('enough'));
  await assert.rejects(transaction.commit(), /enough/);
  assert.equal(repo.refs.list().size, 0);
  await (await Transaction.begin(repo)).commit();
});

test('space that the config reserves is not used', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const rules: Readonly<Record<string, string>>[] = [{ 'min-free-space-size': '8000TB' }, { 'min-free-space-percent': '99' }];
  for (const settings of rules) {
    const repo = await configured(join(at, `r${Object.keys(settings)[0]}`), settings);
    assert.notEqual(spawnSync('ostree', [`--repo=${repo.path}`, 'commit', '-b', 'm', join(at, 'src')]).status, 0);
    await assert.rejects(commitOurs(repo.path, 'archive', join(at, 'src')), (error) => isKnownError(error, 'OSTREE_SPACE_RESERVED') && error.kind === 'space');
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  }
});

test('without fsync, and with one per object, the objects are the same', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const plain = await commitOurs(join(at, 'plain'), 'archive', join(at, 'src'));
  const ways: Readonly<Record<string, string>>[] = [{ fsync: 'false' }, { 'per-object-fsync': 'true' }];
  for (const settings of ways) {
    const repo = await configured(join(at, `r${Object.keys(settings)[0]}`), settings);
    assert.equal((await commitOurs(repo.path, 'archive', join(at, 'src'))).checksum, plain.checksum);
    execFileSync('diff', ['-r', join(at, 'plain/objects'), join(repo.path, 'objects')]);
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  }
});

test('detached metadata, markers and tombstones are where libostree looks for them', { skip }, async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src'));
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', join(at, 'src'));
  assert.equal(repo.readDetachedMetadata(checksum), undefined);
  const transaction = await Transaction.begin(repo);
  transaction.setDetachedMetadata(checksum, [['foo', new Variant('s', 'bar')]]);
  await transaction.commit();
  assert.equal(ostree(`--repo=${repo.path}`, 'show', '--print-detached-metadata-key=foo', checksum), "'bar'");
  repo.writeDetachedMetadata(checksum, [['foo', new Variant('s', 'baz')]]);
  assert.deepEqual(repo.readDetachedMetadata(checksum), [['foo', new Variant('s', 'baz')]]);
  assert.equal(ostree(`--repo=${repo.path}`, 'show', '--print-detached-metadata-key=foo', checksum), "'baz'");
  markPartial(repo, checksum);
  assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /1 partial commits not verified/);
  assert.equal(repo.isPartial(checksum), true);
  markPartial(repo, checksum, 'fsck');
  assert.equal(partialReason(repo, checksum), 'fsck');
  clearPartial(repo, checksum);
  assert.equal(partialReason(repo, checksum), undefined);
  // The real program's own tombstone, byte for byte.
  ostree(`--repo=${repo.path}`, 'config', 'set', 'core.tombstone-commits', 'true');
  ostree(`--repo=${repo.path}`, 'refs', '--delete', 'main');
  ostree(`--repo=${repo.path}`, 'prune', `--delete-commit=${checksum}`);
  const path = repo.objectPath('tombstone-commit', checksum);
  const theirs = readFileSync(path);
  assert.equal(hasTombstone(repo, checksum), true);
  rmSync(path);
  writeTombstone(repo, checksum);
  assert.ok(readFileSync(path).equals(theirs));
  assert.equal((await commitOurs(repo.path, 'archive', join(at, 'src'))).checksum, checksum);
  assert.equal(hasTombstone(repo, checksum), false);
});

test('objects of a parent repository are read there; a commit writes them again, as libostree does', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const { checksum, repo: parent } = await commitOurs(join(at, 'parent'), 'bare-user', join(at, 'src'));
  const [child, real] = [await configured(join(at, 'child'), { parent: parent.path }), await configured(join(at, 'real'), { parent: parent.path })];
  assert.equal(child.refs.resolve('main'), checksum);
  assert.equal(child.readCommit(checksum).subject, 'subject');
  writeFileSync(join(at, 'src/new'), 'new');
  const next = await commitOurs(child.path, 'archive', join(at, 'src'));
  commitReal(real.path, 'archive', join(at, 'src'));
  const objects = (repo: Repo): string[] => [...repo.listObjects()].filter(({ type }) => type !== 'commit').map(({ checksum }) => checksum);
  assert.deepEqual(objects(child).sort(), objects(real).sort());
  assert.ok(next.stats.contentWritten > 1);
  assert.equal(next.repo.readCommit(next.checksum).parent, checksum);
  assert.match(ostree(`--repo=${child.path}`, 'fsck'), /no errors found/);
  // Whole without its parent.
  rmSync(parent.path, { recursive: true });
  writeFileSync(join(child.path, 'config'), (await Repo.init(join(at, 'plain'), { mode: 'archive' })).config.toString());
  assert.match(ostree(`--repo=${child.path}`, 'fsck', 'main'), /no errors found/);
});

test('refs change the time of the repository directory; init is idempotent', async (t) => {
  const at = scratch(t);
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', scratch(t));
  utimesSync(repo.path, 1, 1);
  repo.refs.write('other', checksum);
  assert.ok(statSync(repo.path).mtimeMs > 1e12);
  const before = readFileSync(join(repo.path, 'config'), 'utf8');
  await Repo.init(repo.path, { mode: 'bare' });
  assert.equal(readFileSync(join(repo.path, 'config'), 'utf8'), before);
  assert.equal(before, '[core]\nrepo_version=1\nmode=archive-z2\n');
  assert.equal(KeyFile.parse(before).string('core', 'mode'), 'archive-z2');
  assert.equal(existsSync(join(repo.path, 'transaction')), false);
  await assert.rejects(Repo.open(join(at, 'absent')), { code: 'OSTREE_REPO_NOT_FOUND' });
});

test('a full disk is a known error; with room again the commit is the same', { skip: firstReason(skip, needsRoot()) }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const want = await commitOurs(join(at, 'roomy'), 'archive', join(at, 'src'));
  const disks: readonly (readonly [sizeMiB: number, options: readonly string[]])[] = [
    [4, []],
    [64, ['nr_inodes=500']],
  ];
  for (const [sizeMiB, options] of disks) {
    for (const workers of [0, 2]) {
      const disk = await tmpfs(t, sizeMiB, options);
      const repo = await configured(join(disk, 'r'), { 'min-free-space-percent': '0' });
      await assert.rejects(commitOurs(repo.path, 'archive', join(at, 'src'), {}, workers), { code: 'SYSTEM_NO_SPACE' });
      assert.equal(repo.refs.list().size, 0);
      // libostree itself cannot even open it without room for a directory.
      execFileSync('mount', ['-o', 'remount,size=64m,nr_inodes=5000', disk]);
      assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
      assert.equal((await commitOurs(repo.path, 'archive', join(at, 'src'), {}, workers)).checksum, want.checksum);
      assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
    }
  }
});

test('a read-only repository is read, and refuses writers', { skip: firstReason(skip, needsRoot()) }, async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src'));
  const { checksum } = await commitOurs(join(at, 'r'), 'archive', join(at, 'src'));
  await readOnly(t, join(at, 'r'));
  const repo = await Repo.open(join(at, 'r'));
  assert.equal(repo.refs.resolve('main'), checksum);
  assert.equal(repo.writable, false);
  (await repo.lock('exclusive')).release();
  await assert.rejects(Transaction.begin(repo), { code: 'OSTREE_REPO_READ_ONLY' });
});
