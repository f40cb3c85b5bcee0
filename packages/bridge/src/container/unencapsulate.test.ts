import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Checksum, parseChecksum, sha256Hex } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { openImage, openSink, parsePlatform, resolveImage } from '@cambium/oci';
import { encodeXattrList, Repo } from '@cambium/ostree';
import { buildImageLayout, firstReason, type LayerSpec, needsPeer, output, run, scratch, type TarEntrySpec } from '@cambium/testkit';
import { contentOf, ownersFromContentMeta } from './components.ts';
import { type EncapsulateOptions, encapsulate } from './encapsulate.ts';
import { FINAL_DIFF_ID_LABEL } from './image-labels.ts';
import { type UnencapsulateOptions, unencapsulate } from './unencapsulate.ts';

const PLATFORM = { os: 'linux', architecture: 'amd64' };
const skip = firstReason(needsPeer('ostree', 'skopeo', 'setfattr'));

/** With a name that is text. */
type Entry = TarEntrySpec & { path: string };

interface World {
  directory: string;
  source: Repo;
  commit: Checksum;
  into(mode: string, name?: string): Promise<Repo>;
  take(repo: Repo, place: string, options?: UnencapsulateOptions): ReturnType<typeof unencapsulate>;
}

async function worldOf(t: TestContext): Promise<World> {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  for (const path of ['usr/bin', 'usr/lib', 'usr/etc', 'var']) mkdirSync(join(tree, path), { recursive: true });
  writeFileSync(join(tree, 'usr/bin/tool'), 'a tool', { mode: 0o755 });
  symlinkSync('x/./y', join(tree, 'usr/bin/dotted'));
  writeFileSync(join(tree, 'usr/lib/empty'), '');
  writeFileSync(join(tree, 'usr/lib/large'), Buffer.alloc(700_000, 'large '));
  writeFileSync(join(tree, 'usr/etc/conf'), 'conf');
  await run('setfattr', ['-n', 'user.test', '-v', 'value', join(tree, 'usr/etc/conf')]);
  const at = join(directory, 'source');
  await run('ostree', ['init', `--repo=${at}`, '--mode=bare-user']);
  const args = ['-b', 'os', '--timestamp=@1', '--owner-uid=0', '--owner-gid=0', '--add-detached-metadata-string=my-key=mine'];
  const commit = parseChecksum((await output('ostree', ['commit', `--repo=${at}`, ...args, `--tree=dir=${tree}`])).trim());
  return {
    directory,
    source: await Repo.open(at),
    commit,
    async into(mode, name = mode) {
      const path = join(directory, `into-${name}`);
      await run('ostree', ['init', `--repo=${path}`, `--mode=${mode}`]);
      return await Repo.open(path);
    },
    async take(repo, place, options) {
      const image = await openImage(place);
      return await unencapsulate(repo, await resolveImage(image, parsePlatform('amd64')), options);
    },
  };
}

test('a commit comes out of its image as it went in, also after others have compressed it anew', { skip }, async (t) => {
  const world = await worldOf(t);
  const content = contentOf(world.source, world.source.readCommit(world.commit).root);
  const mapping = Object.fromEntries([...content].map(([object, paths]) => [object, paths[0]?.startsWith('usr/bin') ? 'bin' : 'lib']));
  const owners = ownersFromContentMeta(Buffer.from(JSON.stringify({ version: 1, layers: { bin: 'bin', lib: 'lib' }, mapping })), content);
  for (const [name, options] of [
    ['one', {}],
    ['chunks', { owners, maxLayers: 4 }],
  ] as const) {
    const place = `oci:${join(world.directory, name)}:x`;
    await write(world.source, world.commit, place, { platform: PLATFORM, ...options });
    const zstd = `oci:${join(world.directory, `${name}-zstd`)}:x`;
    await run('skopeo', ['copy', '--dest-compress-format=zstd', place, zstd]);
    const docker = `dir:${join(world.directory, `${name}-docker`)}`;
    await run('skopeo', ['copy', '--format=v2s2', place, docker]);
    for (const [i, from] of [place, zstd, docker].entries()) {
      const repo = await world.into(['archive', 'bare-user', 'bare-user-only'][i] as string);
      if (repo.mode === 'bare-user-only') continue;
      const result = await world.take(repo, from, { ref: `from/${name}` });
      assert.equal(result.commit, world.commit);
      await run('ostree', ['fsck', `--repo=${repo.path}`]);
      assert.equal(await output('ostree', ['rev-parse', `--repo=${repo.path}`, `from/${name}`]), world.commit);
      assert.equal(await output('ostree', ['show', `--repo=${repo.path}`, '--print-detached-metadata-key=my-key', world.commit]), "'mine'");
      assert.equal((await world.take(repo, from)).unchanged, true);
      await run('rm', ['-rf', repo.path]);
    }
  }
});

