/** What a killed writer left to the next one, ours or libostree's: nothing counts that nobody has verified. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import type { Checksum } from '@cambium/base';
import { defer, firstReason, needsPeer, needsRoot, scratch, startStaticServer } from '@cambium/testkit';
import { encodeFilezHeader } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { pull } from '../pull/pull.ts';
import { makeRepo, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { readBootId } from './staging.ts';
import { Transaction } from './transaction.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());
const PLAIN = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] } as const;
const NAME = 'ab'.repeat(32) as Checksum;

function inTmp(repo: string, pattern: RegExp): string[] {
  return readdirSync(join(repo, 'tmp'), { recursive: true, encoding: 'utf8' }).filter((name) => pattern.test(name));
}

/** Copies a transaction's staging directory: what a kill at this moment leaves. */
function leave(repo: Repo, { staging }: Transaction): void {
  cpSync(staging, join(repo.path, 'tmp', `staging-${readBootId()}-killed`), { recursive: true, preserveTimestamps: true });
}

for (const mode of ['archive', 'bare-user', 'bare-user-only', 'bare'] as const) {
  test(`what is left is verified before it counts: ${mode}`, { skip }, async (t) => {
    const directory = scratch(t);
    const repo = await Repo.init(join(directory, 'repo'), { mode });
    const first = await Transaction.begin(repo);
    const contents = ['small', 'other', 'x'.repeat(3_000_000), `y${'x'.repeat(3_000_000)}`].map((text) => Buffer.from(text));
    const adding = contents.map((content) => first.content().add(PLAIN, content));
    adding.push(first.content().add({ ...PLAIN, mode: 0o120777, target: 'a/link' }, Buffer.alloc(0)));
    await first.content().flush();
    const [small, other, large, largeOther, link] = (await Promise.all(adding)) as [Checksum, Checksum, Checksum, Checksum, Checksum];
    const sound = first.writeDirTree({ files: [], dirs: [] });
    const spoilt = first.writeDirMeta({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] });
    const at = (checksum: Checksum): string => join(first.staging, loosePath('file', checksum, mode));
    // Sound in themselves, and something else than their names say.
    for (const [from, to] of [
      [small, other],
      [large, largeOther],
    ] as const)
      writeFileSync(at(to), readFileSync(at(from)));
    writeFileSync(join(first.staging, loosePath('dirmeta', spoilt, mode)), 'not a dirmeta');
    writeFileSync(join(first.staging, sound.slice(0, 2), 'something-else'), '');
    await first.abort();
    assert.equal(inTmp(repo.path, /\.dirtree$/).length, 1, 'kept');

    const second = await Transaction.begin(repo);
    assert.equal(second.staging, first.staging);
    await second.commit();
    const stored = [small, large, link, other, largeOther].map((checksum) => repo.hasObject('file', checksum));
    assert.deepEqual(stored, [true, true, true, false, false]);
    assert.deepEqual([repo.hasObject('dirtree', sound), repo.hasObject('dirmeta', spoilt)], [true, false]);
    assert.match(ostree(repo.path, 'fsck'), /no errors found/);
    assert.deepEqual(inTmp(repo.path, /staging/), []);
  });
}

for (const next of ['ours', 'theirs'] as const) {
  for (const options of [{}, { fsync: false }, { perObjectFsync: true }]) {
    test(`objects that nobody verified do not outlive a kill: ${JSON.stringify(options)}, the next is ${next}`, { skip }, async (t) => {
      const directory = scratch(t);
      mkdirSync(join(directory, 'tree'));
      const repo = await Repo.init(join(directory, 'repo'), { mode: 'archive' });
      const object = join(directory, 'object');
      writeFileSync(object, Buffer.concat([encodeFilezHeader(PLAIN, 5), deflateRawSync('wrong')]));
      const first = await Transaction.begin(repo, options);
      first.linkObject('file', NAME, object, false);
      const trusted = first.content().addFilez('cd'.repeat(32) as Checksum, readFileSync(object), true);
      await first.content().flush();
      const names = [NAME, await trusted];
      // Found by who needs it now, and by nobody else.
      const onlooker = await Repo.open(repo.path);
      for (const name of names) assert.deepEqual([repo.hasObject('file', name), onlooker.hasObject('file', name)], [true, false]);
      leave(repo, first);
      await first.abort();
      assert.deepEqual([inTmp(repo.path, /killed.*\.filez$/).length, inTmp(repo.path, /\.filez$/).length], [2, 2]);
      for (let count = 0; count < 2; count++) {
        if (next === 'theirs') ostree(repo.path, 'commit', '-b', 'next', join(directory, 'tree'));
        else await (await Transaction.begin(repo)).commit();
      }
      assert.deepEqual(inTmp(repo.path, /staging/), []);
      for (const name of names) assert.equal(onlooker.hasObject('file', name), false);
      assert.match(ostree(repo.path, 'fsck'), /no errors found/);
      // To the end: whoever trusts gets what was trusted.
      const last = await Transaction.begin(repo, options);
      last.linkObject('file', NAME, object, false);
      await last.commit();
      assert.equal(onlooker.hasObject('file', NAME), true);
    });
  }
}

test('what a killed libostree trusted is not taken for verified', { skip }, async (t) => {
  const directory = scratch(t);
  const source = makeRepo(directory, 'archive');
  let lies = true;
  let asked = 0;
  const wrong = Buffer.concat([encodeFilezHeader(PLAIN, 5), deflateRawSync('wrong')]);
  const server = await startStaticServer({
    directory: source.repo,
    faults: ({ path }) => {
      if (!lies || !path.endsWith('.filez')) return undefined;
      return asked++ < 2 ? { do: 'replace', body: wrong } : { do: 'stall' };
    },
  });
  defer(t, () => server.stop());
  const repo = join(directory, 'target');
  ostree(repo, 'init', '--mode=archive');
  ostree(repo, 'remote', 'add', '--no-gpg-verify', 'origin', server.url);
  const theirs = spawn('ostree', [`--repo=${repo}`, 'pull', '--mirror', '--http-trusted', 'origin', 'main'], { stdio: 'ignore' });
  t.after(() => theirs.kill('SIGKILL'));
  const ended = new Promise((resolve) => theirs.once('close', resolve));
  const staged = (): number => inTmp(repo, /^staging-.*\.filez?$/).length;
  while (staged() < 2 && theirs.exitCode === null) await sleep(5);
  theirs.kill('SIGKILL');
  await ended;
  assert.equal(staged(), 2);
  lies = false;
  await pull(await Repo.open(repo), { remote: 'origin', refs: ['main'] });
  assert.match(ostree(repo, 'fsck'), /no errors found/);
  assert.equal(staged(), 0);
});
