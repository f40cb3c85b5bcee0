/** Packing from every place, reproducibly, signed, for several platforms, and dry. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { createAuthFiles, parsePlatform } from '@cambium/oci';
import { Repo, type RepoMode } from '@cambium/ostree';
import {
  buildImageLayout,
  type CleanUp,
  defer,
  faultyRegistry,
  firstReason,
  hostArchitecture,
  needsPeer,
  needsPodman,
  output,
  podmanEnvironment,
  pushLayout,
  run,
  scratch,
  skopeoCopy,
  startRegistry,
} from '@cambium/testkit';
import { BARE_EXPANSION, type PackOptions, type PackResult } from './index.ts';
import { BRANCH, cat, fsck, imagesOf, makeProject, noise, pack, packFails, refOf, setImages, shopImage, shopLayers } from './pack-project.test.ts';

const NAME = 'registry.example/shop/web:1';

test('an image from every place', { skip: needsPeer('ostree', 'skopeo') }, async (t) => {
  const layout = await shopImage(t, 'web');
  const files = scratch(t);
  await skopeoCopy(layout.reference, `oci-archive:${files}/oci.tar:web`);
  await skopeoCopy(layout.reference, `docker-archive:${files}/docker.tar:registry.example/shop/web:1`);
  writeFileSync(join(files, 'docker.tar.gz'), gzipSync(readFileSync(join(files, 'docker.tar'))));
  writeFileSync(join(files, 'docker.tar.zst'), zstdCompressSync(readFileSync(join(files, 'docker.tar'))));
  const places = [
    layout.reference,
    `oci-archive:${files}/oci.tar`,
    `docker-archive:${files}/docker.tar`,
    `docker-archive:${files}/docker.tar.gz`,
    `docker-archive:${files}/docker.tar.zst`,
  ];
  const roots = new Set<string>();
  for (const place of places) {
    await t.test(place.replace(files, '').replace(layout.directory, ''), async (s) => {
      const [project, repo, temporary] = [makeProject(s, [NAME]), join(scratch(s), 'repo'), scratch(s)];
      const result = await pack(project, repo, { imageSources: new Map([[NAME, place]]), temporaryDirectory: temporary });
      await fsck(repo);
      const [image, ...others] = await imagesOf(repo, result.commit as string);
      assert.equal(others.length, 0);
      assert.deepEqual(image?.names, [NAME]);
      assert.equal(result.images[0]?.pinned, `${NAME}@${image?.digest}`);
      assert.match((await cat(repo, result.commit as string, '/shop/docker-compose.yml')).toString(), new RegExp(`image: ${NAME}@${image?.digest}`));
      if (!place.startsWith('docker-archive')) assert.equal(image?.digest, layout.digest);
      assert.equal(`sha256:${image?.id}`, layout.images[0]?.config);
      roots.add(await output('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', result.commit as string, `/storage/overlay/${image?.layer}/diff`]));
      assert.deepEqual(await output('ls', [temporary]), '', 'nothing stays in the temporary directory');
    });
  }
  assert.equal(roots.size, 1, 'the same tree from each');
});

test('a compressed archive is refused where nothing may be unpacked', { skip: needsPeer('ostree', 'skopeo') }, async (t) => {
  const layout = await shopImage(t, 'web');
  const file = join(scratch(t), 'image.tar.gz');
  await skopeoCopy(layout.reference, `docker-archive:${file}.plain:web:1`);
  writeFileSync(file, gzipSync(readFileSync(`${file}.plain`)));
  const repo = join(scratch(t), 'repo');
  await packFails(pack(makeProject(t, [NAME]), repo, { imageSources: new Map([[NAME, `docker-archive:${file}`]]) }), 'OCI_ARCHIVE_INVALID', repo, undefined);
});

test('the real registry, with and without a login; indexes; Docker and OCI', {
  skip: needsPeer('ostree', 'skopeo', 'docker-registry', 'htpasswd'),
}, async (t) => {
  const open = await startRegistry();
  defer(t, () => open.stop());
  const closed = await startRegistry({ htpasswd: { ann: 'open sesame' } });
  defer(t, () => closed.stop());
  const other = hostArchitecture() === 'arm64' ? 'amd64' : 'arm64';
  const both = await buildImageLayout(join(scratch(t), 'both'), {
    images: [
      { layers: shopLayers('web'), platform: { os: 'linux', architecture: hostArchitecture() } },
      { layers: shopLayers('other'), platform: { os: 'linux', architecture: other } },
    ],
  });
  const docker = await shopImage(t, 'docker', '', { format: 'docker' });
  await pushLayout(both, `${open.host}/shop/both:1`);
  await pushLayout(docker, `${open.host}/shop/docker:2`);
  await pushLayout(both, `${closed.host}/private:1`, { credentials: 'ann:open sesame' });
  const authFile = join(scratch(t), 'auth.json');
  writeFileSync(authFile, JSON.stringify({ auths: { [closed.host]: { auth: Buffer.from('ann:open sesame').toString('base64') } } }));
  const credentials = createAuthFiles({ environment: {}, home: scratch(t), uid: 0, authFile });

  const references = [`${open.host}/shop/both:1`, `${open.host}/shop/docker:2`, `${closed.host}/private:1`];
  const [project, repo] = [makeProject(t, references), join(scratch(t), 'repo')];
  const result = await pack(project, repo, { registry: { credentials } });
  await fsck(repo);
  assert.deepEqual(
    references.map((reference) => result.images.find((image) => image.reference === reference)?.digest),
    [both.digest, docker.digest, both.digest],
    'digests are those of the registry: of the index where there is one',
  );
  const images = await imagesOf(repo, result.commit as string);
  assert.deepEqual(images.flatMap(({ names }) => names).sort(), [...references].sort());
  const web = images.find(({ names }) => names.includes(references[0] as string));
  assert.equal(`sha256:${web?.id}`, both.images[0]?.config, 'the image of the platform asked for');
  assert.ok(web?.['big-data-names'].includes(`manifest-${both.images[0]?.manifest}`), 'the platform manifest resolves too');
  assert.equal(result.images[0]?.platform, `linux/${hostArchitecture()}`);

  const foreign = join(scratch(t), 'repo');
  setImages(project, [references[0] as string]);
  const cross = await pack(project, foreign, { platform: { ...parsePlatform(other), explicit: true } });
  assert.deepEqual(
    (await imagesOf(foreign, cross.commit as string)).map(({ id }) => `sha256:${id}`),
    [both.images[1]?.config],
  );

  setImages(project, [references[2] as string]);
  const at = result.commit;
  await packFails(pack(project, repo), 'OCI_AUTH_REQUIRED', repo, at);
  const wrong = createAuthFiles({ environment: {}, home: scratch(t), uid: 0, authFile: writeAuth(t, closed.host, 'ann:wrong') });
  await packFails(pack(project, repo, { registry: { credentials: wrong } }), 'OCI_AUTH_DENIED', repo, at);
});

function writeAuth(t: CleanUp, host: string, login: string): string {
  const path = join(scratch(t), 'auth.json');
  writeFileSync(path, JSON.stringify({ auths: { [host]: { auth: Buffer.from(login).toString('base64') } } }));
  return path;
}

test('one reference for two platforms: each service finds its own image', { skip: needsPeer('ostree') }, async (t) => {
  const layout = await buildImageLayout(join(scratch(t), 'both'), {
    images: [
      { layers: shopLayers('amd'), platform: { os: 'linux', architecture: 'amd64' } },
      { layers: shopLayers('arm'), platform: { os: 'linux', architecture: 'arm64' } },
    ],
  });
  const project = makeProject(t, []);
  const services = ['amd64', 'arm64'].map((arch) => `  ${arch}:\n    image: ${NAME}\n    platform: linux/${arch}\n`);
  writeFileSync(join(project, 'docker-compose.yml'), `services:\n${services.join('')}`);
  const repo = join(scratch(t), 'repo');
  const result = await pack(project, repo, { imageSources: new Map([[NAME, layout.reference]]) });
  const [amd, arm] = layout.images.map(({ manifest }) => manifest);
  const text = (await cat(repo, result.commit as string, '/shop/docker-compose.yml')).toString();
  assert.match(text, new RegExp(`amd64:\\s+image: ${NAME}@${amd}\\s[^]*arm64:\\s+image: ${NAME}@${arm}\\s`));
  const images = await imagesOf(repo, result.commit as string);
  const names = images.flatMap((image) => image.names).sort();
  // An additional store with one name twice is refused by engines as a whole.
  assert.deepEqual(names, [NAME, `${NAME.slice(0, -2)}@${arm}`].sort());
});

test('…and podman finds both in the store, by what the compose file says', {
  skip: firstReason(needsPeer('ostree'), needsPodman({ rootless: false })),
}, async (t) => {
  const platforms = ['amd64', 'arm64'];
  const layout = await buildImageLayout(join(scratch(t), 'both'), {
    images: platforms.map((architecture) => ({ layers: shopLayers(architecture), platform: { os: 'linux', architecture } })),
  });
  const project = makeProject(t, []);
  writeFileSync(
    join(project, 'docker-compose.yml'),
    `services:\n${platforms.map((arch) => `  ${arch}:\n    image: ${NAME}\n    platform: linux/${arch}\n`).join('')}`,
  );
  const repo = join(scratch(t), 'repo');
  const result = await pack(project, repo, { imageSources: new Map([[NAME, layout.reference]]) });
  const podman = await podmanEnvironment({ rootless: false });
  defer(t, () => podman.stop());
  const storage = join(podman.directory, 'app');
  await output('ostree', [`--repo=${repo}`, 'checkout', '--subpath=/storage', result.commit as string, storage]);
  podman.setImageStores([storage]);
  const found = [];
  for (const { pinned } of result.images) found.push(await podman.podman('image', 'inspect', '--format', '{{.Architecture}} {{.ID}}', pinned));
  assert.deepEqual(found.sort(), platforms.map((arch, i) => `${arch} ${layout.images[i]?.config.slice(7)}`).sort());
});

test('the same inputs give the same commit: any order, any number of threads, modes, umask, owner', { skip: needsPeer('ostree') }, async (t) => {
  const layouts = { 'web:1': await shopImage(t, 'web'), 'db:1': await shopImage(t, 'db'), 'job:1': await shopImage(t, 'job') };
  const commits = new Map<string, string>();
  const trees = new Map<string, string>();
  const project = makeProject(t, [], { 'conf/app.env': 'A=1\n', 'conf/run.sh': '#!/bin/sh\n' });
  chmodSync(join(project, 'conf/run.sh'), 0o755);
  writeFileSync(
    join(project, 'docker-compose.yml'),
    // A port would be part of the names.
    'services:\n  web: { image: "registry.example/web:1", env_file: conf/app.env, volumes: ["./conf:/conf"] }\n  db: { image: "registry.example/db:1" }\n  job: { image: "registry.example/job:1" }\n',
  );
  const layers = Object.values(layouts).flatMap(({ images }) => images.flatMap((image) => image.layers.map(({ digest }) => digest)));
  const cases: [string, RepoMode, Partial<PackOptions>, string | undefined][] = [
    ['one at a time, one thread', 'archive', { concurrency: 1, workers: 1 }, undefined],
    ['no threads', 'archive', { concurrency: 2, workers: 0 }, undefined],
    ['many at a time', 'archive', { concurrency: 16, workers: 4 }, undefined],
    ['first layer comes last', 'archive', { concurrency: 16 }, layers[0]],
    ['last layer comes last', 'archive', { concurrency: 16 }, layers.at(-1)],
    ['bare-user', 'bare-user', { concurrency: 3 }, undefined],
  ];
  for (const [name, mode, options, late] of cases) {
    // The layer that is to come last breaks off a few times first, and each time goes on from where it was.
    const rules = late === undefined ? [] : [{ on: new RegExp(late), times: 2, fault: { do: 'reset' as const, afterBytes: 50 } }];
    const registry = await faultyRegistry({ layouts, rules });
    defer(t, () => registry.stop());
    const sources = new Map(Object.keys(layouts).map((image) => [`registry.example/${image}`, `docker://${registry.host}/${image}`]));
    const repo = join(scratch(t), 'repo');
    await Repo.init(repo, { mode });
    const umask: number = process.umask(name === 'no threads' ? 0o077 : 0o022);
    try {
      if (name === 'many at a time') otherOwner(project);
      const result = await pack(project, repo, { ...options, imageSources: sources });
      await fsck(repo);
      commits.set(name, result.commit as string);
      trees.set(name, await output('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', result.commit as string, '/']));
    } finally {
      process.umask(umask);
    }
  }
  assert.equal(new Set(trees.values()).size, 1, JSON.stringify([...trees]));
  assert.equal(new Set(commits.values()).size, 1, JSON.stringify([...commits]));

  const repo = join(scratch(t), 'repo');
  const sources = new Map(Object.entries(layouts).map(([image, layout]) => [`registry.example/${image}`, layout.reference]));
  const later = await pack(project, repo, { imageSources: sources, timestamp: 1_800_000_000n });
  assert.notEqual(later.commit, commits.get('no threads'), 'the time is part of a commit');
  assert.equal(await output('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', later.commit as string, '/']), trees.get('no threads'), '…and of no tree');
});

function otherOwner(project: string): void {
  chmodSync(join(project, 'conf/app.env'), 0o600);
  chmodSync(join(project, 'conf/run.sh'), 0o711);
  chmodSync(join(project, 'conf'), 0o700);
  if (process.getuid?.() === 0)
    for (const path of ['', 'conf', 'conf/app.env', 'conf/run.sh', 'docker-compose.yml']) chownSync(join(project, path), 1234, 4321);
}

test('a dry run writes nothing and says what the real one then fetches', { skip: needsPeer('ostree') }, async (t) => {
  const layouts = { 'db:1': await shopImage(t, 'db'), 'web:1': await shopImage(t, 'web') };
  const registry = await faultyRegistry({ layouts });
  defer(t, () => registry.stop());
  const project = makeProject(t, [`${registry.host}/db:1`, `${registry.host}/web:1`]);
  const repo = join(scratch(t), 'repo');

  const dry = await pack(project, repo, { dryRun: true });
  assert.equal(existsSync(repo), false);
  assert.equal(dry.commit, undefined);
  assert.equal(dry.dryRun, true);
  const sizes = Object.values(layouts).map((layout) => layout.images[0]?.layers.map(({ size }) => size) ?? []);
  const [base, own, top] = sizes[0] as [number, number, number];
  const [, own2, top2] = sizes[1] as [number, number, number];
  assert.deepEqual(
    dry.images.map(({ fetchBytes }) => fetchBytes),
    [base + own + top, own2 + top2],
    'a shared layer counts once',
  );
  assert.ok(dry.estimatedWriteBytes >= dry.fetchBytes);

  registry.forget();
  const real = await pack(project, repo);
  assert.equal(fetchedLayerBytes(registry.requests(), layouts), dry.fetchBytes);
  assert.equal(real.fetchBytes, dry.fetchBytes);
  // Of content that does not compress the estimate must be near.
  const written = real.stats?.storedBytesWritten ?? 0;
  assert.ok(written > dry.estimatedWriteBytes * 0.5 && written < dry.estimatedWriteBytes * 1.5, `${written} written, ${dry.estimatedWriteBytes} estimated`);

  const before = await snapshot(repo);
  const again = await pack(project, repo, { dryRun: true });
  assert.deepEqual(
    again.images.map((image) => [image.fetchBytes, image.estimatedWriteBytes]),
    [
      [0, 0],
      [0, 0],
    ],
  );
  assert.equal(await snapshot(repo), before, 'no file of the repository has changed');

  const bare = join(scratch(t), 'repo');
  await Repo.init(bare, { mode: 'bare-user' });
  const other = await pack(project, bare, { dryRun: true });
  assert.equal(other.images[1]?.estimatedWriteBytes, (own2 + top2) * BARE_EXPANSION);
});

function fetchedLayerBytes(
  requests: readonly { path: string; receivedBytes: number }[],
  layouts: Record<string, Awaited<ReturnType<typeof shopImage>>>,
): number {
  const digests = new Set(Object.values(layouts).flatMap(({ images }) => images.flatMap((image) => image.layers.map(({ digest }) => String(digest)))));
  return requests.filter(({ path }) => digests.has(path.split('/').at(-1) as string)).reduce((sum, { receivedBytes }) => sum + receivedBytes, 0);
}

function snapshot(directory: string): Promise<string> {
  return output('find', [directory, '-printf', '%p %s %T@ %i %m\n']);
}

test('signed: ostree verifies it, and pulls it where signatures are required', { skip: needsPeer('ostree', 'gpg', 'gpgconf') }, async (t) => {
  const home = scratch(t);
  const gpg = (...args: string[]): Promise<string> => output('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args]);
  defer(t, () => run('gpgconf', ['--homedir', home, '--kill', 'all'], { accept: 'any' }));
  await gpg('--quick-generate-key', 'ann@example.org', 'ed25519', 'sign', 'never');
  await gpg('--quick-generate-key', 'bob@example.org', 'ed25519', 'sign', 'never');
  // What ostree calls a gpg home is a directory of key files.
  const keys = scratch(t);
  const keyring = join(keys, 'ann.gpg');
  await gpg('--output', keyring, '--export', 'ann@example.org');
  await gpg('--output', join(keys, 'bob.gpg'), '--export', 'bob@example.org');

  const web = await shopImage(t, 'web');
  const options = { imageSources: new Map([[NAME, web.reference]]) };
  const signBy = (keyId: string): Partial<PackOptions> => ({ ...options, signBy: { keyId, homeDirectory: home } });
  const project = makeProject(t, [NAME]);
  const [repo, unsigned, target] = [join(scratch(t), 'repo'), join(scratch(t), 'repo'), join(scratch(t), 'repo')];

  const message = await packFails(pack(project, repo, signBy('nobody@example.org')), 'TRUST_GPG_KEY_MISSING', repo, undefined);
  assert.match(message, /nobody@example\.org/);
  assert.equal(existsSync(repo), false, 'the key is looked for before anything is made');

  const signed = await pack(project, repo, signBy('ann@example.org'));
  await fsck(repo);
  const shown = await output('ostree', [`--repo=${repo}`, 'show', `--gpg-homedir=${keys}`, BRANCH]);
  assert.match(shown, /Good signature from " ?<?ann@example\.org/);

  await pack(project, unsigned, options);
  await output('ostree', [`--repo=${target}`, 'init', '--mode=bare-user']);
  for (const [name, path] of Object.entries({ good: repo, bad: unsigned })) {
    await output('ostree', [`--repo=${target}`, 'remote', 'add', `--gpg-import=${keyring}`, name, `file://${path}`]);
  }
  const refused = await run('ostree', [`--repo=${target}`, 'pull', 'bad', BRANCH], { accept: [1] });
  assert.match(refused.stderr, /no signatures|signature/i);
  await output('ostree', [`--repo=${target}`, 'pull', 'good', BRANCH]);
  assert.equal(await refOf(target, `good:${BRANCH}`), signed.commit);

  // Signed again by the same key: nothing changes; by another: both hold.
  const again = await pack(project, repo, signBy('ann@example.org'));
  assert.equal(again.unchanged, true);
  assert.equal(count(await output('ostree', [`--repo=${repo}`, 'show', `--gpg-homedir=${keys}`, BRANCH]), /Good signature/g), 1);
  const both = await pack(project, repo, signBy('bob@example.org'));
  assert.deepEqual([both.commit, both.unchanged], [signed.commit, true]);
  assert.equal(count(await output('ostree', [`--repo=${repo}`, 'show', `--gpg-homedir=${keys}`, BRANCH]), /Good signature/g), 2);
});

function count(text: string, what: RegExp): number {
  return text.match(what)?.length ?? 0;
}

test('an app of thousands of files, large and small', { skip: needsPeer('ostree') }, async (t) => {
  const web = await shopImage(t, 'web');
  const large = noise('large', 900_000);
  const many = Object.fromEntries(Array.from({ length: 2500 }, (_, i) => [`data/${i % 50}/f${i}`, `file ${i}`]));
  const project = makeProject(t, [NAME], { ...many, 'data/large': large, 'data/exact': noise('exact', 256 * 1024), 'data/empty': '' });
  const compose = join(project, 'docker-compose.yml');
  writeFileSync(compose, `${readFileSync(compose, 'utf8')}    volumes: ["./data:/data"]\n`);
  const repo = join(scratch(t), 'repo');
  const result = await pack(project, repo, { imageSources: new Map([[NAME, web.reference]]) });
  await fsck(repo);
  const out = join(scratch(t), 'out');
  await output('ostree', [`--repo=${repo}`, 'checkout', '--user-mode', '--subpath=/shop', result.commit as string, out]);
  await output('diff', ['-r', join(project, 'data'), join(out, 'data')]);
  assert.equal((await output('find', [join(out, 'data'), '-type', 'f'])).split('\n').length, 2503);
});

test('what is left out of an image is said, and recorded in the commit', { skip: needsPeer('ostree') }, async (t) => {
  const layout = await buildImageLayout(join(scratch(t), 'image'), {
    images: [{ layers: [{ entries: [{ path: 'run/' }, { path: 'run/pipe', kind: 'fifo' }, { path: 'big', content: noise('x', 1000) }] }] }],
  });
  const repo = join(scratch(t), 'repo');
  const result: PackResult = await pack(makeProject(t, [NAME]), repo, { imageSources: new Map([[NAME, layout.reference]]) });
  assert.deepEqual(result.images[0]?.skipped, [{ path: 'run/pipe', kind: 'fifo' }]);
  const recorded = await output('ostree', [`--repo=${repo}`, 'show', '--print-metadata-key=cambium.skipped', BRANCH]);
  assert.equal(recorded, `[('${NAME}', 'run/pipe', 'fifo')]`);
  const [image] = await imagesOf(repo, result.commit as string);
  const listed = await output('ostree', [`--repo=${repo}`, 'ls', '-R', '--nul-filenames-only', BRANCH, `/storage/overlay/${image?.layer}/diff`]);
  assert.equal(listed.includes('pipe'), false);
  assert.equal(listed.includes('/diff/run'), true);
});
