import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { byteswapped } from './byteswap.ts';
import { codec } from './codec.ts';
import { parseVariantText } from './parse-text.ts';
import { printVariant } from './print.ts';
import { Variant } from './variant.ts';

const hasOstree = spawnSync('ostree', ['--version']).status === 0;

type Commit = [metadata: [string, Variant][], ...rest: unknown[]];
const commit = codec<Commit>('(a{sv}aya(say)sstayay)');

const TEXTS = [
  'uint32 7',
  "{'x': <[byte 1, 2]>, 'y': <(1, true)>}",
  '@as []',
  '@mi just 3',
  "b'a\\n'",
  '1.5',
  '-3',
  'int64 -3',
  '[int16 -2, 5]',
  '<<uint64 9>>',
  '\'é \\u200b "quoted"\'',
  "[('a', handle 3), ('b', 4)]",
  '(@mmi just nothing, @ay [], @a{sv} {}, objectpath "/a", signature "ay")',
];

test('ostree reads the same values from texts, and prints the same texts of objects', hasOstree ? {} : { skip: 'ostree is not installed' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'cambium-gvariant-'));
  try {
    const repo = join(folder, 'repo');
    mkdirSync(join(folder, 'empty'));
    execFileSync('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
    const metadata = TEXTS.map((text, i) => `--add-metadata=k${i}=${text}`);
    const checksum = execFileSync('ostree', [`--repo=${repo}`, 'commit', '-b', 'main', ...metadata, `--tree=dir=${join(folder, 'empty')}`], {
      encoding: 'utf8',
    }).trim();
    const bytes = readFileSync(join(repo, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.commit`));
    const value = commit.decode(bytes);
    assert.deepEqual(Buffer.from(commit.encode(value)), bytes);

    const expected = TEXTS.map((text, i) => [`k${i}`, parseVariantText(text)]);
    assert.deepEqual(value[0], [...expected, ['ostree.ref-binding', new Variant('as', ['main'])]]);

    const shown = (...options: string[]): string =>
      execFileSync('ostree', [`--repo=${repo}`, 'show', '--raw', ...options, checksum], { encoding: 'utf8' }).split('\n')[1] ?? '';
    assert.equal(printVariant(commit.type, byteswapped(commit.type, value), true), shown());
    assert.equal(printVariant(commit.type, value, true), shown('-B'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
