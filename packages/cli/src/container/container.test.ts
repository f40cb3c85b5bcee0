/** Images and commits from end to end, as a user runs the commands. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defer, needsPeer, type RunResult, run, scratch, startRegistry } from '@cambium/testkit';

const LAUNCHER = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));

interface World {
  directory: string;
  cambium(line: string, accept?: 'any'): Promise<RunResult>;
}

/** A repository `repo` with a commit under `os`. */
async function worldOf(t: TestContext): Promise<World> {
  const directory = scratch(t);
  mkdirSync(join(directory, 'tree/usr/bin'), { recursive: true });
  writeFileSync(join(directory, 'tree/usr/bin/tool'), 'a tool', { mode: 0o755 });
  const env = { PATH: process.env.PATH ?? '', HOME: directory, LC_ALL: 'C.UTF-8' };
  const cambium = async (line: string, accept?: 'any'): Promise<RunResult> =>
    await run(process.execPath, [LAUNCHER, ...line.split(' ')], { cwd: directory, env, ...(accept === undefined ? {} : { accept }) });
  await cambium('ostree init --repo=repo --mode=archive');
  await cambium('ostree commit --repo=repo -b os --timestamp=@1 --tree=dir=tree');
  return { directory, cambium };
}

test('a commit travels as an image through a registry, and comes out signed as its remote wants it', { skip: needsPeer('docker-registry') }, async (t) => {
  const { directory, cambium } = await worldOf(t);
  const registry = await startRegistry();
  defer(t, () => registry.stop());
  const image = `docker://${registry.host}/os:1`;
  const commit = (await cambium('ostree rev-parse --repo=repo os')).stdout.trim();
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const [secret, known] = [privateKey.export({ format: 'jwk' }), publicKey.export({ format: 'jwk' })];
  const point = Buffer.from(known.x as string, 'base64url');
  const key = Buffer.concat([Buffer.from(secret.d as string, 'base64url'), point]).toString('base64');

  const unsigned = JSON.parse((await cambium(`container encapsulate --json --repo=repo --label=of=test os ${image}`)).stdout) as {
    commit: string;
    digest: string;
  };
  assert.equal(unsigned.commit, commit);
  assert.equal((await cambium(`image digest ${image}`)).stdout.trim(), unsigned.digest);

  await cambium('ostree init --repo=into --mode=bare-user');
  await cambium('ostree remote add --repo=into --no-gpg-verify lax https://example.com/');
  await cambium('ostree remote add --repo=into --no-gpg-verify strict https://example.com/');
  const config = join(directory, 'into/config');
  writeFileSync(
    config,
    readFileSync(config, 'utf8').replace(
      '[remote "strict"]\n',
      `[remote "strict"]\nsign-verify=ed25519\nverification-ed25519-key=${point.toString('base64')}\n`,
    ),
  );
  const from = (remote: string): string => `container unencapsulate --repo=into --write-ref=got ostree-remote-image:${remote}:${image}`;
  assert.match((await cambium(from('lax'), 'any')).stderr, /remote "lax" asks for no signatures/);
  const refused = await cambium(from('strict'), 'any');
  assert.match(refused.stderr, /OSTREE_SIGNATURE_MISSING/);
  assert.equal((await cambium('ostree refs --repo=into')).stdout, '');

  await cambium(`ostree sign --repo=repo os ${key}`);
  await cambium(`container encapsulate --repo=repo os ${image}`);
  assert.equal((await cambium(from('strict'))).stdout, `Imported: got => ${commit}\n`);
  assert.equal((await cambium(`container unencapsulate --repo=into ${image}`)).stdout, `Imported: ${commit}\n`);
  assert.equal((await cambium('ostree fsck --repo=into', 'any')).status, 0);
});

test('images are copied, listed, tagged and deleted by commands', async (t) => {
  const { cambium } = await worldOf(t);
  await cambium('container encapsulate --repo=repo os oci:images:one');
  const digest = (await cambium('image digest oci:images:one')).stdout;
  assert.match((await cambium('image copy --dry-run oci:images:one oci-archive:archive.tar:two')).stdout, /^Would send 2 blobs, /);
  assert.equal((await cambium('image copy oci:images:one oci-archive:archive.tar:two')).stdout, digest);
  assert.equal((await cambium('image list oci-archive:archive.tar')).stdout, `two  ${digest}`);
  await cambium('image tag oci:images:one three four');
  await cambium('image delete oci:images:one');
  assert.deepEqual(
    (JSON.parse((await cambium('image list --json oci:images')).stdout) as { name: string }[]).map(({ name }) => name),
    ['three', 'four'],
  );
  const changed = await cambium('image copy --json --compression=zstd oci:images:four dir:out');
  const result = JSON.parse(changed.stdout) as { digest: string; sourceDigest: string };
  assert.deepEqual([`${result.sourceDigest}\n`, result.digest === result.sourceDigest], [digest, false]);
  assert.match((await cambium('image copy oci:images:nothing dir:out', 'any')).stderr, /OCI_MANIFEST_UNKNOWN/);
  assert.match((await cambium('image copy --all --platform=arm64 oci:images:four dir:out', 'any')).stderr, /--all together with --platform/);
});
