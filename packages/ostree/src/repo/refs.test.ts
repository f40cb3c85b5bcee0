import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { makeNode } from '@cambium/system';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { prune } from '../check/prune.ts';
import { commitOurs, ostree } from '../sample-trees.test.ts';
import { isRefName, parseRefspec } from './refs.ts';
import { Repo } from './repo.ts';

const skip = needsPeer('ostree');

test('refs are written and read as libostree does', { skip }, async (t) => {
  const at = scratch(t);
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', scratch(t));
  const { refs } = repo;
  refs.write('a/b/c', checksum);
  refs.write('origin:main', checksum);
  refs.write('origin:only/here', checksum);
  refs.writeAlias('deep/alias', 'a/b/c');
  assert.deepEqual(ostree(`--repo=${repo.path}`, 'refs').split('\n').sort(), [...refs.list().keys()].sort());
  assert.equal(ostree(`--repo=${repo.path}`, 'rev-parse', 'deep/alias'), checksum);
  assert.match(ostree(`--repo=${repo.path}`, 'refs', '--alias'), /deep\/alias -> a\/b\/c/);
  assert.deepEqual([...refs.aliases()], [['deep/alias', 'a/b/c']]);
  assert.deepEqual([...refs.list('a').keys()], ['a/b/c']);
  assert.deepEqual([...refs.list('origin:').keys()], ['origin:main', 'origin:only/here']);
  for (const rev of ['a/b/c', 'deep/alias', 'origin:main', 'origin/main', 'only/here', checksum, checksum.slice(0, 7)]) {
    assert.equal(refs.resolve(rev), checksum, rev);
    assert.equal(ostree(`--repo=${repo.path}`, 'rev-parse', rev), checksum, rev);
  }
  refs.write('a/b/c', undefined);
  // Directories that lost their last ref give way to a ref of their name.
  refs.write('a', checksum);
  assert.equal(refs.read('a'), checksum);
  refs.writeCollectionRef('org.example.Other', 'm', checksum);
  assert.deepEqual(refs.collectionRefs(), [{ collection: 'org.example.Other', ref: 'm', checksum }]);
  assert.match(ostree(`--repo=${repo.path}`, 'refs', '-c'), /org\.example\.Other, m/);
});

test('what is no ref, or in the way, is refused', async (t) => {
  const at = scratch(t);
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', scratch(t));
  const { refs } = repo;
  refs.write('a/b', checksum);
  assert.throws(() => refs.write('a', checksum), { code: 'OSTREE_REF_CONFLICT' });
  assert.throws(() => refs.write('a/b/c', checksum), { code: 'OSTREE_REF_CONFLICT' });
  assert.throws(() => refs.write(checksum, checksum), { code: 'OSTREE_REF_INVALID' });
  for (const bad of ['', '/', 'a//b', '../x', 'a/..', '.hidden', 'a b', 'x:y:z', 'a/', '-x']) {
    assert.throws(() => refs.write(bad, checksum), { code: 'OSTREE_REF_INVALID' }, bad);
    assert.throws(() => refs.resolve(bad), { code: 'OSTREE_REF_INVALID' }, bad);
  }
  assert.throws(() => refs.resolve('absent'), { code: 'OSTREE_REF_NOT_FOUND' });
  assert.throws(() => refs.resolve('a/b^'), { code: 'OSTREE_REF_NOT_FOUND' });
  assert.throws(() => refs.writeAlias('al', 'absent'), { code: 'OSTREE_REF_NOT_FOUND' });
  mkdirSync(join(repo.path, 'refs/heads/bad'));
  writeFileSync(join(repo.path, 'refs/heads/bad/ref'), 'nonsense\n');
  assert.throws(() => refs.read('bad/ref'), { code: 'OSTREE_REF_INVALID' });
  assert.deepEqual(parseRefspec('r:a/b'), { remote: 'r', ref: 'a/b' });
  assert.equal(isRefName('x86_64/stable-1.0'), true);
});

