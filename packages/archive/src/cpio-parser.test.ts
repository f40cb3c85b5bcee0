import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import { needsPeer, scratch } from '@cambium/testkit';
import fc from 'fast-check';
import { CpioParser, isCpio } from './cpio-parser.ts';
import type { TarEntry, TarLimits } from './tar-entry.ts';

const FORMATS = ['newc', 'crc', 'odc', 'bin'] as const;

function read(archive: Uint8Array, step: number, limits?: TarLimits): { entry: TarEntry; content: string }[] {
  const found: { entry: TarEntry; content: string }[] = [];
  const parser = new CpioParser(
    {
      entry: (entry) => void found.push({ entry, content: '' }),
      data: (chunk) => {
        (found.at(-1) as { content: string }).content += Buffer.from(chunk).toString('latin1');
      },
      entryEnd: () => undefined,
    },
    limits,
  );
  for (let at = 0; at < archive.length; at += step) parser.write(archive.subarray(at, at + step));
  parser.end();
  return found;
}

function archiveOf(directory: string, format: string): Buffer {
  const done = spawnSync('cpio', ['-o', '-H', format, '--quiet'], { cwd: directory, input: '.\nd\nd/one\nd/two\nd/empty\nd/empty2\nlink\nlonger-name\n' });
  assert.equal(done.status, 0, done.stderr.toString());
  return done.stdout;
}

function makeTree(directory: string): void {
  mkdirSync(join(directory, 'd'), { mode: 0o750 });
  writeFileSync(join(directory, 'd/one'), 'content', { mode: 0o640 });
  linkSync(join(directory, 'd/one'), join(directory, 'd/two'));
  writeFileSync(join(directory, 'd/empty'), '');
  linkSync(join(directory, 'd/empty'), join(directory, 'd/empty2'));
  symlinkSync('d/one', join(directory, 'link'));
  writeFileSync(join(directory, 'longer-name'), 'x'.repeat(3001));
}

test('archives of GNU cpio, in every form and however they come', { skip: needsPeer('cpio') }, (t) => {
  const directory = scratch(t);
  makeTree(directory);
  for (const format of FORMATS) {
    const archive = archiveOf(directory, format);
    assert.ok(isCpio(archive), format);
    for (const step of [1, 7, archive.length]) {
      const found = read(archive, step);
      const byPath = new Map(found.map((item) => [Buffer.from(item.entry.path).toString(), item]));
      assert.deepEqual([...byPath.keys()].sort(), ['.', 'd', 'd/empty', 'd/empty2', 'd/one', 'd/two', 'link', 'longer-name'], format);
      assert.equal(byPath.get('d')?.entry.type, 'directory');
      assert.equal(byPath.get('d')?.entry.mode, 0o750);
      assert.equal(byPath.get('longer-name')?.content, 'x'.repeat(3001));
      assert.equal(Buffer.from(byPath.get('link')?.entry.linkPath ?? []).toString(), 'd/one');
      // What is read first of a file with several names has the content; the others are links to it, or have it as well.
      for (const [a, b, content] of [
        ['d/one', 'd/two', 'content'],
        ['d/empty', 'd/empty2', ''],
      ] as const) {
        const pair = [byPath.get(a), byPath.get(b)];
        const file = pair.find((item) => item?.entry.type === 'file');
        assert.equal(file?.content, content, format);
        for (const item of pair) {
          if (item?.entry.type === 'hardlink') assert.deepEqual(item.entry.linkPath, file?.entry.path);
          else assert.equal(item?.content, content);
        }
      }
    }
  }
});

test('a cut archive, a wrong checksum, and limits', { skip: needsPeer('cpio') }, (t) => {
  const directory = scratch(t);
  makeTree(directory);
  const archive = archiveOf(directory, 'crc');
  assert.throws(() => read(archive.subarray(0, 300), 100), { code: 'ARCHIVE_CPIO_TRUNCATED' });
  const damaged = Buffer.from(archive);
  damaged[damaged.indexOf('xxxx') + 2] = 0x79;
  assert.throws(() => read(damaged, 100), { code: 'ARCHIVE_CPIO_INVALID' });
  assert.throws(() => read(archive, 100, { maxEntries: 3 }), { code: 'ARCHIVE_CPIO_TOO_LARGE' });
  assert.throws(() => read(archive, 100, { maxTotalBytes: 100 }), { code: 'ARCHIVE_CPIO_TOO_LARGE' });
  assert.throws(() => read(Buffer.from('070701zzzzzzzz'.padEnd(110, '0')), 100), { code: 'ARCHIVE_CPIO_INVALID' });
});

test('any bytes end in an error with a code, or are an archive', { skip: needsPeer('cpio') }, (t) => {
  const directory = scratch(t);
  makeTree(directory);
  const archives = FORMATS.map((format) => archiveOf(directory, format));
  fc.assert(
    fc.property(fc.constantFrom(...archives), fc.nat(), fc.nat(255), fc.integer({ min: 1, max: 2000 }), (archive, at, value, step) => {
      const changed = Buffer.from(archive);
      changed[at % Math.min(changed.length, 1200)] = value;
      try {
        read(changed, step);
      } catch (error) {
        assert.ok(isKnownError(error), String(error));
      }
    }),
    { numRuns: 500 },
  );
});
