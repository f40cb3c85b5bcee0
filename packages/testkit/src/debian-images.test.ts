import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { defer, firstReason, makeDebianImages, needsPeer, pushLayout, startRegistry } from './index.ts';

const CACHE = join(import.meta.dirname, '../../../.cache');
// Making them takes downloads; tests must not. The benchmarks make them.
const made = existsSync(join(CACHE, 'debian-images-1')) ? false : 'the images are made by npm run bench';

test('the Debian images share their base and differ from the edited one in the last layer', {
  skip: firstReason(made, needsPeer('docker-registry', 'skopeo')),
}, async (t) => {
  const images = await makeDebianImages(CACHE);
  const layers = (name: 'nginx' | 'redis' | 'flask' | 'flaskChanged'): string[] => images[name].images[0]?.layers.map((layer) => layer.digest) ?? [];
  assert.equal(new Set([layers('nginx')[0], layers('redis')[0], layers('flask')[0]]).size, 1);
  assert.deepEqual(layers('flask').slice(0, 2), layers('flaskChanged').slice(0, 2));
  assert.notEqual(layers('flask')[2], layers('flaskChanged')[2]);
  for (const size of Object.values(images.sizes)) assert.ok(size > 170e6 && size < 240e6, String(size));

  const registry = await startRegistry();
  defer(t, () => registry.stop());
  await pushLayout(images.flask, `${registry.host}/flask:1`);
  registry.forget();
  await pushLayout(images.flaskChanged, `${registry.host}/flask:2`);
  const uploads = registry.requests().filter(({ method, sentBytes }) => (method === 'PATCH' || method === 'PUT') && sentBytes > 100_000);
  assert.deepEqual(uploads, [], 'only the small layer, the config and the manifest go over');
});
