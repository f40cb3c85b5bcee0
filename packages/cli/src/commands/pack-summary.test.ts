/** What pack says at its end, for people and for programs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PackedImage, PackResult } from '@cambium/compose';
import { createUi } from '../ui.ts';
import { printPackSummary } from './pack-summary.ts';

function said(result: PackResult, json = false): Promise<{ stdout: string; stderr: string }> {
  const texts = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr'): { write(data: string | Uint8Array, done?: () => void): boolean } => ({
    write: (data, done) => {
      texts[name] += String(data);
      done?.();
      return true;
    },
  });
  const ui = createUi({ stdout: sink('stdout'), stderr: sink('stderr'), quiet: false, verbose: false, json, progress: 'none' });
  printPackSummary(result, { compose: 'shop/docker-compose.yml', seconds: 1.23456, ui });
  return ui.flush().then(() => texts);
}

const layer = (known: boolean): PackedImage['layers'][number] => ({ diffId: 'sha256:a', digest: 'sha256:b', sizeBytes: 1000, known });

function image(reference: string, fetchBytes: number): PackedImage {
  return {
    reference,
    services: ['s'],
    pinned: `${reference}@sha256:c`,
    digest: 'sha256:c',
    platform: 'linux/amd64',
    layers: [layer(true), layer(fetchBytes === 0)],
    fetchBytes,
    estimatedWriteBytes: fetchBytes,
    skipped: fetchBytes === 0 ? [] : [{ path: 'dev/null', kind: 'char' }],
  };
}

function result(more: Partial<PackResult> = {}): PackResult {
  return {
    branch: 'apps/shop',
    app: 'shop',
    repoPath: '/repo',
    repoCreated: false,
    unchanged: false,
    dryRun: false,
    images: [image('web:1', 5000), image('database:1', 0)],
    fetchBytes: 5000,
    estimatedWriteBytes: 6000,
    hostPaths: [],
    leftOut: [],
    notPacked: [],
    variableFiles: [],
    composeForm: 'as-written',
    variables: [],
    ...more,
  };
}

test('a dry run says per image and in all what would be fetched and written', async () => {
  const { stdout, stderr } = await said(result({ dryRun: true }));
  assert.equal(stderr, '');
  assert.deepEqual(stdout.split('\n'), [
    'web:1       2 layers, 1 known     5.0 kB to fetch, about 5.0 kB to write',
    'database:1  2 layers, 2 known     0 B to fetch, 0 B to write',
    "Total: 5.0 kB to fetch, about 6.0 kB to write for 2 images and the app's own files",
    '',
  ]);
});

test('after a pack only the checksum is on stdout', async () => {
  const commit = 'c'.repeat(64) as NonNullable<PackResult['commit']>;
  const stats = {
    metadataTotal: 5,
    metadataWritten: 2,
    contentTotal: 10,
    contentWritten: 3,
    contentBytesWritten: 9,
    storedBytesWritten: 2000,
    devInoCacheHits: 0,
  };
  const { stdout, stderr } = await said(result({ commit, stats }));
  assert.equal(stdout, `${commit}\n`);
  assert.match(stderr, /web:1: 1 special file left out \(--verbose lists them\)/);
  assert.match(stderr, /Objects: 5 new, 10 shared; 2\.0 kB written/);
  assert.match(stderr, /5\.0 kB fetched in 1\.2 s/);
  assert.match(stderr, /Imported shop\/docker-compose\.yml to apps\/shop/);
  assert.match((await said(result({ commit, stats, unchanged: true }))).stderr, /^unchanged: /m);
});

test('what travels and what does not is said, before and after a pack', async () => {
  const files: Partial<PackResult> = {
    hostPaths: [{ path: '/srv/x', key: 'services.s.volumes[0]' }],
    leftOut: [
      { path: 'token', reason: 'secret' },
      { path: 'data', reason: 'ignored' },
    ],
    variableFiles: ['.env', 'web.env'],
    variables: ['PASSWORD', 'PORT'],
  };
  for (const dryRun of [true, false]) {
    const { stderr } = await said(result({ dryRun, ...files }));
    assert.match(stderr, /^Left out: token \(secret; --include-secrets packs it\)\nLeft out: data \(ignored\)\nMust exist on the device: \/srv\/x\n/);
    assert.match(stderr, /^Packed as they are, readable by all who read the repository: \.env, web\.env$/m);
    assert.match(stderr, /^Not packed: the values of PASSWORD, PORT; the packed compose file takes them from the environment of the device$/m);
  }
  assert.match((await said(result({ ...files, composeForm: 'resolved' }))).stderr, /^The packed compose file holds the values of PASSWORD, PORT$/m);
});

test('--json has every figure', async () => {
  const { stdout } = await said(result({ dryRun: true }), true);
  const value = JSON.parse(stdout) as { images: Record<string, unknown>[] } & Record<string, unknown>;
  assert.deepEqual([value.fetchBytes, value.estimatedWriteBytes, value.seconds], [5000, 6000, 1.235]);
  assert.deepEqual([value.images[0]?.fetchBytes, value.images[0]?.estimatedWriteBytes], [5000, 5000]);
});