test('who asks for no signatures replaces none', { skip }, async (t) => {
  const world = await worldOf(t);
  const place = `oci:${join(world.directory, 'image')}:x`;
  await write(world.source, world.commit, place, { platform: PLATFORM });
  const repo = await world.into('archive');
  await world.take(repo, place);
  repo.writeDetachedMetadata(world.commit, [['my-key', new Variant('s', 'another')]]);
  await world.take(repo, place);
  assert.equal(await output('ostree', ['show', `--repo=${repo.path}`, '--print-detached-metadata-key=my-key', world.commit]), "'another'");
  await world.take(repo, place, { verify: async () => undefined });
  assert.equal(await output('ostree', ['show', `--repo=${repo.path}`, '--print-detached-metadata-key=my-key', world.commit]), "'mine'");
});

test('a commit with many directories in each other, and with content below /sysroot, comes back whole', { skip }, async (t) => {
  const world = await worldOf(t);
  const tree = join(world.directory, 'deep');
  mkdirSync(join(tree, `usr/${'d/'.repeat(1500)}end`), { recursive: true });
  mkdirSync(join(tree, 'sysroot/below'), { recursive: true });
  writeFileSync(join(tree, 'sysroot/below/file'), 'below');
  const commit = parseChecksum(await output('ostree', ['commit', `--repo=${world.source.path}`, '-b', 'deep', `--tree=dir=${tree}`]));
  const place = `oci:${join(world.directory, 'image')}:x`;
  await write(world.source, commit, place, { platform: PLATFORM });
  const repo = await world.into('archive');
  assert.equal((await world.take(repo, place)).commit, commit);
  await run('ostree', ['fsck', `--repo=${repo.path}`]);
});

test('the two older spellings of attributes are read', { skip }, async (t) => {
  const world = await worldOf(t);
  for (const spelling of ['shared', 'first'] as const) {
    const repo = await world.into(spelling === 'shared' ? 'archive' : 'bare-user');
    const layers = [{ entries: olderLayer(world, spelling) }];
    const place = await imageOf(world, spelling, layers);
    assert.equal((await world.take(repo, place)).commit, world.commit);
    await run('ostree', ['fsck', `--repo=${repo.path}`]);
  }
});

test('what cannot be trusted is refused, and nothing of it is seen', { skip }, async (t) => {
  const world = await worldOf(t);
  const entries = olderLayer(world, 'shared');
  const objects = entries.filter(({ path }) => path.endsWith('.file'));
  const without = (pattern: RegExp): Entry[] => entries.filter(({ path }) => !pattern.test(path));
  const changed = (path: string | undefined): Entry[] => entries.map((entry) => (entry.path === path ? { ...entry, content: 'another' } : entry));
  const file: Entry | undefined = objects.find(({ content }) => content?.toString() === 'a tool');
  const cases: readonly [string, Entry[], string][] = [
    ['no commit', without(/\.commit$/), 'BRIDGE_CONTAINER_INVALID'],
    ['nothing', [], 'BRIDGE_CONTAINER_INVALID'],
    ['an object that is missing', entries.filter((entry) => !entry.path.startsWith((file?.path ?? '').slice(0, -4))), 'BRIDGE_CONTAINER_CORRUPT'],
    ['a dirtree that is missing', without(/\.dirtree$/), 'BRIDGE_CONTAINER_CORRUPT'],
    ['content that was changed', changed(file?.path), 'BRIDGE_CONTAINER_CORRUPT'],
    ['an object twice', [...entries, file as Entry], 'BRIDGE_CONTAINER_INVALID'],
    ['two commits', [...entries, entries.find(({ path }) => path.endsWith('.commit')) as Entry], 'BRIDGE_CONTAINER_INVALID'],
    ['attributes that are nowhere', without(/\.file-xattrs$/), 'BRIDGE_CONTAINER_INVALID'],
    ['a name that is none', [...entries, { path: 'sysroot/ostree/repo/objects/zz/top.file', content: '' }], 'BRIDGE_CONTAINER_INVALID'],
  ];
  for (const [what, layer, code] of cases) {
    const name = what.replaceAll(' ', '-');
    // One of its own each time: what was verified stays for the next run.
    const repo = await world.into('archive', name);
    const place = await imageOf(world, name, [{ entries: layer }]);
    await assert.rejects(world.take(repo, place, { ref: 'bad' }), { code }, what);
    assert.equal(repo.hasObject('commit', world.commit), false, what);
    assert.equal(repo.refs.read('bad'), undefined);
    await run('ostree', ['fsck', `--repo=${repo.path}`]);
  }
  const repo = await world.into('archive');
  const place = await imageOf(world, 'good', [{ entries }]);
  const refusal = new Error('not signed');
  const verify = async (): Promise<void> => {
    throw refusal;
  };
  await assert.rejects(world.take(repo, place, { verify }), refusal);
  await assert.rejects(world.take(repo, await imageOf(world, 'derived', [{ entries }, { entries: [{ path: 'x', content: 'x' }] }], 0)), {
    code: 'BRIDGE_CONTAINER_INVALID',
  });
  await assert.rejects(world.take(repo, await imageOf(world, 'plain', [{ entries: [{ path: 'x', content: 'x' }] }], undefined)), {
    code: 'BRIDGE_CONTAINER_INVALID',
  });
  await run('ostree', ['fsck', `--repo=${repo.path}`]);
});

