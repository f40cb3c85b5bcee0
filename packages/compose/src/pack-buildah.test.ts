/** Images that the real buildah made: packed from every place it writes them to, then run by podman from a checkout. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { busyboxPath, defer, firstReason, needsPeer, needsPodman, output, podmanEnvironment, scratch, startRegistry } from '@cambium/testkit';
import { cat, fsck, imagesOf, makeProject, pack } from './pack-project.test.ts';

const NAME = 'registry.example/shop/web:1';

/** A layer per instruction, one with a whiteout, modes and owners as COPY sets them, links. */
const CONTAINERFILE = `FROM scratch
COPY busybox /bin/busybox
COPY --chown=1000:1000 --chmod=640 page /srv/page
COPY page /srv/gone
RUN ["/bin/busybox", "rm", "/srv/gone"]
RUN ["/bin/busybox", "ln", "-s", "page", "/srv/link"]
LABEL org.example.made-by=buildah
USER 1000
CMD ["/bin/busybox", "sh", "-c", "cat /srv/link; ls /srv; stat -c '%u:%g %a' /srv/page; id -u"]
`;
const SHOWN = 'the page\nlink\npage\n1000:1000 640\n1000';

test('images that buildah built and pushed run from a checkout', {
  skip: firstReason(needsPeer('ostree', 'buildah', 'docker-registry', 'busybox'), needsPodman({ rootless: false })),
}, async (t) => {
  const registry = await startRegistry();
  defer(t, () => registry.stop());
  const engine = await podmanEnvironment({ rootless: false, insecureRegistries: [registry.host] });
  defer(t, () => engine.stop());
  const context = join(engine.directory, 'context');
  mkdirSync(context);
  writeFileSync(join(context, 'Containerfile'), CONTAINERFILE);
  writeFileSync(join(context, 'page'), 'the page\n');
  copyFileSync(busyboxPath() ?? '', join(context, 'busybox'));
  const idFile = join(engine.directory, 'id');
  const build = ['build', '--quiet', '--layers', '--isolation=chroot', '--iidfile', idFile];
  await engine.run('buildah', [...build, '--tag', 'localhost/web', context]);
  const id = readFileSync(idFile, 'utf8').trim();

  const [layout, archive, dockerArchive] = ['layout', 'oci.tar', 'docker.tar'].map((name) => join(engine.directory, name)) as [string, string, string];
  const places: Record<string, { pushed: string; from: string; format: string; keepsConfig: boolean }> = {
    'a registry': { pushed: `docker://${registry.host}/shop/web:1`, from: `docker://${registry.host}/shop/web:1`, format: 'oci', keepsConfig: true },
    'a registry, in the Docker format': {
      pushed: `docker://${registry.host}/shop/web:docker`,
      from: `docker://${registry.host}/shop/web:docker`,
      format: 'v2s2',
      keepsConfig: false,
    },
    'a layout': { pushed: `oci:${layout}:web`, from: `oci:${layout}:web`, format: 'oci', keepsConfig: true },
    'an OCI archive': { pushed: `oci-archive:${archive}:web`, from: `oci-archive:${archive}:web`, format: 'oci', keepsConfig: true },
    'a Docker archive': { pushed: `docker-archive:${dockerArchive}:${NAME}`, from: `docker-archive:${dockerArchive}`, format: 'v2s2', keepsConfig: false },
  };
  for (const { pushed, format } of Object.values(places)) {
    await engine.run('buildah', ['push', '--quiet', '--tls-verify=false', '--format', format, 'localhost/web', pushed]);
  }
  // What podman runs below must come from the checkout.
  await engine.run('buildah', ['rmi', '--all', '--force']);

  const trees = new Set<string>();
  for (const [name, { from, keepsConfig }] of Object.entries(places)) {
    await t.test(`from ${name}`, async (s) => {
      const repo = join(scratch(s), 'repo');
      const { commit, images } = await pack(makeProject(s, [NAME]), repo, { imageSources: new Map([[NAME, from]]) });
      await fsck(repo);
      const [image] = await imagesOf(repo, commit as string);
      if (keepsConfig) assert.equal(`sha256:${image?.id}`, id);
      const pinned = images[0]?.pinned as string;
      assert.match((await cat(repo, commit as string, '/shop/docker-compose.yml')).toString(), new RegExp(`image: ${pinned}\n`));
      trees.add(await output('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', commit as string, `/storage/overlay/${image?.layer}/diff`]));

      const checkout = scratch(s);
      await output('ostree', [`--repo=${repo}`, 'checkout', '--subpath=/storage', commit as string, join(checkout, 'storage')]);
      engine.setImageStores([join(checkout, 'storage')]);
      defer(s, () => engine.setImageStores([]));
      assert.equal(await engine.podman('image', 'inspect', '--format', '{{index .Labels "org.example.made-by"}}', pinned), 'buildah');
      assert.equal(await engine.podman('run', '--rm', '--pull=never', '--network=none', pinned), SHOWN);
    });
  }
  assert.equal(trees.size, 1, 'the files are the same from wherever they come');
});
