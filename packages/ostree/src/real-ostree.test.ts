/** What the tests against the real `ostree` share: repositories that it made, and trees as it left them. No tests. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, lchownSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readXattrs, setXattr } from '@cambium/system';
import { S_IFMT } from '@cambium/tree';
import type { RepoMode } from './format/types.ts';

export const MODES: readonly RepoMode[] = ['archive', 'bare', 'bare-user', 'bare-user-only'];

/** Runs `ostree` in UTC and the C locale; returns its output, and throws with its words when it fails. */
export function ostree(repo: string, ...args: string[]): string {
  return execFileSync('ostree', [`--repo=${repo}`, ...args], { encoding: 'utf8', env: ENVIRONMENT, maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** As {@link ostree}, with its status, and its words on both channels. */
export function tryOstree(repo: string, args: readonly string[], cwd?: string): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync('ostree', [`--repo=${repo}`, ...args], { encoding: 'utf8', env: ENVIRONMENT, cwd, maxBuffer: 1 << 28 });
  return { status, stdout, stderr };
}

// Dummy signatures are the only ones beside gpg that Debian's ostree makes.
const ENVIRONMENT = { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8', OSTREE_DUMMY_SIGN_ENABLED: '1' };

/** Makes a tree with one of each: sizes, modes, links, attributes, names, empty and unreadable things. */
export function makeTree(root: string): void {
  const file = (name: string, content: string | Uint8Array, mode = 0o644): void => {
    writeFileSync(join(root, name), content);
    chmodSync(join(root, name), mode);
  };
  for (const name of ['', 'd', 'd/sub', 'empty', 'private']) mkdirSync(join(root, name), { recursive: true });
  file('a', 'hello\n');
  file('zero', '');
  file('é 🎉', 'unicode\n');
  file('d/exe', 'exe\n', 0o755);
  file('d/suid', 'suid\n', 0o4755);
  file('d/sub/x', 'x\n', 0o600);
  file('d/large', Buffer.alloc(1_200_000, 'abcdefghijk\n'));
  file('unreadable', 'secret\n', 0o200);
  file('private/inside', 'inside\n', 0o640);
  symlinkSync('a', join(root, 'link'));
  symlinkSync('/x/y', join(root, 'd/absolute'));
  symlinkSync('../nowhere', join(root, 'd/dangling'));
  if (process.getuid?.() === 0) {
    chownSync(join(root, 'a'), 5, 7);
    chmodSync(join(root, 'a'), 0o644);
    lchownSync(join(root, 'link'), 8, 9);
    chownSync(join(root, 'd/sub'), 11, 12);
    setXattr(join(root, 'a'), 'user.foo', Buffer.from('bar'));
    setXattr(join(root, 'd'), 'user.dir', Buffer.from('value'));
    setXattr(join(root, 'd/exe'), 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'));
  }
  chmodSync(join(root, 'empty'), 0o1777);
  chmodSync(join(root, 'private'), 0o500);
}

export interface Recorded {
  kind: number;
  mode: string;
  owner: string;
  content: string;
  xattrs: string[];
  /** `linked` when it is the same file as an object of the repository. */
  nlink: number;
  /** Whether the time is 0: others are the time of the test. */
  epoch: boolean;
}

/** Returns what stands at and below a path, by relative path. `nlink` of linked trees holds the other trees of the test too: remove them first. */
export function record(root: string): Record<string, Recorded> {
  const found: Record<string, Recorded> = {};
  const visit = (path: string, at: string): void => {
    const stat = lstatSync(path);
    const kind = stat.mode & S_IFMT;
    found[at] = {
      kind,
      mode: (stat.mode & 0o7777).toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      content: stat.isFile()
        ? createHash('sha256').update(readFileSync(path)).digest('hex')
        : stat.isSymbolicLink()
          ? readlinkSync(path)
          : stat.isCharacterDevice()
            ? `dev ${stat.rdev}`
            : '',
      xattrs: readXattrs(path).map(([name, value]) => `${Buffer.from(name).toString('latin1')}=${Buffer.from(value).toString('hex')}`),
      nlink: stat.isDirectory() ? 0 : stat.nlink,
      epoch: stat.isDirectory() || stat.isFile() ? stat.mtimeMs === 0 : false,
    };
    if (!stat.isDirectory()) return;
    for (const name of readdirSync(path).sort()) visit(join(path, name), at === '' ? name : `${at}/${name}`);
  };
  if (lstatSync(root, { throwIfNoEntry: false }) !== undefined) visit(root, '');
  return found;
}

/** Removes a tree whatever the modes of its directories. Files keep theirs: they may be links of objects. */
export function removeTree(path: string): void {
  execFileSync('find', [path, '-type', 'd', '-exec', 'chmod', 'u+rwx', '{}', ';'], { stdio: 'ignore' });
  rmSync(path, { recursive: true, force: true });
}

export interface TestRepo {
  repo: string;
  first: string;
  second: string;
  other: string;
  /** The directories that were committed, in that order. */
  trees: readonly [string, string, string];
}

/** Makes a repository with the real `ostree`: `main` of two commits of {@link makeTree} and a changed copy, and `other` of a third. */
export function makeRepo(directory: string, mode: RepoMode): TestRepo {
  const repo = join(directory, `repo-${mode}`);
  const [one, two, three] = ['one', 'two', 'three'].map((name) => join(directory, `${mode}-${name}`)) as [string, string, string];
  makeTree(one);
  execFileSync('cp', ['-a', one, two]);
  writeFileSync(join(two, 'a'), 'changed\n');
  rmSync(join(two, 'link'));
  mkdirSync(join(two, 'link'));
  rmSync(join(two, 'zero'));
  writeFileSync(join(two, 'new'), 'new\n');
  symlinkSync('q', join(two, 'd/sub/added'));
  chmodSync(join(two, 'd'), 0o700);
  execFileSync('cp', ['-a', two, three]);
  removeTree(join(three, 'd'));
  writeFileSync(join(three, 'd'), 'now a file\n');
  mkdirSync(join(three, 'nd/x/y'), { recursive: true });
  writeFileSync(join(three, 'nd/1'), '1\n');
  writeFileSync(join(three, 'nd/x/2'), '2\n');
  ostree(repo, 'init', `--mode=${mode}`);
  const first = ostree(repo, 'commit', '-b', 'main', '-s', 'First subject', '-m', 'Body line 1\n\n  Body line 3\n', '--timestamp=@1000000000', one).trim();
  const second = ostree(
    repo,
    'commit',
    '-b',
    'main',
    '--add-metadata-string=version=1.2.3',
    '--add-metadata=n=(uint32 1, <int16 2>, [byte 1])',
    '--timestamp=@1100000000',
    two,
  ).trim();
  const other = ostree(repo, 'commit', '-b', 'deep/other', '-s', 'Other', '--timestamp=@1200000000', three).trim();
  return { repo, first, second, other, trees: [one, two, three] };
}
