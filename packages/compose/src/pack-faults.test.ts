/** Everything that can go wrong: a known error, the branch where it was, the repository whole, and the next run succeeds. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parsePlatform } from '@cambium/oci';
import {
  type BuiltLayout,
  buildImageLayout,
  type CleanUp,
  defer,
  type Fault,
  type FaultRule,
  faultyRegistry,
  firstReason,
  hostArchitecture,
  type LayerSpec,
  needsPeer,
  needsRoot,
  output,
  readOnly,
  run,
  scratch,
  tarBytes,
  tmpfs,
} from '@cambium/testkit';
import type { PackOptions } from './index.ts';
import { fsck, makeProject, noise, pack, packFails, setImages, shopImage, shopLayers } from './pack-project.test.ts';

const NEEDS = needsPeer('ostree');

interface Shop {
  project: string;
  repo: string;
  /** The commit that was packed before the fault. */
  before: string;
}

/** A repository that holds an app already. */
async function packedShop(t: CleanUp, repo = join(scratch(t), 'repo')): Promise<Shop> {
  const old = await shopImage(t, 'old');
  const project = makeProject(t, ['registry.example/old:1']);
  const { commit } = await pack(project, repo, { imageSources: new Map([['registry.example/old:1', old.reference]]) });
  return { project, repo, before: commit as string };
}

const BLOB = /GET .*\/blobs\//;
const MANIFEST = /GET .*\/manifests\//;

interface Case {
  name: string;
  rules: (web: BuiltLayout) => FaultRule[];
  code: string;
  words?: RegExp;
  options?: Partial<PackOptions>;
}

const always = (on: RegExp, fault: Fault): ((web: BuiltLayout) => FaultRule[]) => {
  return () => [{ on, fault }];
};
const topLayer = (fault: Fault): ((web: BuiltLayout) => FaultRule[]) => {
  return (web) => [{ on: new RegExp(`${web.images[0]?.layers[2]?.digest}`), fault }];
};
const config = (fault: Fault): ((web: BuiltLayout) => FaultRule[]) => {
  return (web) => [{ on: new RegExp(`${web.images[0]?.config}`), fault }];
};

const CASES: readonly Case[] = [
  { name: 'no such image', rules: always(MANIFEST, { do: 'status', status: 404 }), code: 'OCI_MANIFEST_UNKNOWN', words: /web:1/ },
  {
    name: '401 without credentials',
    rules: always(/./, { do: 'status', status: 401, headers: { 'www-authenticate': 'Basic realm="tests"' } }),
    code: 'OCI_AUTH_REQUIRED',
  },
  { name: '403', rules: always(MANIFEST, { do: 'status', status: 403 }), code: 'OCI_AUTH_DENIED' },
  { name: '429', rules: always(BLOB, { do: 'status', status: 429, headers: { 'retry-after': '3600' } }), code: 'OCI_RATE_LIMITED' },
  { name: '500', rules: topLayer({ do: 'status', status: 500 }), code: 'OCI_REGISTRY_ERROR', words: /500/ },
  { name: 'reset before the answer', rules: always(MANIFEST, { do: 'reset' }), code: 'HTTP_UNREACHABLE' },
  { name: 'reset in every layer', rules: topLayer({ do: 'reset', afterBytes: 0 }), code: 'HTTP_UNREACHABLE' },
  { name: 'no answer', rules: topLayer({ do: 'hang' }), code: 'HTTP_TIMEOUT' },
  { name: 'stops in the middle', rules: topLayer({ do: 'hang', afterBytes: 500 }), code: 'HTTP_TIMEOUT' },
  { name: 'a truncated layer', rules: topLayer({ do: 'truncate', afterBytes: 700 }), code: 'OCI_BLOB_MISMATCH|HTTP_UNREACHABLE' },
  { name: 'an endless layer', rules: topLayer({ do: 'endless' }), code: 'OCI_BLOB_MISMATCH' },
  { name: 'a layer with another digest', rules: topLayer({ do: 'corrupt', atByte: 4 }), code: 'OCI_BLOB_MISMATCH|ARCHIVE_DECOMPRESS_CORRUPT' },
  { name: 'an endless manifest', rules: always(MANIFEST, { do: 'endless' }), code: 'OCI_DOCUMENT_TOO_LARGE|OCI_MANIFEST_INVALID' },
  {
    name: 'a manifest that is none',
    rules: always(MANIFEST, { do: 'replace', body: '<html>', headers: { 'docker-content-digest': '' } }),
    code: 'OCI_MANIFEST_INVALID',
  },
  { name: 'a manifest with another digest', rules: always(MANIFEST, { do: 'corrupt', atByte: 30 }), code: 'OCI_MANIFEST_MISMATCH|OCI_MANIFEST_INVALID' },
  { name: 'a config with another digest', rules: config({ do: 'corrupt', atByte: 10 }), code: 'OCI_BLOB_MISMATCH' },
  { name: 'a layer over the limit', rules: () => [], code: 'ARCHIVE_(DECOMPRESS|TAR)_TOO_LARGE', words: /sha256:/, options: { layerLimitBytes: 5000 } },
];

