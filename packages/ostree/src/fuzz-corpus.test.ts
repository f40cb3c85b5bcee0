/** Real files of a repository that the real `ostree` made, sorted by kind, for fuzzing. No tests. */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readXattrs, setXattr } from '@cambium/system';
import { OperationWriter } from './delta/operations.ts';
import { encodePart, parsePartFile } from './delta/part.ts';
import { parseSuperblock, partObjects } from './delta/superblock.ts';
import { ostree } from './real-ostree.test.ts';

/** Makes one directory for each kind of file; `user/` is a repository that has what the delta starts from. */
export function makeCorpus(directory: string): Promise<void> {
  const [repo, user, tree] = ['repo', 'user', 'tree'].map((name) => join(directory, name)) as [string, string, string];
  let number = 0;
  const put = (kind: string, bytes: string | Uint8Array): void => {
    mkdirSync(join(directory, kind), { recursive: true });
    writeFileSync(join(directory, kind, String(number++)), bytes);
  };
  makeTree(tree);
  ostree(repo, 'init', '--mode=archive', '--collection-id=org.example.Fuzz');
  const commit = (...args: string[]): string =>
    ostree(repo, 'commit', '-b', 'main', '--generate-sizes', '--owner-uid=0', '--owner-gid=0', '--timestamp=@1000000000', ...args, tree).trim();
  const first = commit('-s', 'First', '-m', 'Body\nof it');
  writeFileSync(join(tree, 'large'), Buffer.alloc(9000, 'abcdefghij changed').fill('x', 4000, 4010));
  writeFileSync(join(tree, 'new'), 'new\n');
  const second = commit('--add-metadata-string=version=1.2.3', '--add-metadata=n=(uint32 1, <int16 2>, [byte 1])', '--add-detached-metadata-string=k=v');
  const deltas = [[`--from=${first}`], ['--empty'], ['--empty', '--inline'], [`--from=${first}`, '--disable-bsdiff', '--set-endianness=B']];
  for (const flags of deltas) {
    ostree(repo, 'static-delta', 'generate', '--min-fallback-size=1', `--to=${second}`, ...flags);
    for (const path of globSync(join(repo, 'deltas/*/*/superblock'))) {
      const bytes = readFileSync(path);
      put('superblock', bytes);
      for (const [index, header] of parseSuperblock(bytes).parts.entries()) {
        const part = join(path, '..', String(index));
        if (!existsSync(part)) continue;
        put('part', readFileSync(part));
        putParts(readFileSync(part), [...partObjects(header)].filter(({ type }) => type !== 'file').length, put);
      }
    }
  }
  ostree(repo, 'static-delta', 'reindex');
  ostree(repo, 'refs', '--create=deep/other', first);
  ostree(repo, 'summary', '-u', '--add-metadata=x.y=uint64 5');
  ostree(repo, 'remote', 'add', '--set=gpg-verify=true', '--set=branches=a;b;', '--set=tls-permissive=true', 'origin', 'https://example.org/repo', 'main');
  put('summary', readFileSync(join(repo, 'summary')));
  put('config', readFileSync(join(repo, 'config')));
  put(
    'config',
    '# comment\n[core]\nrepo_version=1\nmode=bare-user\nmin-free-space-size=500MB\ntmp-expiry-secs=60\n\n[remote "a b"]\nurl = mirrorlist=http://x/y\nsign-verify=ed25519;spki;\nk=a\\sb\\n\\;\n',
  );
  for (const [kind, pattern] of [
    ['commit', 'objects/*/*.commit'],
    ['dirtree', 'objects/*/*.dirtree'],
    ['dirmeta', 'objects/*/*.dirmeta'],
    ['filez', 'objects/*/*.filez'],
    ['commitmeta', 'objects/*/*.commitmeta'],
    ['delta-index', 'delta-indexes/*/*.index'],
  ] as const)
    for (const path of globSync(join(repo, pattern)).sort()) put(kind, readFileSync(path));
  ostree(user, 'init', '--mode=bare-user');
  ostree(user, 'pull-local', repo, first);
  for (const path of globSync(join(user, 'objects/*/*.file')).sort()) {
    for (const [name, value] of readXattrs(path)) if (Buffer.from(name).toString() === 'user.ostreemeta') put('ostreemeta', value);
  }
  sign(directory, repo, put);
  return Promise.resolve();
}

function makeTree(tree: string): void {
  mkdirSync(join(tree, 'd/sub'), { recursive: true });
  for (const [name, content] of [
    ['a', 'hello\n'],
    ['zero', ''],
    ['é 🎉', 'unicode\n'],
    ['d/exe', 'exe\n'],
    ['d/sub/x', 'x\n'],
    ['large', Buffer.alloc(9000, 'abcdefghij ')],
  ] as const)
    writeFileSync(join(tree, name), content);
  symlinkSync('a', join(tree, 'link'));
  setXattr(join(tree, 'a'), 'user.foo', Buffer.from('bar'));
  setXattr(join(tree, 'a'), 'user.goo', Buffer.alloc(300, 'value'));
  setXattr(join(tree, 'd'), 'user.dir', Buffer.from('value'));
}

/** A commit's and a summary's signatures by gpg, and by a key that is for tests. */
function sign(directory: string, repo: string, put: (kind: string, bytes: Uint8Array) => void): void {
  const home = join(directory, 'gpg');
  mkdirSync(home, { mode: 0o700 });
  const gpg = ['--homedir', home, '--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', ''];
  try {
    execFileSync('gpg', [...gpg, '--quick-generate-key', 'good@example.com', 'ed25519', 'sign', 'never'], { stdio: 'ignore' });
    ostree(repo, 'gpg-sign', `--gpg-homedir=${home}`, 'main', 'good@example.com');
    ostree(repo, 'sign', '--sign-type=dummy', 'main', 'key');
    ostree(repo, 'summary', '-u', `--gpg-homedir=${home}`, '--gpg-sign=good@example.com');
  } finally {
    execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' });
  }
  for (const path of [...globSync(join(repo, 'objects/*/*.commitmeta')), join(repo, 'summary.sig')]) put('commitmeta', readFileSync(path));
}

/** What is inside a part, and its patches; beside them parts of ours, which have what a small delta of libostree has not. */
function putParts(file: Uint8Array, metadata: number, put: (kind: string, bytes: Uint8Array) => void): void {
  const { operations } = parsePartFile(file, 1 << 20);
  put('operations', Buffer.concat([Buffer.of(metadata), operations]));
  const writer = new OperationWriter();
  writer.spliceContent(0, 0, 3, 0);
  writer.open(0, 1, 6);
  writer.write(3, 0);
  writer.write(3, 2);
  writer.close();
  put(
    'plain-part',
    encodePart({
      modes: [{ uid: 0, gid: 0, mode: 0o100644 }],
      xattrs: [[], [[Buffer.from('user.a'), Buffer.from('b')]]],
      payload: [Buffer.from('abcdef')],
      operations: writer.finish(),
    }),
  );
}
