/** `npm start`: the main job on a small app, command by command, as a user would type it. */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { styleText } from 'node:util';
import { makeImages } from './images.ts';

const top = resolve(import.meta.dirname, '../..');
const work = join(top, '.cache/example');
const repo = join(work, 'repo');
const app = join(top, 'examples/hello');
const cambium = join(top, 'packages/cli/bin/cambium.js');

say('Cambium packs a Compose app, images included, into an OSTree repository.');
say('This example works in .cache/example and starts afresh each time.');
rmSync(repo, { recursive: true, force: true });

heading('1. Two images, made from this machine so that no registry is needed');
const first = makeImages(join(work, 'images-1'), join(app, 'images'));
for (const image of first) say(`   ${image.reference}`);

heading('2. The app goes into a repository');
pack(first);

heading('3. What is in it');
run('ostree', 'ls', `--repo=${repo}`, 'apps/hello', '/hello');
run('ostree', 'refs', `--repo=${repo}`);

heading('4. A second version: one file of one image is different');
const edited = { 'web/page.txt': 'Hello, this is the second version.\n' };
const second = makeImages(join(work, 'images-2'), join(app, 'images'), edited);
say('   What packing it will fetch:');
pack(second, '--dry-run');
pack(second);

heading('5. And again, with nothing changed');
pack(second);

heading('Where to go next');
say('   npx cambium pack --help            pack an app of your own');
say('   npx cambium mount --help           run it with podman, straight from a checkout');
say('   npx cambium doctor                 what this machine can do');
say('   docs/commands.md                   all commands');

function pack(images: readonly { reference: string; place: string }[], ...more: readonly string[]): void {
  const sources = images.flatMap((image) => ['--image-source', `${image.reference}=${image.place}`]);
  run('pack', ...more, '--repo', repo, ...sources, 'apps/hello', join(app, 'docker-compose.yml'));
}

function run(...args: readonly string[]): void {
  const shown = args.map((arg) => arg.replaceAll(`${top}/`, '')).join(' ');
  console.log(styleText('dim', `   $ cambium ${shown}`));
  const { status, error } = spawnSync(process.execPath, [cambium, ...args], { stdio: 'inherit', cwd: top });
  if (error !== undefined) throw error;
  if (status !== 0) {
    console.error(`\n${relative(process.cwd(), cambium)} ended with status ${status}: please report it with the lines above`);
    process.exit(status ?? 1);
  }
}

function heading(text: string): void {
  console.log(`\n${styleText('bold', text)}\n`);
}

function say(text: string): void {
  console.log(text);
}
