/** Summaries made here, as real `ostree` reads them, and beside its own. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, scratch } from '@cambium/testkit';
import { parseMetadata } from '../format/commit-format.ts';
import { encodeSummary, parseSummary, type Summary, summaryDeltas } from '../format/summary.ts';
import { commitRepoMetadata } from '../publish/repo-metadata.ts';
import { ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { formatRawSummary, formatSummary } from '../show/summary-text.ts';
import { Transaction } from '../write/transaction.ts';
import { autoUpdateSummary, readSummaryFile, regenerateSummary, SUMMARY_SIGNATURE_FILE } from './summary-write.ts';

const skip = firstReason(needsPeer('ostree'));

function makeTree(directory: string): string {
  const tree = join(directory, 'tree');
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, 'a'), `${Math.random()}\n`);
  return tree;
}

function summaryOf(repo: Repo): Summary {
  return parseSummary(readSummaryFile(repo) as Uint8Array);
}

/** What does not depend on the moment, and on the order of a hash table. */
function comparable(summary: Summary): unknown {
  const stable = summary.metadata.filter(([key]) => !/last-modified|static-deltas/.test(key));
  return {
    refs: summary.refs,
    collections: [...summary.collections],
    deltas: new Map([...summaryDeltas(summary)].sort()),
    metadata: new Map(stable),
  };
}

for (const collection of [undefined, 'org.example.Own']) {
  test(`the same summary as libostree's, ${collection === undefined ? 'without' : 'with'} collections`, { skip }, async (t) => {
    const directory = scratch(t);
    const path = join(directory, 'repo');
    ostree(path, 'init', '--mode=archive', ...(collection === undefined ? [] : [`--collection-id=${collection}`]));
    ostree(path, 'commit', '-b', 'main', makeTree(directory));
    ostree(path, 'commit', '-b', 'main', '--add-metadata-string=version=1.2', makeTree(directory));
    ostree(path, 'commit', '-b', 'app/é', '--timestamp=@1600000000', makeTree(directory));
    ostree(path, 'refs', '--alias', '--create=stable', 'main');
    ostree(path, 'static-delta', 'generate', 'main');
    ostree(path, 'static-delta', 'generate', '--empty', 'main');
    mkdirSync(join(path, 'refs/mirrors/org.other.B/x'), { recursive: true });
    mkdirSync(join(path, 'refs/mirrors/org.other.A'), { recursive: true });
    for (const ref of ['B/x/one', 'A/two']) writeFileSync(join(path, `refs/mirrors/org.other.${ref}`), readFileSync(join(path, 'refs/heads/main')));
    ostree(path, 'summary', '--update', '--add-metadata=some.key="x"');
    const repo = await Repo.open(path);
    const theirs = summaryOf(repo);
    const indexes = readIndexes(path);
    assert.ok(theirs.refs.length >= 3 && indexes.size === 1);
    // What libostree shows of its own summary, byte for byte.
    assert.equal(formatSummary(theirs), ostree(path, 'summary', '--view'));
    assert.equal(formatRawSummary(theirs), ostree(path, 'summary', '--raw'));
    writeFileSync(join(path, SUMMARY_SIGNATURE_FILE), 'of another summary');
    const bytes = await regenerateSummary(repo, { metadata: [['some.key', new Variant('s', 'x')]], lastModified: 1_700_000_000n });
    assert.equal(existsSync(join(path, SUMMARY_SIGNATURE_FILE)), false);
    assert.deepEqual(readFileSync(join(path, 'summary')), Buffer.from(bytes));
    assert.deepEqual(comparable(summaryOf(repo)), comparable(theirs));
    assert.deepEqual(readIndexes(path), indexes);
    assert.equal(formatSummary(summaryOf(repo)), ostree(path, 'summary', '--view'));
    assert.equal(formatRawSummary(summaryOf(repo)), ostree(path, 'summary', '--raw'));
    assert.match(ostree(path, 'summary', '--view'), /Last-Modified.*: 2023-11-14T22:13:20\+00/);
    // The same state, the same bytes.
    assert.deepEqual(await regenerateSummary(repo, { metadata: [['some.key', new Variant('s', 'x')]], lastModified: 1_700_000_000n }), bytes);
    assert.deepEqual(
      readdirSync(join(path, 'tmp')).filter((name) => name.startsWith('summary')),
      [],
    );
    // A client finds the refs by it.
    const client = join(directory, 'client');
    ostree(client, 'init', '--mode=archive');
    ostree(client, 'remote', 'add', '--no-gpg-verify', 'origin', `file://${path}`);
    assert.deepEqual(ostree(client, 'remote', 'refs', 'origin').trim().split('\n').sort(), [...repo.refs.list().keys()].map((ref) => `origin:${ref}`).sort());
  });
}

