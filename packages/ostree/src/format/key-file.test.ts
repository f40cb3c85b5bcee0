import assert from 'node:assert/strict';
import test from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { parseRepoSettings } from '../repo/repo-config.ts';
import { KeyFile } from './key-file.ts';

const SAMPLE = `# top
[core]
repo_version=1
mode = archive-z2
# between

[remote "origin"]
url=https://example.org/repo\\sx
branches=main;other\\;one;
`;

test('values are read with escapes, lists and spaces', () => {
  const file = KeyFile.parse(SAMPLE);
  assert.deepEqual(file.groups(), ['core', 'remote "origin"']);
  assert.equal(file.string('core', 'mode'), 'archive-z2');
  assert.equal(file.string('remote "origin"', 'url'), 'https://example.org/repo x');
  assert.deepEqual(file.list('remote "origin"', 'branches'), ['main', 'other;one']);
  assert.equal(file.integer('core', 'repo_version'), 1);
  assert.equal(file.boolean('core', 'repo_version'), true);
  assert.equal(file.string('core', 'absent'), undefined);
  assert.throws(() => file.boolean('core', 'mode'), { code: 'OSTREE_CONFIG_INVALID' });
});

test('writing changes only what was set', () => {
  const file = KeyFile.parse(SAMPLE);
  assert.equal(file.toString(), SAMPLE);
  file.set('core', 'mode', 'bare');
  file.set('core', 'fsync', 'false');
  file.set('new', 'k', ' lead\ttab\n');
  assert.equal(file.unset('remote "origin"', 'url'), true);
  assert.equal(
    file.toString(),
    '# top\n[core]\nrepo_version=1\nmode=bare\nfsync=false\n# between\n\n[remote "origin"]\nbranches=main;other\\;one;\n\n[new]\nk=\\slead\\ttab\\n\n',
  );
  assert.equal(file.string('new', 'k'), ' lead\ttab\n');
  assert.equal(file.removeGroup('new'), true);
  assert.equal(file.has('new'), false);
  assert.equal(file.toString(), '# top\n[core]\nrepo_version=1\nmode=bare\nfsync=false\n# between\n\n[remote "origin"]\nbranches=main;other\\;one;\n');
});

test('what is no key file is refused with the line', () => {
  for (const text of ['key=1\n', '[core]\nnonsense\n', '[core\n', '[a]\n=x\n', '[a]b\n']) {
    assert.throws(() => KeyFile.parse(text), { code: 'OSTREE_CONFIG_INVALID' }, text);
  }
  assert.throws(() => KeyFile.parse('[a]\nk=\\q\n').string('a', 'k'), { code: 'OSTREE_CONFIG_INVALID' });
});

test('any value survives, any text gives a document or a known error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (value) => {
      const file = new KeyFile();
      file.set('g', 'k', value);
      assert.equal(KeyFile.parse(file.toString()).string('g', 'k'), value);
    }),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        assert.equal(typeof KeyFile.parse(text).toString(), 'string');
      } catch (error) {
        assert.ok(isKnownError(error));
      }
    }),
  );
});

test("settings have libostree's defaults and refuse what it refuses", () => {
  const settings = (extra: string): ReturnType<typeof parseRepoSettings> => parseRepoSettings(KeyFile.parse(`[core]\nrepo_version=1\n${extra}`), 'r');
  assert.deepEqual(settings('').mode, 'bare');
  assert.deepEqual(settings('').minFreeSpace, { percent: 3 });
  assert.deepEqual(settings('min-free-space-size=2GB\n').minFreeSpace, { bytes: 2 * 2 ** 30 });
  assert.equal(settings('[archive]\nzlib-level=12\n').zlibLevel, 9);
  for (const bad of ['mode=other\n', 'archive=true\n', 'min-free-space-percent=100\n', 'min-free-space-size=1KB\n', 'collection-id=x\n', 'fsync=maybe\n'])
    assert.throws(() => settings(bad), bad);
  assert.throws(() => parseRepoSettings(KeyFile.parse('[core]\nmode=bare\n'), 'r'), { code: 'OSTREE_REPO_UNSUPPORTED' });
});

test('what was read and written is read the same, two carriage returns at the end of a line too', () => {
  const file = KeyFile.parse('[a]\r\r\nx=1\r\r\ny=2\r\n# z\r\r\n');
  assert.deepEqual([file.raw('a', 'x'), file.raw('a', 'y')], ['1\r', '2']);
  const again = KeyFile.parse(file.toString());
  assert.deepEqual([again.raw('a', 'x'), again.raw('a', 'y'), again.toString()], ['1\r', '2', file.toString()]);
});
