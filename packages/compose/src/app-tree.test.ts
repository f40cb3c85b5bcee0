/** Files of the project that are swapped between being looked at and being read. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CleanUp, firstReason, needsPeer, output, scratch } from '@cambium/testkit';
import type { PackOptions, PackResult } from './index.ts';
import { cat, makeProject, pack, packFails, shopImage } from './pack-project.test.ts';

const IMAGE = 'registry.example/shop/web:1';
const CONTENT = 'what the app needs\n';
/** As long as what it replaces, so that its size does not give it away. */
const SECRET = 'what only root sees';

/** Packs an app whose file is swapped once its files were collected. */
async function packSwapped(
  t: CleanUp,
  content: string,
  swap: (file: string, secrets: string) => void,
): Promise<{ repo: string; packing: Promise<PackResult> }> {
  const project = makeProject(t, [IMAGE], { 'conf/app.conf': content });
  writeFileSync(join(project, 'docker-compose.yml'), `services:\n  web:\n    image: ${IMAGE}\n    volumes: ["./conf:/conf:ro"]\n`);
  const secrets = join(scratch(t), 'secrets');
  mkdirSync(secrets);
  writeFileSync(join(secrets, 'app.conf'), SECRET.padEnd(content.length, '!'));
  const layout = await shopImage(t, 'web');
  const repo = join(scratch(t), 'repo');
  let swapped = false;
  const on: PackOptions['on'] = () => {
    // The first event comes when the images are asked for: after the files were listed, before they are read.
    if (swapped) return;
    swapped = true;
    swap(join(project, 'conf/app.conf'), secrets);
  };
  return { repo, packing: pack(project, repo, { imageSources: new Map([[IMAGE, layout.reference]]), on }) };
}

const SWAPS: Record<string, (file: string, secrets: string) => unknown> = {
  'a link to another file': (file, secrets) => {
    rmSync(file);
    symlinkSync(join(secrets, 'app.conf'), file);
  },
  'a link in the place of its directory': (file, secrets) => {
    renameSync(join(file, '..'), join(file, '../../conf-away'));
    symlinkSync(secrets, join(file, '..'));
  },
  'another file of the same size': (file, secrets) => renameSync(join(secrets, 'app.conf'), file),
  'a directory': (file) => {
    rmSync(file);
    mkdirSync(file);
  },
  'a longer file': (file) => writeFileSync(file, 'more', { flag: 'a' }),
  'an empty file': (file) => writeFileSync(file, ''),
};

for (const [name, swap] of Object.entries(SWAPS)) {
  test(`a file of the project that becomes ${name} is refused`, { skip: needsPeer('ostree') }, async (t) => {
    // Small files are read at once, larger ones are streamed.
    for (const content of [CONTENT, CONTENT.repeat(20_000)]) {
      const { repo, packing } = await packSwapped(t, content, swap);
      await packFails(packing, 'TREE_FILE_CHANGED', repo, undefined);
    }
  });
}

test('a file of the project that becomes a FIFO is refused, and nobody waits for it', {
  skip: firstReason(needsPeer('ostree'), needsPeer('mkfifo')),
}, async (t) => {
  const pipe = join(scratch(t), 'pipe');
  await output('mkfifo', [pipe]);
  const { repo, packing } = await packSwapped(t, CONTENT, (file) => renameSync(pipe, file));
  await packFails(packing, 'TREE_FILE_CHANGED', repo, undefined);
});

test('a file of the project that stays is packed', { skip: needsPeer('ostree') }, async (t) => {
  const { repo, packing } = await packSwapped(t, CONTENT, () => undefined);
  const { commit } = await packing;
  assert.equal((await cat(repo, commit as string, '/shop/conf/app.conf')).toString(), CONTENT);
});
