import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FileContextsSource, parseFileContexts } from './file-contexts.ts';
import { FileLabels } from './file-labels.ts';
import { parsePolicyConfig } from './policy-config.ts';

const FILE = 0o100644;
const DIRECTORY = 0o040755;
const LINK = 0o120777;

function labels(fileContexts: string, more: Record<string, string> = {}): FileLabels {
  const files = Object.fromEntries(Object.entries({ fileContexts, ...more }).map(([name, text]) => [name, Buffer.from(text, 'latin1')]));
  return new FileLabels(parseFileContexts(files as unknown as FileContextsSource));
}

test('the last that fits decides, and what has no wildcard before patterns', () => {
  const policy = labels('/etc/shadow exact\n/.* all\n/etc(/.*)? etc\n/etc/[^/]+ one\n/etc/x\\.d escaped\n');
  assert.deepEqual(
    ['/', '/etc', '/etc/a', '/etc/a/b', '/etc/shadow', '/etc/x.d', '/etc/xad', '/etcetera'].map((path) => policy.labelOf(path, FILE)),
    ['all', 'etc', 'one', 'etc', 'exact', 'escaped', 'one', 'all'],
  );
});

test('file types, <<none>>, and later files', () => {
  const policy = labels('/a.* any\n/a.* -d dir\n/a.*\t-l\tlink\n/ax.* <<none>>\n', { homedirs: '/ay.* home', local: '/ayy.* --  local  ignored' });
  assert.deepEqual([policy.labelOf('/ab', FILE), policy.labelOf('/ab', DIRECTORY), policy.labelOf('/ab', LINK)], ['any', 'dir', 'link']);
  assert.equal(policy.labelOf('/ax', FILE), undefined);
  assert.deepEqual([policy.labelOf('/ay', FILE), policy.labelOf('/ayy', FILE), policy.labelOf('/ayy', LINK)], ['home', 'local', 'home']);
  assert.equal(policy.labelOf('/b', FILE), undefined);
});

test('a pattern has nested repetition and a name is made to fit badly: time grows with its length', () => {
  // The first is from a real policy. Backtracking takes 2^n steps.
  const policy = labels('/lib.*\\.so(\\.[^/]*)* lib\n/(a+)+b ab\n/(x|x|x)*y xy\n');
  const dots = `/lib.so${'.'.repeat(4000)}`;
  assert.equal(policy.labelOf(`${dots}/`, FILE), 'lib');
  assert.equal(policy.labelOf(`${dots}/z`, FILE), undefined);
  assert.equal(policy.labelOf(`/${'a'.repeat(4000)}`, FILE), undefined);
  assert.equal(policy.labelOf(`/${'x'.repeat(4000)}`, FILE), undefined);
});

test('what is forgotten is found again', () => {
  // The third letter from the end decides, so that sets of positions hardly ever come twice.
  const lines = Array.from({ length: 12 }, (_, i) => `/.*a[^/]{${i + 8}} label${i}`).join('\n');
  const text = (n: number): string => `/${(n * 2654435761).toString(2).replaceAll('0', 'c').replaceAll('1', 'a')}`;
  const numbers = Array.from({ length: 1500 }, (_, i) => i * 7919 + 3);
  const expected = numbers.map((n) => {
    for (let i = 11; i >= 0; i--)
      if (
        text(n)
          .slice(1)
          .at(-(i + 9)) === 'a'
      )
        return `label${i}`;
    return undefined;
  });
  const policy = labels(lines);
  assert.deepEqual(
    numbers.map((n) => policy.labelOf(text(n), FILE)),
    expected,
  );
});

test('bytes, not characters', () => {
  const policy = labels('/d/. one\n/d/.. two\n/d/[^a]{3} three\n/d/\\xc3\\xa4x name\n/d/\\W+y other\n');
  assert.deepEqual(
    ['/d/e', '/d/é', '/d/€', '/d/äx', '/d/éy'].map((path) => policy.labelOf(path, FILE)),
    ['one', 'two', 'three', 'name', 'other'],
  );
});