test('registries that fail', { skip: NEEDS, concurrency: false }, async (t) => {
  const shop = await packedShop(t);
  const web = await shopImage(t, 'web');
  for (const { name, rules: rulesOf, code, words, options } of CASES) {
    await t.test(name, async (s) => {
      const rules = rulesOf(web);
      const registry = await faultyRegistry({ layouts: { 'web:1': web }, rules });
      defer(s, () => registry.stop());
      setImages(shop.project, [`${registry.host}/web:1`]);
      // What earlier cases left must not make this one easy.
      await forgetLayers(shop.repo);
      const message = await packFails(pack(shop.project, shop.repo, options), new RegExp(`^(${code})$`), shop.repo, shop.before);
      if (words !== undefined) assert.match(message, words);
      assert.doesNotMatch(message, /undefined|\[object/);
    });
  }
  // After all that, the repository takes the app as if nothing had been.
  const registry = await faultyRegistry({ layouts: { 'web:1': web } });
  defer(t, () => registry.stop());
  setImages(shop.project, [`${registry.host}/web:1`]);
  const late = await pack(shop.project, shop.repo);
  const fresh = await pack(shop.project, join(scratch(t), 'repo'));
  const tree = (repo: string, commit: string | undefined): Promise<string> => output('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', commit as string, '/']);
  assert.equal(await tree(shop.repo, late.commit), await tree(fresh.repoPath, fresh.commit));
  await fsck(shop.repo);
});

async function forgetLayers(repo: string): Promise<void> {
  const refs = (await output('ostree', [`--repo=${repo}`, 'refs', '--list', 'cambium'])).split('\n').filter((ref) => ref !== '');
  for (const ref of refs) await output('ostree', [`--repo=${repo}`, 'refs', '--delete', ref]);
  const { stdout } = await run('ostree', [`--repo=${repo}`, 'refs']);
  assert.doesNotMatch(stdout, /cambium/);
}

test('images that are wrong in themselves', { skip: NEEDS }, async (t) => {
  const shop = await packedShop(t);
  const zeros = `sha256:${'0'.repeat(64)}`;
  const bad: { name: string; layers: LayerSpec[]; code: string; words: RegExp }[] = [
    {
      name: 'diffID',
      layers: [{ entries: [{ path: 'a', content: 'a' }], lie: { diffId: zeros } }],
      code: 'BRIDGE_LAYER_DIFFID_MISMATCH',
      words: new RegExp(zeros),
    },
    { name: 'size', layers: [{ entries: [{ path: 'a', content: 'a' }], lie: { size: 7 } }], code: 'OCI_BLOB_MISMATCH', words: /7/ },
    { name: 'digest', layers: [{ entries: [{ path: 'a' }], lie: { digest: zeros } }], code: 'OCI_BLOB_UNKNOWN|OCI_BLOB_MISMATCH', words: /0000/ },
    {
      name: 'foreign',
      layers: [{ entries: [], mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }],
      code: 'OCI_LAYER_FOREIGN',
      words: /layer/,
    },
    { name: 'escape', layers: [{ entries: [{ path: '../../etc/x', content: 'x' }] }], code: 'BRIDGE_LAYER_ENTRY_REFUSED', words: /"\.\.\/\.\.\/etc\/x"/ },
    {
      name: 'through a link',
      layers: [
        {
          entries: [
            { path: 'l', kind: 'symlink', target: '/etc' },
            { path: 'l/x', content: 'x' },
          ],
        },
      ],
      code: 'BRIDGE_LAYER_PARENT_REFUSED',
      words: /"l\/x"/,
    },
    { name: 'dangling', layers: [{ entries: [{ path: 'h', kind: 'hardlink', target: 'nowhere' }] }], code: 'BRIDGE_LINK_TARGET_MISSING', words: /"nowhere"/ },
    { name: 'cut', layers: [{ tar: tarBytes([{ path: 'f', content: noise('f', 4000) }]).subarray(0, 2000) }], code: 'ARCHIVE_TAR_TRUNCATED', words: /sha256:/ },
  ];
  for (const { name, layers, code, words } of bad) {
    await t.test(name, async (s) => {
      // A good layer before and after the bad one.
      const [first, , last] = shopLayers(name);
      const layout = await buildImageLayout(join(scratch(s), 'image'), { images: [{ layers: [first as LayerSpec, ...layers, last as LayerSpec] }] });
      setImages(shop.project, ['registry.example/bad:1']);
      const imageSources = new Map([['registry.example/bad:1', layout.reference]]);
      const message = await packFails(pack(shop.project, shop.repo, { imageSources }), new RegExp(`^(${code})$`), shop.repo, shop.before);
      assert.match(message, words);
      const refs = await output('ostree', [`--repo=${shop.repo}`, 'refs']);
      const diffId = layout.images[0]?.layers[1]?.diffId.slice(7) as string;
      if (code !== 'BRIDGE_LINK_TARGET_MISSING') assert.equal(refs.includes(diffId), false, 'the bad layer has no ref');
      assert.equal(refs.includes(layout.images[0]?.manifest.slice(7) as string), false, 'nor has the image');
    });
  }
});

