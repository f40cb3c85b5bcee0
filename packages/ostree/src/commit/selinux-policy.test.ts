import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { FileLabels } from '@cambium/selinux';
import { scratch } from '@cambium/testkit';
import { commitOurs } from '../sample-trees.test.ts';
import { readCommitSelinuxPolicy, readSelinuxPolicy, type SelinuxPolicy } from './selinux-policy.ts';

const FILES: Readonly<Record<string, string>> = {
  config: 'SELINUX=enforcing\nSELINUXTYPE=test\n',
  'test/contexts/files/file_contexts': '/.* base\n',
  'test/contexts/files/file_contexts.homedirs': '/home/.* home\n',
  'test/contexts/files/file_contexts.local': '/local/.* local\n',
  'test/contexts/files/file_contexts.subs': '/sub /home\n',
  'test/contexts/files/file_contexts.subs_dist': '/dist /local\n',
  'test/policy/policy.33': '',
};

/** Writes a policy below a root; returns the root. */
function policyIn(root: string, at: string, overrides: Record<string, string> = {}): string {
  for (const [name, content] of Object.entries({ ...FILES, ...overrides })) {
    mkdirSync(dirname(join(root, at, name)), { recursive: true });
    writeFileSync(join(root, at, name), content);
  }
  return root;
}

function labelsOf(policy: SelinuxPolicy | undefined): unknown[] {
  assert.ok(policy !== undefined);
  const labels = new FileLabels(policy.contexts);
  return [policy.name, ...['/x', '/home/x', '/local/x', '/sub/x', '/dist/x'].map((path) => labels.labelOf(path, 0o100644))];
}

const EXPECTED = ['test', 'base', 'home', 'local', 'home', 'local'];

test('the policy of a directory', (t) => {
  const root = scratch(t);
  assert.equal(readSelinuxPolicy(root), undefined);
  policyIn(root, 'usr/etc/selinux');
  assert.deepEqual(labelsOf(readSelinuxPolicy(root)), EXPECTED);
  policyIn(root, 'etc/selinux', { 'test/contexts/files/file_contexts': '/.* first\n' });
  assert.deepEqual(labelsOf(readSelinuxPolicy(root)), ['test', 'first', ...EXPECTED.slice(2)]);
  rmSync(join(root, 'etc/selinux/config'));
  assert.equal(readSelinuxPolicy(root), undefined);
  assert.throws(() => readSelinuxPolicy(join(root, 'usr/etc/selinux/config')), { code: 'SELINUX_POLICY_INVALID' });
  assert.throws(() => readSelinuxPolicy(join(root, 'nowhere')), { code: 'ENOENT' });
});

test('a policy that lacks something, or is no files', (t) => {
  const root = scratch(t);
  for (const [name, change] of Object.entries({
    'test/contexts/files/file_contexts': (path: string) => rmSync(path),
    'test/policy/policy.33': (path: string) => rmSync(path),
    config: (path: string) => {
      // Opening it would wait for a writer.
      rmSync(path);
      execFileSync('mkfifo', [path]);
    },
    'test/contexts/files/file_contexts.subs': (path: string) => {
      rmSync(path);
      mkdirSync(path);
    },
    'test/contexts/files/file_contexts.local': (path: string) => writeFileSync(path, '/a\n'),
  })) {
    rmSync(join(root, 'etc'), { recursive: true, force: true });
    policyIn(root, 'etc/selinux');
    change(join(root, 'etc/selinux', name));
    assert.throws(() => readSelinuxPolicy(root), { code: 'SELINUX_POLICY_INVALID' }, name);
  }
  writeFileSync(join(root, 'etc/selinux/test/contexts/files/file_contexts.local'), Buffer.alloc(17 * 1024 * 1024));
  rmSync(join(root, 'etc/selinux/test/contexts/files/file_contexts.subs'), { recursive: true });
  assert.throws(() => readSelinuxPolicy(root), { code: 'SELINUX_POLICY_TOO_LARGE' });
});

test('the policy of a commit, with links between its files and none out of them', async (t) => {
  const at = scratch(t);
  const read = async (source: string, name: string): Promise<SelinuxPolicy | undefined> => {
    const { repo, checksum } = await commitOurs(join(at, name), 'archive', source);
    return readCommitSelinuxPolicy(repo, repo.readCommit(checksum).root);
  };
  // Only there, as a deployment has it.
  assert.equal(await read(policyIn(join(at, 'a'), 'etc/selinux'), 'ra'), undefined);
  const source = policyIn(join(at, 'b'), 'usr/etc/selinux');
  assert.deepEqual(labelsOf(await read(source, 'rb')), EXPECTED);
  const files = join(source, 'usr/etc/selinux/test/contexts/files');
  writeFileSync(join(source, 'usr/etc/selinux/real'), '/.* linked\n');
  writeFileSync(join(source, 'outside'), '/home/.* outside\n');
  for (const [name, target] of Object.entries({
    file_contexts: '../../../real',
    'file_contexts.homedirs': '../../../../../../outside',
    'file_contexts.local': '/usr/etc/selinux/real',
    'file_contexts.subs': 'file_contexts.subs',
  })) {
    rmSync(join(files, name));
    symlinkSync(target, join(files, name));
  }
  assert.deepEqual(labelsOf(await read(source, 'rc')), ['test', 'linked', 'linked', 'linked', 'linked', 'linked']);
  rmSync(join(source, 'usr/etc'), { recursive: true });
  writeFileSync(join(source, 'usr/etc'), 'a file');
  assert.equal(await read(source, 'rd'), undefined);
});
