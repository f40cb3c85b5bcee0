/** The command is killed at many points; each time the repository is whole, and at last the commit is that of an undisturbed run. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  buildImageLayout,
  type CleanUp,
  defer,
  faultyRegistry,
  hostArchitecture,
  killAt,
  needsPeer,
  output,
  type Registry,
  run,
  scratch,
} from '@cambium/testkit';
import { fsck, makeProject, noise, refOf, setImages, shopLayers } from './pack-project.test.ts';

const CAMBIUM = fileURLToPath(new URL('../../cli/bin/cambium.js', import.meta.url));
const BRANCH = 'apps/shop';
/** Long before Node has started. */
const FIRST_KILL_MS = 40;

interface Disturbed {
  project: string;
  registry: Registry;
  oldImage: string;
  newImage: string;
}

/** An app with some hundreds of files, so that there is something to be in the middle of. */
async function bigShop(t: CleanUp): Promise<Disturbed> {
  const files = Array.from({ length: 400 }, (_, i) => ({ path: `lib/f${i}`, content: noise(`f${i}`, 2000) }));
  const image = (name: string): ReturnType<typeof buildImageLayout> =>
    buildImageLayout(join(scratch(t), name), {
      images: [{ layers: [...shopLayers(name), { entries: [{ path: 'lib/' }, ...files, { path: 'lib/large', content: noise(name, 1_500_000) }] }] }],
    });
  const registry = await faultyRegistry({ layouts: { 'old:1': await image('old'), 'new:1': await image('new') } });
  defer(t, () => registry.stop());
  const [oldImage, newImage] = [`${registry.host}/old:1`, `${registry.host}/new:1`];
  return { project: makeProject(t, [oldImage]), registry, oldImage, newImage };
}

function command(repo: string, project: string): string[] {
  return [CAMBIUM, 'pack', '--repo', repo, '--timestamp', '@1700000000', BRANCH, join(project, 'docker-compose.yml')];
}

test('SIGKILL at any moment', { skip: needsPeer('ostree') }, async (t) => {
  const shop = await bigShop(t);
  assert.ok(existsSync(CAMBIUM), 'the command is built');
  const pristine = join(scratch(t), 'repo');
  const env = { ...process.env, OSTREE_REPO: '' };
  await output(process.execPath, command(pristine, shop.project), { env });
  const before = (await refOf(pristine)) as string;
  setImages(shop.project, [shop.newImage]);

  const undisturbed = join(scratch(t), 'repo');
  await output('cp', ['-a', pristine, undisturbed]);
  const wanted = await output(process.execPath, command(undisturbed, shop.project), { env });

  const repo = join(scratch(t), 'repo');
  await output('cp', ['-a', pristine, repo]);
  let killed = 0;
  const seen = new Set<string>();
  // Later and later until one gets through: however busy the machine is, kills fall into every part of the work.
  for (let at = await refOf(repo), afterMs = FIRST_KILL_MS; at !== wanted; afterMs *= 1.25) {
    const one = await killAt(process.execPath, command(repo, shop.project), { afterMs }, { env });
    if (one.killed) killed++;
    else assert.equal(one.status, 0, one.stderr);
    await fsck(repo);
    at = await refOf(repo);
    assert.ok(at === before || at === wanted, `the branch is at ${at}`);
    seen.add(state(repo));
  }
  assert.ok(killed >= 5, `${killed} runs were killed`);
  assert.ok(seen.size > 1, 'kills left different states behind');
  assert.equal(await output(process.execPath, command(repo, shop.project), { env }), wanted);
  await fsck(repo);
  assert.deepEqual(
    readdirSync(join(repo, 'tmp')).filter((name) => name !== 'cache' && !name.endsWith('-lock')),
    [],
    'what interrupted runs left is gone',
  );
});

function state(repo: string): string {
  const staged = readdirSync(join(repo, 'tmp')).filter((name) => name.startsWith('staging-') && !name.endsWith('-lock')).length;
  const objects = readdirSync(join(repo, 'objects')).length;
  return `${staged} staging, ${objects} directories of objects`;
}

test('SIGKILL at each kind of event', { skip: needsPeer('ostree') }, async (t) => {
  const shop = await bigShop(t);
  const script = join(scratch(t), 'pack.mjs');
  writeFileSync(script, scriptText(shop));
  const repo = join(scratch(t), 'repo');
  for (const [event, occurrence] of [
    ['layer-started', 1],
    ['layer-progress', 1],
    ['layer-progress', 9],
    ['layer-stored', 1],
    ['layer-stored', 4],
    ['image-stored', 1],
  ] as const) {
    const one = await killAt(process.execPath, [script, repo, event, String(occurrence)], { text: 'reached' });
    assert.equal(one.killed, true, `${event} ${occurrence}: ${one.stderr}`);
    await fsck(repo);
    assert.equal(await refOf(repo), undefined);
  }
  const last = await run(process.execPath, [script, repo]);
  const undisturbed = await run(process.execPath, [script, join(scratch(t), 'repo')]);
  assert.match(last.stdout, /^commit [0-9a-f]{64}\n$/);
  assert.equal(last.stdout, undisturbed.stdout);
  await fsck(repo);
});

/** Packs through the library and stands still at one event, so that a kill hits that very moment. */
function scriptText(shop: Disturbed): string {
  return `import { writeSync } from 'node:fs';
import { packApp } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)};
const [repoPath, stopAt, occurrence] = process.argv.slice(2);
let left = Number(occurrence);
const result = await packApp({
  repoPath, branch: ${JSON.stringify(BRANCH)}, timestamp: 1n,
  project: { workingDirectory: ${JSON.stringify(shop.project)}, environment: {} },
  platform: { os: 'linux', architecture: ${JSON.stringify(hostArchitecture())} },
  on: ({ type }) => {
    if (type !== stopAt || --left > 0) return;
    writeSync(1, 'reached');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
  },
});
writeSync(1, 'commit ' + result.commit + '\\n');
`;
}