async function write(repo: Repo, commit: Checksum, place: string, options: EncapsulateOptions): Promise<void> {
  const sink = await openSink(place);
  await encapsulate(repo, commit, sink, options);
  await sink.close();
}

/** An image of these layers, the last or `final` one named as the last of the commit. */
async function imageOf(world: World, name: string, layers: readonly LayerSpec[], final: number | undefined = layers.length - 1): Promise<string> {
  const directory = join(world.directory, `image-${name}`);
  const probe = await buildImageLayout(`${directory}-probe`, { images: [{ platform: PLATFORM, layers }] });
  const diffId = final === undefined ? undefined : probe.images[0]?.layers[final]?.diffId;
  const config = diffId === undefined ? {} : { Labels: { [FINAL_DIFF_ID_LABEL]: diffId } };
  return (await buildImageLayout(directory, { images: [{ platform: PLATFORM, layers, config }] })).reference;
}

/** The commit as writers before September 2025 (`shared`) and the first ones wrote it. */
function olderLayer({ source, commit }: World, spelling: 'shared' | 'first'): Entry[] {
  const prefix = 'sysroot/ostree/repo';
  const at = (checksum: string, extension: string): string => `${prefix}/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${extension}`;
  const { root } = source.readCommit(commit);
  const entries: Entry[] = [
    { path: './' },
    { path: spelling === 'first' ? 'sysroot/config' : `${prefix}/config`, content: '[core]\n' },
    { path: at(commit, 'commit'), content: Buffer.from(source.readMetadata('commit', commit)) },
  ];
  const written = new Set<string>();
  const once = (name: string, add: () => Entry): void => {
    if (written.size !== written.add(name).size) entries.push(add());
  };
  const visit = (tree: Checksum, meta: Checksum): void => {
    once(at(tree, 'dirtree'), () => ({ path: at(tree, 'dirtree'), content: Buffer.from(source.readMetadata('dirtree', tree)) }));
    once(at(meta, 'dirmeta'), () => ({ path: at(meta, 'dirmeta'), content: Buffer.from(source.readMetadata('dirmeta', meta)) }));
    const { files, dirs } = source.readDirTree(tree);
    for (const { checksum } of files) {
      const { header, content } = source.loadFile(checksum, 1 << 20);
      const bytes = header.xattrs.length === 0 ? Buffer.alloc(0) : Buffer.from(encodeXattrList(header.xattrs));
      const value = sha256Hex(bytes);
      if (spelling === 'shared') {
        once(`attributes ${value}`, () => ({ path: at(value, 'file-xattrs'), content: bytes }));
        entries.push({ path: at(checksum, 'file-xattrs-link'), kind: 'hardlink', target: `../${value.slice(0, 2)}/${value.slice(2)}.file-xattrs` });
      } else if (bytes.byteLength > 0) {
        once(`attributes ${value}`, () => ({ path: `${prefix}/xattrs/${value}`, content: bytes }));
        entries.push({ path: at(checksum, 'file.xattrs'), kind: 'hardlink', target: `${prefix}/xattrs/${value}` });
      }
      const owner = { mode: header.mode & 0o7777, uid: header.uid, gid: header.gid };
      entries.push(
        header.target === ''
          ? { path: at(checksum, 'file'), ...owner, content: Buffer.from(content) }
          : { path: at(checksum, 'file'), ...owner, kind: 'symlink', target: header.target },
      );
    }
    for (const { tree: child, meta: childMeta } of dirs) visit(child, childMeta);
  };
  visit(root.tree, root.meta);
  return entries;
}