test('an image for another platform: the error names those there are', { skip: NEEDS }, async (t) => {
  const shop = await packedShop(t);
  const layout = await buildImageLayout(join(scratch(t), 'image'), {
    images: [
      { layers: [], platform: { os: 'linux', architecture: 's390x' } },
      { layers: [], platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    ],
  });
  setImages(shop.project, ['registry.example/other:1']);
  const options = { imageSources: new Map([['registry.example/other:1', layout.reference]]), platform: { ...parsePlatform('riscv64'), explicit: true } };
  const message = await packFails(pack(shop.project, shop.repo, options), 'OCI_PLATFORM_MISSING', shop.repo, shop.before);
  assert.match(message, /riscv64/);
  assert.match(message, /s390x/);
  assert.match(message, /arm\/v7/);
  const single = await shopImage(t, 'single');
  const mismatch = { ...options, imageSources: new Map([['registry.example/other:1', single.reference]]) };
  assert.match(await packFails(pack(shop.project, shop.repo, mismatch), 'OCI_PLATFORM_MISMATCH', shop.repo, shop.before), new RegExp(hostArchitecture()));
});

test('a reference that states another digest than the place it is read from', { skip: NEEDS }, async (t) => {
  const shop = await packedShop(t);
  const web = await shopImage(t, 'web');
  const reference = `registry.example/web:1@sha256:${'1'.repeat(64)}`;
  setImages(shop.project, [reference]);
  await packFails(pack(shop.project, shop.repo, { imageSources: new Map([[reference, web.reference]]) }), 'COMPOSE_IMAGE_MISMATCH', shop.repo, shop.before);
});

test('a full disk: a known error, and the next run with room gives the same commit', { skip: firstReason(NEEDS, needsRoot()) }, async (t) => {
  const big = await buildImageLayout(join(scratch(t), 'big'), {
    images: [{ layers: [...shopLayers('web'), { entries: [{ path: 'big', content: noise('big', 3_000_000) }], compression: 'none' }] }],
  });
  const imageSources = new Map([['registry.example/web:1', big.reference]]);
  for (const reserve of ['0MB', '2MB']) {
    const disk = await tmpfs(t, 3);
    const repo = join(disk, 'repo');
    await output('ostree', [`--repo=${repo}`, 'init', '--mode=archive']);
    await output('ostree', [`--repo=${repo}`, 'config', 'set', 'core.min-free-space-size', reserve]);
    const shop = await packedShop(t, repo);
    setImages(shop.project, ['registry.example/web:1']);
    const filler = join(disk, 'filler');
    writeFileSync(filler, Buffer.alloc(1_700_000));
    const code = reserve === '0MB' ? 'SYSTEM_NO_SPACE' : 'OSTREE_SPACE_RESERVED|SYSTEM_NO_SPACE';
    const failing = pack(shop.project, repo, { imageSources });
    const message = await packFails(failing, new RegExp(`^(${code})$`), repo, shop.before);
    assert.match(message, /space/i);
    rmSync(filler);
    await output('mount', ['-o', 'remount,size=16m', disk]);
    const result = await pack(shop.project, repo, { imageSources });
    await fsck(repo);
    assert.notEqual(result.commit, shop.before);
    assert.deepEqual(readFileSync(join(repo, 'refs/heads/apps/shop'), 'utf8').trim(), result.commit);
  }
});

test('a read-only repository', { skip: firstReason(NEEDS, needsRoot()) }, async (t) => {
  const shop = await packedShop(t);
  const web = await shopImage(t, 'web');
  const imageSources = new Map([['registry.example/web:1', web.reference]]);
  setImages(shop.project, ['registry.example/web:1']);
  await readOnly(t, shop.repo);
  await packFails(pack(shop.project, shop.repo, { imageSources }), 'OSTREE_REPO_READ_ONLY|SYSTEM_READ_ONLY', shop.repo, shop.before);
  const dry = await pack(shop.project, shop.repo, { imageSources, dryRun: true });
  assert.ok(dry.fetchBytes > 0, 'a dry run needs to write nothing');
});

test('a repository that belongs to somebody else', { skip: firstReason(NEEDS, needsRoot(), needsPeer('setpriv')) }, async (t) => {
  const shop = await packedShop(t);
  const web = await shopImage(t, 'web');
  const [repo, project] = ['repo', 'shop'].map((name) => join(scratch(t, `${name}-`), name)) as [string, string];
  await output('cp', ['-a', shop.repo, repo]);
  await output('cp', ['-a', shop.project, project]);
  for (const path of [join(repo, '..'), join(project, '..'), join(web.directory, '..')]) chmodSync(path, 0o755);
  setImages(project, ['registry.example/web:1']);
  // The library itself as another user, through a few lines of its own.
  const script = `import { packApp } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)};
    const options = JSON.parse(process.argv[1]);
    await packApp({ ...options, timestamp: 1n, imageSources: new Map(options.imageSources) }).then(() => console.log('packed'), (error) => console.log(error.code ?? error.stack));`;
  const options = {
    repoPath: repo,
    branch: 'apps/shop',
    project: { workingDirectory: project, environment: {} },
    platform: parsePlatform(hostArchitecture()),
    imageSources: [['registry.example/web:1', web.reference]],
  };
  const asNobody = async (): Promise<string> =>
    await output(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '--input-type=module', '-e', script, JSON.stringify(options)],
      // Nobody may write to where root gathers coverage.
      { env: { ...process.env, NODE_V8_COVERAGE: '' } },
    );
  assert.match(await asNobody(), /^(OSTREE_REPO_READ_ONLY|SYSTEM_DENIED)$/, 'readable, not writable');
  chmodSync(join(repo, 'config'), 0o600);
  assert.equal(await asNobody(), 'SYSTEM_DENIED', 'its settings cannot be read');
  chmodSync(repo, 0o700);
  assert.equal(await asNobody(), 'SYSTEM_DENIED', 'it cannot be entered');
  assert.equal(await output('ostree', [`--repo=${repo}`, 'rev-parse', 'apps/shop']), shop.before);
  await fsck(repo);
});