test('a broken pattern matters when it would have to be tried', () => {
  const policy = labels('/a/.* a\n/b/x.*( broken\n/b/y.* y\n/c/(?=x).* look\n/c/d.* -d d\n');
  assert.equal(policy.labelOf('/a/b', FILE), 'a');
  assert.equal(policy.labelOf('/b/y', FILE), 'y');
  assert.throws(() => policy.labelOf('/b/z', FILE), { code: 'SELINUX_PATTERN_INVALID' });
  assert.throws(() => policy.labelOf('/c/d', FILE), { code: 'SELINUX_PATTERN_UNSUPPORTED' });
  assert.equal(policy.labelOf('/c/d', DIRECTORY), 'd');
});

test('files that are no file contexts', () => {
  for (const text of ['/a\n', '/a -x label\n', '/a --- label\n', '/\xe4 label\n', '/a lab\xe4l\n']) {
    assert.throws(() => labels(text), { code: 'SELINUX_POLICY_INVALID', message: /file_contexts, line 1/ }, JSON.stringify(text));
  }
  assert.throws(() => labels('/a b', { local: '#\n/a' }), { code: 'SELINUX_POLICY_INVALID', message: /file_contexts\.local, line 2/ });
  assert.equal(labels('').labelOf('/', DIRECTORY), undefined);
  assert.equal(labels('#/a b\n  \n /a b \r\n\0/a c').labelOf('/a', FILE), 'b');
});

test('more states than any policy needs', () => {
  const policy = labels('/a/((b{600}){600}){600} huge\n/b/.* b\n/c/(((){60000}){60000}){60000} empty\n');
  assert.throws(() => policy.labelOf('/c/b', FILE), { code: 'SELINUX_POLICY_TOO_LARGE' });
  assert.throws(() => policy.labelOf('/a/b', FILE), { code: 'SELINUX_POLICY_TOO_LARGE' });
  assert.equal(policy.labelOf('/b/b', FILE), 'b');
  const large = (text: string, count: number): Uint8Array => Buffer.from(text.repeat(count));
  const fileContexts = Buffer.from('/.* a\n');
  for (const source of [
    { fileContexts: large('\n', 17 * 1024 * 1024) },
    { fileContexts: large('/ x\n', 300_000) },
    { fileContexts, subs: large('/a /b\n', 20_000) },
  ]) {
    assert.throws(() => parseFileContexts(source), { code: 'SELINUX_POLICY_TOO_LARGE' });
  }
  assert.throws(() => labels(`/a ${'c'.repeat(5000)}`), { code: 'SELINUX_POLICY_INVALID' });
});

test('which policy a system uses', () => {
  const config = (text: string): string | undefined => parsePolicyConfig(Buffer.from(text, 'latin1'));
  assert.equal(config('# SELINUX=disabled\nSELINUX=Enforcing\nSELINUXTYPE= targeted \nSELINUXTYPE=mls\n'), 'mls');
  assert.equal(config('SELINUX=permissive\nSELINUXTYPE=default\nSELINUX=disabled\n'), 'default');
  for (const off of ['', 'SELINUX=disabled\nSELINUXTYPE=x\n', 'selinux=enforcing\nSELINUXTYPE=x\n', ' SELINUX=enforcing\nSELINUXTYPE=x\n'])
    assert.equal(config(off), undefined);
  for (const bad of [
    'SELINUX=enforcing\n',
    'SELINUX=enforcing\nSELINUXTYPE=../x\n',
    'SELINUX=enforcing\nSELINUXTYPE=\n',
    'SELINUX=enforcing\nSELINUXTYPE=a/b\n',
    '\xff',
  ]) {
    assert.throws(() => config(bad), { code: 'SELINUX_POLICY_INVALID' }, JSON.stringify(bad));
  }
});
