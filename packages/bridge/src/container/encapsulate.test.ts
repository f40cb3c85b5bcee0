/** The oracle is libostree: it reads the repository inside the unpacked layers. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Checksum, parseChecksum } from '@cambium/base';
import { type Manifest, openSink } from '@cambium/oci';
import { Repo } from '@cambium/ostree';
import { firstReason, needsPeer, needsRoot, output, run, scratch } from '@cambium/testkit';
import { contentOf, ownersFromContentMeta } from './components.ts';
import { type Encapsulated, type EncapsulateOptions, encapsulate } from './encapsulate.ts';

const PLATFORM = { os: 'linux', architecture: 'amd64' };
const skip = firstReason(needsPeer('ostree', 'skopeo', 'umoci', 'setfattr'), needsRoot());

interface World {
  directory: string;
  repo: Repo;
  commit: Checksum;
  /** Encapsulates into `oci:NAME:x` and returns what umoci unpacks of it. */
  build(name: string, options?: Partial<EncapsulateOptions>): Promise<{ image: Encapsulated; manifest: Manifest; config: Config; root: string }>;
}

interface Config {
  created: string;
  config: { Cmd?: string[]; Labels: Record<string, string>; StopSignal?: string };
  rootfs: { diff_ids: string[] };
  history: { created_by: string }[];
}

/** A commit by libostree with files of every kind that an image may have, set-uid, attributes and links. */
async function worldOf(t: TestContext): Promise<World> {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  for (const path of ['usr/bin', 'usr/lib/modules/5.10', 'usr/etc/sub', 'usr/lib64', 'boot', 'run', 'var/log', 'sysroot'])
    mkdirSync(join(tree, path), { recursive: true });
  writeFileSync(join(tree, 'usr/bin/bash'), 'this is bash', { mode: 0o4755 });
  symlinkSync('bash', join(tree, 'usr/bin/sh'));
  symlinkSync(`${'very/'.repeat(40)}long`, join(tree, 'usr/bin/long'));
  symlinkSync('x/./y', join(tree, 'usr/bin/dotted'));
  writeFileSync(join(tree, 'usr/lib/emptyfile'), '');
  writeFileSync(join(tree, 'usr/lib64/big'), Buffer.alloc(5 << 20, 'large '));
  writeFileSync(join(tree, 'usr/lib/a'), 'the same');
  writeFileSync(join(tree, 'usr/lib64/b'), 'the same');
  writeFileSync(join(tree, `usr/lib/${'n'.repeat(150)}`), 'long name');
  writeFileSync(join(tree, 'usr/etc/sub/some.conf'), 'configuration');
  writeFileSync(join(tree, 'usr/lib/modules/5.10/vmlinuz'), 'kernel');
  await run('setfattr', ['-n', 'user.test', '-v', 'value', join(tree, 'usr/lib/a')]);
  await run('setfattr', ['-n', 'user.test', '-v', 'value', join(tree, 'usr/lib64/b')]);
  const at = join(directory, 'repo');
  await run('ostree', ['init', `--repo=${at}`, '--mode=archive']);
  const metadata = [
    '--add-metadata-string=version=42.0',
    '--add-metadata=ostree.bootable=true',
    '--add-metadata=ostree.container-cmd=["/usr/bin/bash"]',
    '--add-metadata-string=buildsys.checksum=41af',
  ];
  const commit = await output('ostree', [
    'commit',
    `--repo=${at}`,
    '-b',
    'os',
    '--timestamp=@872879442',
    ...metadata,
    '--add-detached-metadata-string=my-key=mine',
    `--tree=dir=${tree}`,
  ]);
  const repo = await Repo.open(at);
  return {
    directory,
    repo,
    commit: parseChecksum(commit.trim()),
    async build(name, options = {}) {
      const sink = await openSink(`oci:${join(directory, name)}:x`);
      const image = await encapsulate(repo, parseChecksum(commit.trim()), sink, { platform: PLATFORM, ...options }).finally(() => sink.close());
      const reference = `oci:${join(directory, name)}:x`;
      const manifest = JSON.parse(await output('skopeo', ['inspect', '--raw', reference])) as Manifest;
      const config = JSON.parse(await output('skopeo', ['inspect', '--config', '--raw', reference])) as Config;
      await run('umoci', ['raw', 'unpack', '--image', `${join(directory, name)}:x`, join(directory, `${name}-root`)]);
      return { image, manifest, config, root: join(directory, `${name}-root`) };
    },
  };
}