/** The indexes without the deltas' order. */
function readIndexes(path: string): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const directory of readdirSync(join(path, 'delta-indexes'))) {
    for (const name of readdirSync(join(path, 'delta-indexes', directory))) {
      const bytes = readFileSync(join(path, 'delta-indexes', directory, name));
      found.set(directory + name, new Map([...summaryDeltas({ metadata: parseMetadata(bytes) })].sort()));
    }
  }
  return found;
}

test('additional keys cannot replace those made here; expiry is shown', { skip }, async (t) => {
  const directory = scratch(t);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  ostree(path, 'commit', '-b', 'main', makeTree(directory));
  const repo = await Repo.open(path);
  const expires = new Variant('t', Buffer.from('000000006553f100', 'hex').readBigUInt64LE());
  await regenerateSummary(repo, {
    metadata: [
      ['ostree.summary.mode', new Variant('s', 'bare')],
      ['twice', new Variant('u', 1)],
      ['twice', new Variant('u', 2)],
      ['ostree.summary.expires', expires],
    ],
  });
  const text = ostree(path, 'summary', '--view');
  assert.match(text, /Repository Mode \(ostree.summary.mode\): archive-z2\n/);
  assert.match(text, /^twice: 2$/m);
  assert.match(text, /^Expires \(ostree.summary.expires\): 2023-11-14T22:13:20\+00$/m);
  assert.equal(formatSummary(summaryOf(repo)), text);
});

test('a failing signer, or a ref without its commit, leaves the old summary', { skip }, async (t) => {
  const directory = scratch(t);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  ostree(path, 'commit', '-b', 'main', makeTree(directory));
  ostree(path, 'summary', '--update');
  writeFileSync(join(path, SUMMARY_SIGNATURE_FILE), 'kept');
  const before = readFileSync(join(path, 'summary'));
  const repo = await Repo.open(path);
  const reason = new Error('no key');
  await assert.rejects(regenerateSummary(repo, { sign: () => Promise.reject(reason) }), (error) => error === reason);
  await assert.rejects(regenerateSummary(repo, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  repo.refs.write('gone', 'ab'.repeat(32) as Checksum);
  await assert.rejects(regenerateSummary(repo), { code: 'OSTREE_OBJECT_MISSING' });
  assert.deepEqual(readFileSync(join(path, 'summary')), before);
  assert.equal(readFileSync(join(path, SUMMARY_SIGNATURE_FILE), 'utf8'), 'kept');
});

test('core.auto-update-summary: after refs changed, and then only', { skip }, async (t) => {
  const directory = scratch(t);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  const commit = ostree(path, 'commit', '-b', 'main', makeTree(directory)).trim() as Checksum;
  await autoUpdateSummary(await Repo.open(path));
  assert.equal(existsSync(join(path, 'summary')), false);
  ostree(path, 'config', 'set', 'core.auto-update-summary', 'true');
  const repo = await Repo.open(path);
  const transaction = await Transaction.begin(repo, { workers: 0 });
  await transaction.commit();
  assert.equal(existsSync(join(path, 'summary')), false);
  const second = await Transaction.begin(repo, { workers: 0 });
  second.setRef('copy', commit);
  await second.commit();
  assert.deepEqual(
    summaryOf(repo).refs.map(({ ref }) => ref),
    ['copy', 'main'],
  );
});

test('the commit of ostree-metadata', { skip }, async (t) => {
  const directory = scratch(t);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive', '--collection-id=org.example.C');
  const repo = await Repo.open(path);
  const first = await commitRepoMetadata(repo, { metadata: [['k', new Variant('s', 'v')]], timestamp: 1_600_000_000n });
  const second = await commitRepoMetadata(repo, { timestamp: 1_600_000_001n });
  assert.equal(ostree(path, 'rev-parse', 'ostree-metadata^').trim(), first);
  assert.equal(ostree(path, 'show', '--print-metadata-key=ostree.collection-binding', second), "'org.example.C'\n");
  assert.equal(ostree(path, 'show', '--print-metadata-key=k', first), "'v'\n");
  ostree(path, 'fsck');
  // libostree's own stands on ours.
  ostree(path, 'summary', '--update');
  assert.equal(ostree(path, 'rev-parse', 'ostree-metadata^').trim(), second);
  const { root } = repo.readCommit(second);
  assert.deepEqual(repo.readCommit(repo.refs.resolve('ostree-metadata')).root, root);
  assert.deepEqual(Buffer.from(encodeSummary(summaryOf(repo))), readFileSync(join(path, 'summary')));
});