test('what is in the way of a repository, or broken in one', { skip: NEEDS }, async (t) => {
  const web = await shopImage(t, 'web');
  const imageSources = new Map([['registry.example/web:1', web.reference]]);
  const project = makeProject(t, ['registry.example/web:1']);
  const file = join(scratch(t), 'file');
  writeFileSync(file, 'not a repository');
  await assert.rejects(pack(project, join(file, 'repo'), { imageSources }), { code: 'OSTREE_REPO_NOT_FOUND', message: /a file is in its way/ });
  await assert.rejects(pack(project, file, { imageSources }), { code: 'OSTREE_REPO_NOT_FOUND' });
  assert.equal(readFileSync(file, 'utf8'), 'not a repository');

  const shop = await packedShop(t);
  const { mode } = statSync(join(shop.repo, 'config'));
  const config = readFileSync(join(shop.repo, 'config'), 'utf8');
  writeFileSync(join(shop.repo, 'config'), '[core]\nrepo_version=1\nmode=of-tomorrow\n');
  setImages(shop.project, ['registry.example/web:1']);
  await assert.rejects(pack(shop.project, shop.repo, { imageSources }), { code: 'OSTREE_REPO_UNSUPPORTED' });
  writeFileSync(join(shop.repo, 'config'), config);
  chmodSync(join(shop.repo, 'config'), mode);
  assert.notEqual((await pack(shop.project, shop.repo, { imageSources })).commit, shop.before);
  await fsck(shop.repo);
});

test('given up in the middle: nothing is visible, and what was under way ends', { skip: NEEDS }, async (t) => {
  const shop = await packedShop(t);
  const web = await shopImage(t, 'web');
  const registry = await faultyRegistry({ layouts: { 'web:1': web }, rules: [{ on: BLOB, skip: 2, fault: { do: 'hang', afterBytes: 100 } }] });
  defer(t, () => registry.stop());
  setImages(shop.project, [`${registry.host}/web:1`]);
  const stop = new AbortController();
  const reason = new Error('enough');
  const running = pack(shop.project, shop.repo, {
    signal: stop.signal,
    registry: { stallTimeoutMs: 60_000 },
    on: (event) => {
      if (event.type === 'layer-stored') stop.abort(reason);
    },
  });
  await assert.rejects(running, reason);
  assert.equal(await output('ostree', [`--repo=${shop.repo}`, 'rev-parse', 'apps/shop']), shop.before);
  await fsck(shop.repo);
});
