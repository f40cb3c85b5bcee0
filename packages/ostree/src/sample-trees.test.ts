/** Trees and commits that several tests use; holds no test itself. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checksum } from '@cambium/base';
import { setXattr } from '@cambium/system';
import { commitDirectory } from './commit/commit-directory.ts';
import { writeCommitObject } from './commit/commit-object.ts';
import { MutableTree } from './commit/mutable-tree.ts';
import type { RepoMode } from './format/types.ts';
import { Repo } from './repo/repo.ts';
import type { CommitModifiers } from './write/commit-modifiers.ts';
import { Transaction, type TransactionStats } from './write/transaction.ts';

export const WRITABLE_MODES: readonly RepoMode[] = ['archive', 'bare', 'bare-user', 'bare-user-only'];

export const isRoot: boolean = process.getuid?.() === 0;

/** Runs the real program and returns its standard output. */
export function ostree(...args: string[]): string {
  return execFileSync('ostree', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** Makes a directory with everything that a commit can hold; what needs root is left out without it. */
export function makeSampleTree(root: string): void {
  mkdirSync(join(root, 'd/e/f'), { recursive: true });
  mkdirSync(join(root, 'empty-dir'));
  writeFileSync(join(root, 'a'), 'hello');
  writeFileSync(join(root, 'empty'), '');
  writeFileSync(join(root, 'd/suid'), 'x');
  symlinkSync('../a', join(root, 'd/link'));
  symlinkSync('nowhere/é\u{1F600}', join(root, 'd/dangling'));
  linkSync(join(root, 'a'), join(root, 'd/hard'));
  for (const name of ['Z', 'é', '\u{1F600}', '\ufffd', 'a-b', 'a.b', 'x'.repeat(250)]) writeFileSync(join(root, 'd/e', name), name);
  writeFileSync(join(root, 'd/compressible'), Buffer.alloc(3_000_001, 'abc'));
  writeFileSync(join(root, 'd/random'), randomBytes(5 * 1024 * 1024 + 7));
  mkdirSync(join(root, 'locked'));
  writeFileSync(join(root, 'locked/x'), '1');
  mkdirSync(join(root, 'many'));
  for (let i = 0; i < 700; i++) writeFileSync(join(root, 'many', `n${i}`), String(i % 650));
  setXattr(join(root, 'a'), 'user.zz', Buffer.from('v1'));
  setXattr(join(root, 'a'), 'user.aa', Buffer.from([0, 1, 255]));
  setXattr(join(root, 'a'), 'user.empty', Buffer.alloc(0));
  setXattr(join(root, 'd'), 'user.dir', Buffer.from('of a directory'));
  if (isRoot) {
    setXattr(join(root, 'd/link'), 'trusted.link', Buffer.from('of a symlink'));
    chownSync(join(root, 'd/suid'), 5, 4_000_000_000);
    chmodSync(join(root, 'locked/x'), 0);
    chmodSync(join(root, 'locked'), 0);
  }
  chmodSync(join(root, 'd/suid'), 0o6711);
  chmodSync(join(root, 'd/e'), 0o3777);
}

export interface OurCommit {
  checksum: Checksum;
  stats: TransactionStats;
  repo: Repo;
}

/** Commits a directory as `ostree commit -b main -s subject --timestamp=@1234567` does. */
export async function commitOurs(repoPath: string, mode: RepoMode, directory: string, modifiers: CommitModifiers = {}, workers?: number): Promise<OurCommit> {
  const repo = await Repo.init(repoPath, { mode });
  await using transaction = await Transaction.begin(repo, { workers });
  const tree = MutableTree.empty();
  await commitDirectory(transaction, tree, directory, modifiers);
  const root = tree.write(transaction);
  const parent = repo.refs.read('main');
  const checksum = writeCommitObject(transaction, {
    root,
    parent,
    subject: 'subject',
    timestamp: 1_234_567n,
    bindRefs: ['main'],
    collectionId: repo.settings.collectionId,
  });
  transaction.setRef('main', checksum);
  return { checksum, stats: await transaction.commit(), repo };
}

/** The same by the real program. */
export function commitReal(repoPath: string, mode: RepoMode, directory: string, ...options: string[]): string {
  ostree(`--repo=${repoPath}`, 'init', `--mode=${mode}`);
  return ostree(`--repo=${repoPath}`, 'commit', '--fsync=false', '-b', 'main', '-s', 'subject', '--timestamp=@1234567', ...options, `--tree=dir=${directory}`);
}
