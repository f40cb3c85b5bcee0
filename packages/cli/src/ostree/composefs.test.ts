import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratch } from '@cambium/testkit';
import { type Place, runOurs } from './our-command.test.ts';

async function succeed(place: Place, line: string): Promise<string> {
  const { status, stdout, stderr } = await runOurs(line.split(' '), place);
  assert.deepEqual([status, stderr], [0, ''], line);
  return stdout.trim();
}

function inputs(directory: string): void {
  mkdirSync(join(directory, 'tree/usr/lib/modules/6.1'), { recursive: true, mode: 0o755 });
  writeFileSync(join(directory, 'tree/usr/lib/modules/6.1/vmlinuz'), 'k\n', { mode: 0o644 });
  symlinkSync('usr/lib', join(directory, 'tree/lib'));
}

const COMMIT = 'commit --repo=repo --timestamp=@9 --owner-uid=0 --owner-gid=0 --no-xattrs --canonical-permissions';

/** Made by libostree 2026.4 with libcomposefs 1.0.8 from the same tree with the same options. */
const PLAIN = '95dbcd80df5eee903d2d376f66d7e971f9828754ba21b2156c757f7cc8467f35';
const BOOT = '14b28d7c6eb9205964d88cad49811b178923e2a4a905826ab77310de05d799c9';
const DIGEST = 'ab1f10e4acb18dda3ae025718b73de97f477bb5e9ddb3c08ddd3c90ab1ba446e';

test('commits that name their composefs image are those of libostree 2026.4, and so are the images', async (t) => {
  const directory = scratch(t);
  const place: Place = { cwd: directory, env: { ...process.env } };
  inputs(directory);
  await succeed(place, 'init --repo=repo --mode=archive');
  assert.equal(await succeed(place, `${COMMIT} -b plain --generate-composefs-metadata tree`), PLAIN);
  const metadata = ['--bootable', '--add-metadata-string=version=1', '--add-metadata-string=summary=text', '--add-metadata=n=uint32 7'];
  const { status, stdout } = await runOurs([...`${COMMIT} -b boot --generate-composefs-metadata tree`.split(' '), ...metadata], place);
  assert.deepEqual([status, stdout.trim()], [0, BOOT]);
  for (const commit of ['plain', 'boot']) {
    assert.equal(await succeed(place, `show --repo=repo --print-hex --print-metadata-key=ostree.composefs.digest.v0 ${commit}`), DIGEST);
  }
  await succeed(place, 'checkout --repo=repo --composefs plain image');
  await succeed(place, 'checkout --repo=repo --composefs-noverity -U plain other');
  assert.equal(readFileSync(join(directory, 'image')).readUInt32LE(1024), 0xe0f5e1e2);
  assert.notDeepEqual(readFileSync(join(directory, 'image')), readFileSync(join(directory, 'other')));
  for (const option of ['--union', '--subpath=/usr', '-C', '--whiteouts', '--skip-list=x', '--from-file=x']) {
    const refused = await runOurs(['checkout', '--repo=repo', '--composefs', option, 'plain', 'third'], place);
    assert.deepEqual([refused.status, refused.stderr], [1, 'error: Specified options are incompatible with --composefs\n'], option);
  }
});
