/** What a pack that profiles narrow says and ships. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CleanUp, needsPeer, output, scratch } from '@cambium/testkit';
import type { PackResult } from './index.ts';
import { cat, fsck, imagesOf, makeProject, pack, shopImage } from './pack-project.test.ts';

const WEB = 'registry.example/shop/web:1';
const DEBUG = 'registry.example/shop/debug:1';

interface Packed extends PackResult {
  text: string;
  warnings: string[];
  storeNames: string[];
}

/** Packs with these profiles; only the images that are wanted can be read anywhere. */
async function packProfiles(t: CleanUp, source: string, profiles: readonly string[] | undefined, images: readonly string[]): Promise<Packed> {
  const project = makeProject(t, []);
  writeFileSync(join(project, 'docker-compose.yml'), source);
  const layout = await shopImage(t, 'web');
  const repo = join(scratch(t), 'repo');
  const warnings: string[] = [];
  const result = await pack(project, repo, {
    project: { workingDirectory: project, environment: {}, profiles },
    imageSources: new Map(images.map((image) => [image, layout.reference])),
    on: (event) => {
      if (event.type === 'warning') warnings.push(event.message);
    },
  });
  await fsck(repo);
  const commit = result.commit as string;
  const text = (await cat(repo, commit, '/shop/docker-compose.yml')).toString();
  const storeNames = (await imagesOf(repo, commit)).flatMap((image) => image.names);
  return { ...result, text, warnings, storeNames };
}

/** Asserts that docker-compose takes the file where nothing else is, and returns the services it sees, of all profiles. */
async function servicesSeen(t: CleanUp, text: string): Promise<string[]> {
  const device = scratch(t);
  writeFileSync(join(device, 'docker-compose.yml'), text);
  return (await output('docker-compose', ['--file', join(device, 'docker-compose.yml'), 'config', '--services'])).trim().split('\n').sort();
}

const SOURCE = `x-web: &web ${WEB} # one place
services:
  web: { image: *web }
  same: { image: *web, profiles: [dev] }
  debug:   # kept as it is
    image: ${DEBUG}
    profiles: [dev, "test"]
`;

test('images of other profiles stay as written, are not packed, and are warned of by name', { skip: needsPeer('ostree', 'docker-compose') }, async (t) => {
  const { text, warnings, notPacked, composeForm, storeNames, images } = await packProfiles(t, SOURCE, ['prod'], [WEB]);
  assert.deepEqual(notPacked, [{ reference: DEBUG, services: ['debug'] }]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /names images that are not packed.*registry\.example\/shop\/debug:1 \(debug\).*unpinned/);
  assert.deepEqual(storeNames, [WEB]);
  assert.equal(composeForm, 'as-written');
  // A service of another profile has its pin all the same where its image is packed.
  assert.equal(text, SOURCE.replace(`&web ${WEB}`, `&web ${images[0]?.pinned}`));
  assert.deepEqual(await servicesSeen(t, text), ['debug', 'same', 'web']);
});

test('without profiles everything is packed and there is nothing to warn of', { skip: needsPeer('ostree') }, async (t) => {
  for (const profiles of [undefined, ['dev']]) {
    const { text, warnings, notPacked, storeNames } = await packProfiles(t, SOURCE, profiles, [WEB, DEBUG]);
    assert.deepEqual([warnings, notPacked], [[], []]);
    assert.deepEqual(storeNames.sort(), [DEBUG, WEB]);
    assert.equal(text.match(/@sha256:/g)?.length, 2);
  }
});

test('services of other profiles whose files stay behind are not shipped: docker-compose would refuse the app', {
  skip: needsPeer('ostree', 'docker-compose'),
}, async (t) => {
  for (const needs of ['env_file: dev.env', 'build: ./dev']) {
    const source = `services:\n  web: { image: "${WEB}" }\n  debug: { image: "${DEBUG}", profiles: [dev], ${needs} }\n`;
    const { text, warnings, notPacked, composeForm } = await packProfiles(t, source, [], [WEB]);
    assert.equal(composeForm, 'resolved', needs);
    assert.deepEqual(notPacked, []);
    assert.match(warnings.join('\n'), /other profiles need files that are not packed \(debug\): the resolved model is packed instead/);
    assert.doesNotMatch(text, /debug/);
    assert.deepEqual(await servicesSeen(t, text), ['web']);
  }
});
