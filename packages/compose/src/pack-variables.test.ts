/** What a device cannot know, and what others may read, is told: variables and the files that hold them. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer, output, run, scratch } from '@cambium/testkit';
import { BRANCH, makeProject, pack, shopImage } from './pack-project.test.ts';

const COMPOSE = [
  'services:',
  '  web:',
  '    image: "shop:${TAG}"',
  '    build: ./source',
  '    ports: ["${PORT:-80}:80"]',
  '    environment: ["PASSWORD=${PASSWORD}", "X=${UNSET:-x}"]',
  '    env_file: [web.env, {path: none.env, required: false}]',
  '',
].join('\n');

test('variables and their files, as written', async (t) => {
  const image = await shopImage(t, 'shop');
  const project = makeProject(t, [], { '.env': 'TAG=1\nPASSWORD=p\n', 'web.env': 'A=1\n', 'other.env': 'TAG=1\nPASSWORD=q\n' });
  writeFileSync(join(project, 'docker-compose.yml'), COMPOSE);
  const plan = async (environment: Record<string, string>, more: object = {}): Promise<unknown[]> => {
    const options = { imageSources: new Map([['shop:1', image.reference]]), dryRun: true };
    const result = await pack(project, join(project, '../repo'), { ...options, project: { workingDirectory: project, environment, ...more } });
    return [result.composeForm, result.variableFiles, result.variables];
  };
  assert.deepEqual(await plan({}), ['as-written', ['.env', 'web.env'], []]);
  assert.deepEqual(await plan({ PORT: '90', TAG: '1', HOME: '/root' }), ['as-written', ['.env', 'web.env'], ['PORT']]);
  assert.deepEqual(await plan({}, { envFiles: ['other.env'] }), ['as-written', ['other.env', 'web.env'], ['PASSWORD']]);
  writeFileSync(join(project, 'more.yml'), 'services: {web: {labels: {a: "${PORT-none}"}}}');
  assert.deepEqual(await plan({ PORT: '90' }, { files: ['docker-compose.yml', 'more.yml'] }), ['resolved', ['web.env'], ['PASSWORD', 'PORT']]);
  writeFileSync(join(project, '.composeappignores'), '.env\n');
  assert.deepEqual(await plan({}), ['as-written', ['web.env'], ['PASSWORD']]);
});

test('docker-compose takes the packed app although its build contexts stay behind', { skip: needsPeer('ostree', 'docker-compose') }, async (t) => {
  const image = await shopImage(t, 'shop');
  const project = makeProject(t, [], { '.env': 'TAG=1\nPASSWORD=p\n', 'web.env': 'A=1\n', 'source/Dockerfile': 'FROM scratch\n' });
  // docker-compose 1.29 has no optional env files.
  writeFileSync(join(project, 'docker-compose.yml'), COMPOSE.replace(', {path: none.env, required: false}', ''));
  const repoPath = join(project, '../repo');
  await pack(project, repoPath, { imageSources: new Map([['shop:1', image.reference]]) });
  const device = scratch(t);
  mkdirSync(join(device, 'app'));
  await output('ostree', [`--repo=${repoPath}`, 'checkout', '--user-mode', '--union', '--subpath=/shop', BRANCH, join(device, 'app')]);
  const shown = await run('docker-compose', ['config'], { cwd: join(device, 'app') });
  assert.match(shown.stdout, /image: docker\.io\/library\/shop:1@sha256:/);
});
