/**
 * `cambium pack` beside precompose's procedure: `podman pull` of each image into a fresh store, then `ostree commit` of
 * the whole into an archive repository. Three images of about 190–220 MB each, from docker-registry on loopback.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltLayout, makeDebianImages, podmanEnvironment, pushLayout } from '@cambium/testkit';
import { type Comparison, compare, runOnce, type Step } from './measure.ts';
import type { BenchContext } from './ostree.ts';
import { startBenchRegistry } from './registry.ts';
import { Scratch } from './scratch.ts';

const BRANCH = 'apps/shop';

export async function benchPack(context: BenchContext): Promise<Comparison[]> {
  const images = await makeDebianImages(context.cache, (line) => process.stderr.write(`${line}\n`));
  const rows = await benchImages(context, 'apart', images.apart);
  return [...rows, ...(await benchImages(context, 'shared', images))];
}

type ImageSet = Record<'nginx' | 'redis' | 'flask' | 'flaskChanged', BuiltLayout>;

/** `apart`: each image brings all it has in layers of its own. `shared`: all stand on one base layer. */
async function benchImages({ cambium, scratch: parent, runs }: BenchContext, kind: 'apart' | 'shared', images: ImageSet): Promise<Comparison[]> {
  const scratch = new Scratch(join(parent, kind));
  const registry = await startBenchRegistry(scratch.at('registry'));
  const podman = await podmanEnvironment({ rootless: false, insecureRegistries: [registry.host] });
  try {
    const names = ['nginx', 'redis', 'flask'].map((name) => `${registry.host}/bench/${name}:latest`);
    await pushLayout(images.nginx, names[0] as string);
    await pushLayout(images.redis, names[1] as string);
    const pushFlask = (changed: boolean): Promise<void> => pushLayout(changed ? images.flaskChanged : images.flask, names[2] as string);

    const project = scratch.at('shop');
    mkdirSync(project);
    writeFileSync(join(project, 'docker-compose.yml'), `services:\n${names.map((name, i) => `  s${i}:\n    image: ${name}\n`).join('')}`);
    const ourRepo = scratch.at('ours');
    const peerRepo = scratch.at('peer');
    const peerScript = scratch.at('procedure.sh');
    writeFileSync(peerScript, procedure(names, peerRepo, scratch.at('pulled')));

    const pack = [...cambium, 'pack', '--repo', ourRepo, BRANCH, join(project, 'docker-compose.yml')];
    const ours = (prepare: () => Promise<void>): Step => ({ prepare, command: pack });
    const peer = (prepare: () => Promise<void>): Step => ({ prepare, command: ['sh', peerScript], environment: { ...podman.env } });
    const fresh = async (): Promise<void> => {
      await pushFlask(false);
      for (const name of ['ours', 'peer']) scratch.clear(name);
      await runOnce({ command: ['ostree', 'init', `--repo=${peerRepo}`, '--mode=archive'] });
    };
    const what = kind === 'apart' ? 'three images, no layer in common' : 'three images on one base layer';
    const first = await compare(`pack, first time: ${what}`, kind === 'apart' ? '≥ 8×' : '–', ours(fresh), peer(fresh), runs);

    // Both begin with the first version, and pack the second one, which neither knows.
    await fresh();
    await runOnce(peer(fresh));
    const back = async (): Promise<void> => {
      await pushFlask(false);
      await runOnce({ command: pack });
      await runOnce({ command: [...cambium, 'clean', '--repo', ourRepo] });
      await pushFlask(true);
    };
    const again = await compare(
      'pack again, one file of one image changed',
      kind === 'apart' ? '≥ 60×' : '–',
      ours(back),
      peer(() => pushFlask(true)),
      runs,
    );
    if (kind === 'shared') return [first, again];
    return [first, again, await compare('pack again, nothing changed', '< 0.5 s', { command: pack }, undefined, Math.max(runs, 5))];
  } finally {
    await podman.stop();
    await registry.stop();
  }
}

/** What precompose does, without its Python. */
function procedure(names: readonly string[], repo: string, store: string): string {
  const podman = 'podman --root $store/storage --runroot $run --storage-driver overlay';
  return [
    'set -e',
    `store=$(mktemp -d ${store}-XXXXXX)`,
    // Apart, because podman takes a short path only.
    'run=$(mktemp -d)',
    ...names.map((name) => `${podman} pull -q ${name}`),
    `ostree commit --repo=${repo} -b ${BRANCH} --tree=dir=$store`,
    'rm -rf $store $run',
    '',
  ].join('\n');
}
