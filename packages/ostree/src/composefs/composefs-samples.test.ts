/** Commits whose composefs images are known; holds no test itself. */
import type { Checksum } from '@cambium/base';
import { S_IFDIR, S_IFLNK, S_IFREG, type Xattr } from '@cambium/tree';
import { writeCommitObject } from '../commit/commit-object.ts';
import { MutableTree } from '../commit/mutable-tree.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';

export interface Sample {
  uid?: number;
  gid?: number;
  mode?: number;
  xattrs?: Readonly<Record<string, string>>;
  /** Content of a file, target of a symlink, entries of a directory. */
  file?: string | Uint8Array;
  link?: string;
  entries?: Readonly<Record<string, Sample>>;
}

export async function commitSample(path: string, sample: Sample): Promise<{ repo: Repo; commit: Checksum }> {
  const repo = await Repo.init(path, { mode: 'archive' });
  await using transaction = await Transaction.begin(repo);
  const root = await writeSample(transaction, sample);
  const commit = writeCommitObject(transaction, { root: root.write(transaction), timestamp: 9n });
  await transaction.commit();
  return { repo, commit };
}

export async function writeSample(transaction: Transaction, sample: Sample): Promise<MutableTree> {
  const { uid = 0, gid = 0, mode = 0o755 } = sample;
  const tree = MutableTree.empty();
  tree.meta = transaction.writeDirMeta({ uid, gid, mode: S_IFDIR | mode, xattrs: xattrsOf(sample) });
  const writer = transaction.content();
  const files: [string, Promise<Checksum>][] = [];
  for (const [name, entry] of Object.entries(sample.entries ?? {})) {
    if (entry.entries !== undefined) tree.setDirectory(name, await writeSample(transaction, entry));
    else files.push([name, writer.add(headerOf(entry), Buffer.from(entry.file ?? ''))]);
  }
  await writer.flush();
  for (const [name, checksum] of files) tree.setFile(name, await checksum);
  return tree;
}

function headerOf(sample: Sample): Parameters<ReturnType<Transaction['content']>['add']>[0] {
  const { uid = 0, gid = 0, link } = sample;
  const mode = link === undefined ? S_IFREG | (sample.mode ?? 0o644) : S_IFLNK | 0o777;
  return { uid, gid, mode, target: link ?? '', xattrs: xattrsOf(sample) };
}

function xattrsOf({ xattrs = {} }: Sample): Xattr[] {
  const sorted = Object.entries(xattrs).sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, value]): Xattr => [new Uint8Array(Buffer.from(name)), new Uint8Array(Buffer.from(value))]);
}

const LABEL = { 'security.selinux': 'system_u:object_r:usr_t:s0\0' };

export const SMALL: Sample = { entries: { usr: { entries: { hello: { file: 'hello\n' }, link: { link: 'hello' } } } } };

/** Everything that the format has a rule about. */
export const VARIED: Sample = {
  uid: 1,
  xattrs: LABEL,
  entries: {
    '00': { file: 'where the first directory of objects would show' },
    fe: { entries: {} },
    etc: { link: 'usr/etc' },
    '!before-the-dots': { file: '', xattrs: LABEL },
    usr: {
      xattrs: { ...LABEL, 'system.posix_acl_default': 'not looked at' },
      entries: {
        empty: { file: '' },
        owner: { file: 'x', uid: 70_000, gid: 65_535, mode: 0o4711 },
        big: { file: Buffer.alloc(128 * 4096 + 1, 'abc') },
        exact: { file: Buffer.alloc(4096, 'd') },
        long: { link: 'a/'.repeat(1250) },
        longer: { link: 'b/'.repeat(1750) },
        same: { file: 'x', mode: 0o755, xattrs: { 'user.note': 'shared', 'user.other': 'v'.repeat(300) } },
        other: { file: 'y', mode: 0o755, xattrs: { 'user.note': 'shared', 'trusted.overlay.opaque': 'y', 'a name of no kind': 'z' } },
        ...Object.fromEntries(['é', '\u{1F600}', '\ufffd', '-', '~'].map((name) => [name, { file: name }])),
      },
    },
    half: { entries: numbered(100, 9) },
    blocks: { entries: numbered(420, 17) },
  },
};

function numbered(count: number, width: number): Record<string, Sample> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [String(i).padStart(width, 'n'), { file: `content ${i % 40}`, xattrs: LABEL }]));
}

/** With a symlink that needs a block: libostree 2026.4 stops with a failed assertion, mkcomposefs writes it. */
export const LONG_LINK: Sample = { entries: { link: { link: 'x'.repeat(4090) }, after: { link: 'short' } } };