test('an abbreviation that fits two commits is ambiguous', async (t) => {
  const at = scratch(t);
  const { repo } = await commitOurs(join(at, 'r'), 'archive', scratch(t));
  for (const rest of ['00', '11']) {
    mkdirSync(join(repo.path, 'objects/ab'), { recursive: true });
    writeFileSync(join(repo.path, 'objects/ab', `${'cd'.repeat(30)}${rest}.commit`), '');
  }
  assert.throws(() => Repo.openSync(repo.path).refs.resolve('abcd'), { code: 'OSTREE_REF_AMBIGUOUS' });
  assert.ok(repo.refs.resolve(`ab${'cd'.repeat(30)}0`).endsWith('00'));
});

test('what is too long for the name of a file is no ref, and becomes none', async (t) => {
  const { repo, checksum } = await commitOurs(join(scratch(t), 'r'), 'archive', scratch(t));
  for (const ref of ['x'.repeat(256), `a/${'é'.repeat(128)}`, `${'a/'.repeat(2500)}b`]) {
    assert.equal(repo.refs.read(ref), undefined);
    assert.throws(() => repo.refs.resolve(ref), { code: 'OSTREE_REF_NOT_FOUND' });
    assert.throws(() => repo.refs.write(ref, checksum), { code: 'OSTREE_REF_INVALID' });
    assert.throws(() => repo.refs.write(ref, undefined), { code: 'OSTREE_REF_INVALID' });
  }
});

test('a damaged ref, a FIFO or a device in its place hurt only who asks for them', async (t) => {
  const { repo, checksum } = await commitOurs(join(scratch(t), 'r'), 'archive', scratch(t));
  const heads = join(repo.path, 'refs/heads');
  repo.refs.write('apps/shop', checksum);
  writeFileSync(join(heads, 'cut-short'), '');
  writeFileSync(join(heads, 'long'), 'a'.repeat(5000));
  symlinkSync('/dev/zero', join(heads, 'endless'));
  symlinkSync('circle', join(heads, 'circle'));
  makeNode(join(heads, 'fifo'), 0o010644);
  for (const ref of ['cut-short', 'long', 'endless', 'circle', 'fifo']) {
    assert.throws(() => repo.refs.read(ref), { code: 'OSTREE_REF_INVALID' }, ref);
    // What keeps objects alive must not overlook it.
    assert.throws(() => repo.refs.list(), { code: 'OSTREE_REF_INVALID' });
    await assert.rejects(prune(repo, { refsOnly: true }), { code: 'OSTREE_REF_INVALID' });
    assert.deepEqual([...repo.refs.list('apps').keys()], ['apps/shop']);
    repo.refs.write(ref, checksum);
    assert.equal(repo.refs.read(ref), checksum);
  }
  assert.equal(repo.refs.list().size, 7);
});

test('who may write to a repository of another owner commits to it, as with libostree', {
  skip: firstReason(skip, needsRoot(), needsPeer('chmod')),
}, async (t) => {
  const at = scratch(t);
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', scratch(t));
  execFileSync('chmod', ['-R', 'a+rwX', at]);
  // Nobody may write to where root gathers coverage.
  const asNobody = { uid: 65534, gid: 65534, cwd: '/', env: { ...process.env, NODE_V8_COVERAGE: '' } } as const;
  if (spawnSync('test', ['-r', import.meta.filename], asNobody).status !== 0) return t.skip('the build is in a directory that only root may read');
  execFileSync('ostree', [`--repo=${repo.path}`, 'refs', '--create=theirs', checksum], asNobody);
  utimesSync(repo.path, 1, 1);
  const code = `import { Repo, Transaction } from ${JSON.stringify(import.meta.resolve('../index.js'))};
    const repo = await Repo.open(process.argv[1]);
    const transaction = await Transaction.begin(repo);
    transaction.setRef('ours', process.argv[2]);
    await transaction.commit();`;
  execFileSync(process.execPath, ['--input-type=module', '-e', code, repo.path, checksum], asNobody);
  assert.deepEqual([...repo.refs.list().keys()], ['main', 'ours', 'theirs']);
  assert.ok(statSync(repo.path).mtimeMs > 1000);
  assert.deepEqual(
    readdirSync(repo.path).filter((name) => name.startsWith('.touch')),
    [],
  );
});