/** libostree finds the commit inside whole, and pulls it out unchanged. */
async function proveInside(world: World, root: string): Promise<void> {
  const inside = join(root, 'sysroot/ostree/repo');
  assert.match(await output('ostree', ['fsck', `--repo=${inside}`, '--all']), /fsck|objects/i);
  await run('ostree', ['show', `--repo=${inside}`, world.commit]);
  const out = join(world.directory, 'pulled');
  await run('rm', ['-rf', out]);
  await run('ostree', ['init', `--repo=${out}`, '--mode=bare-user']);
  await run('ostree', ['pull-local', '--untrusted', `--repo=${out}`, inside, world.commit]);
  await run('ostree', ['fsck', `--repo=${out}`]);
  assert.match(await output('ostree', ['show', `--repo=${out}`, '--print-detached-metadata-key=my-key', world.commit]), /mine/);
}

test('one layer: libostree finds the commit in it, whole; labels, command and times are those of the commit', { skip }, async (t) => {
  const world = await worldOf(t);
  const { image, manifest, config, root } = await world.build('one', {
    labels: { mine: 'yes' },
    copyMeta: ['buildsys.checksum'],
    copyMetaOptional: ['nowhere'],
    config: { StopSignal: 'SIGRTMIN+3' },
  });
  assert.equal(manifest.layers.length, 1);
  assert.deepEqual([config.created, config.config.Cmd, config.config.StopSignal], ['1997-08-29T18:30:42Z', ['/usr/bin/bash'], 'SIGRTMIN+3']);
  assert.deepEqual(config.config.Labels, manifest.annotations);
  assert.deepEqual(manifest.annotations, {
    'ostree.commit': world.commit,
    'ostree.final-diffid': config.rootfs.diff_ids[0],
    'ostree.bootable': 'true',
    'containers.bootc': '1',
    'org.opencontainers.image.version': '42.0',
    'buildsys.checksum': '41af',
    mine: 'yes',
  });
  assert.deepEqual(
    config.history.map((step) => step.created_by),
    [`ostree export of commit ${world.commit}`],
  );
  await proveInside(world, root);
  // What a container sees.
  assert.equal(readFileSync(join(root, 'etc/sub/some.conf'), 'utf8'), 'configuration');
  assert.equal(await output('stat', ['-c', '%a %h', join(root, 'usr/bin/bash')]), '4755 2');
  assert.equal(await output('stat', ['-c', '%h', join(root, 'usr/lib/emptyfile')]), '1');
  assert.equal(await output('stat', ['-c', '%a', join(root, 'var/tmp')]), '1777');
  assert.match(await output('getfattr', ['-d', join(root, 'usr/lib64/b')]), /user\.test="value"/);

  const again = await world.build('again', { labels: { mine: 'yes' }, copyMeta: ['buildsys.checksum'], config: { StopSignal: 'SIGRTMIN+3' } });
  assert.equal(again.image.digest, image.digest, 'the same bytes again');
});

test('chunks: each object where its owner says, and the commit is whole over all layers', { skip }, async (t) => {
  const world = await worldOf(t);
  const content = contentOf(world.repo, world.repo.readCommit(world.commit).root);
  const owner = (paths: readonly string[]): string =>
    paths.some((path) => path.startsWith('usr/bin/')) ? 'bash' : paths.some((path) => path.includes('modules')) ? 'unpackaged' : 'libs';
  const mapping = Object.fromEntries([...content].map(([object, paths]) => [object, owner(paths)]));
  const meta = {
    version: 1,
    created: '2020-01-02T03:04:05Z',
    labels: { from: 'meta' },
    layers: { bash: 'bash', libs: 'all the libraries', unpackaged: 'the rest' },
    mapping,
  };
  const owners = ownersFromContentMeta(Buffer.from(JSON.stringify(meta)), content);
  for (const formatVersion of [1, 2] as const) {
    const { manifest, config, root } = await world.build(`chunks${formatVersion}`, { owners, formatVersion });
    assert.deepEqual(
      manifest.layers.map(({ annotations }) => annotations?.['ostree.components']),
      [undefined, 'bash', 'all the libraries', 'the rest', ''],
    );
    assert.deepEqual(
      config.history.slice(1).map((step) => step.created_by),
      ['bash', 'libs', 'unpackaged', 'Reserved for new packages'],
    );
    assert.deepEqual(
      [config.created, config.config.Labels.from, config.config.Labels['ostree.final-diffid']],
      ['2020-01-02T03:04:05Z', 'meta', config.rootfs.diff_ids.at(-1)],
    );
    await proveInside(world, root);
  }
  assert.throws(() => ownersFromContentMeta(Buffer.from(JSON.stringify({ ...meta, mapping: {} })), content), { code: 'BRIDGE_CONTENT_META_INVALID' });
  await assert.rejects(world.build('refused', { copyMeta: ['nowhere'] }), { code: 'BRIDGE_COMMIT_META_MISSING' });
});
