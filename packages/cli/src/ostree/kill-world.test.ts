/** What the tests of kills begin with, and what they look at in the end. No tests. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { cpSync, existsSync, globSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSummary, Repo } from '@cambium/ostree';
import { run } from '@cambium/testkit';

export const COMMIT = '--parent=none --owner-uid=0 --owner-gid=0 --no-xattrs --timestamp=@1500000000';

/** Commits that each world has. */
export interface Ids {
  first: string;
  second: string;
}

export async function isValid(repo: string, what: string, loses = false): Promise<void> {
  // Its last directory says that it is a repository.
  if (!existsSync(join(repo, 'objects'))) return;
  const { status, stdout, stderr } = await run('ostree', ['fsck', `--repo=${repo}`], { accept: 'any' });
  assert.equal(status, 0, `${what}: ${stdout}${stderr}`);
  if (loses) return;
  const { stdout: refs } = await run('ostree', ['refs', `--repo=${repo}`]);
  // Every ref names a commit that can be read whole.
  for (const ref of refs.split('\n').filter((line) => line !== '')) await run('ostree', ['ls', '-R', `--repo=${repo}`, ref]);
}

/**
 * What interrupted runs leave where nobody would remove it. Other files in `tmp/` go when they are a day old; for half-written ones in the
 * cache of uncompressed objects see `docs/faults.md`.
 */
export function leftovers(repo: string): string[] {
  return [
    ...readdirSync(join(repo, 'tmp')).filter((name) => name.startsWith('staging-') && !name.endsWith('-lock')),
    ...readdirSync(repo, { recursive: true, encoding: 'utf8' }).filter(
      (path) => !/^(?:tmp|uncompressed-objects-cache)\//.test(path) && /(?:^|\/)(?:\.|transaction$)/.test(path) && path !== '.lock',
    ),
  ];
}

export function repoState(name: string): (world: string) => unknown {
  return (world) => {
    const repo = join(world, name);
    const summary = join(repo, 'summary');
    return {
      objects: globSync('objects/*/*', { cwd: repo }).sort(),
      refs: globSync('refs/**/*', { cwd: repo })
        .filter((path) => !lstatSync(join(repo, path)).isDirectory())
        .sort()
        .map((path) => [path, lstatSync(join(repo, path)).isFile() ? readFileSync(join(repo, path), 'utf8') : readlinkSync(join(repo, path))]),
      state: existsSync(join(repo, 'state')) ? readdirSync(join(repo, 'state')) : [],
      summary: existsSync(summary) ? parseSummary(readFileSync(summary)).refs.map(({ ref, checksum }) => [ref, checksum]) : undefined,
    };
  };
}

export function deltaState(name: string): (world: string) => unknown {
  return (world) => globSync('{deltas,delta-indexes}/*/**', { cwd: join(world, name) }).sort();
}

export function treeState(name: string, { directoryModes = true }: { directoryModes?: boolean } = {}): (world: string) => unknown {
  return (world) =>
    globSync(`${name}/**`, { cwd: world })
      .sort()
      .map((path) => {
        const stat = lstatSync(join(world, path));
        return [
          path,
          stat.isDirectory() && !directoryModes ? '' : stat.mode,
          stat.isFile() ? readFileSync(join(world, path), 'utf8') : stat.isSymbolicLink() ? readlinkSync(join(world, path)) : '',
        ];
      });
}

/** The text of a file; undefined when there is none. */
export function fileState(name: string, blurred?: RegExp): (world: string) => unknown {
  return (world) => {
    const path = join(world, name);
    if (!existsSync(path)) return undefined;
    const text = readFileSync(path, 'latin1');
    return blurred === undefined ? text : text.replaceAll(blurred, '');
  };
}

/** Names of all files below a directory, but for those on their way. */
export function namesState(name: string): (world: string) => unknown {
  return (world) => globSync(`${name}/**`, { cwd: world, exclude: [`${name}/tmp/**`] }).sort();
}

/** Which signatures the second commit has, each once: who signs twice has two. Those of gpg differ each time. */
export function signatureState(world: string): unknown {
  const repo = Repo.openSync(join(world, 'source'));
  const metadata = repo.readDetachedMetadata(repo.refs.resolve('main')) ?? [];
  return metadata.map(([key, { value }]) => {
    const list = (value as Uint8Array[]).map((bytes) => createHash('sha256').update(bytes).digest('hex'));
    return [key, key.includes('gpg') ? list.length > 0 : [...new Set(list)]];
  });
}

/** Keys of a remote, as libostree lists them. */
export function remoteKeys(name: string): (world: string) => unknown {
  return (world) => execFileSync('ostree', ['remote', 'gpg-list-keys', `--repo=${join(world, name)}`, 'origin'], { encoding: 'utf8' });
}

/** Writes a pair of ed25519 keys as `sign` reads them: seed and public key in `secret`, the latter in `public`. */
export function writeRawKeys(world: string): void {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [seed, key] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  writeFileSync(join(world, 'secret'), `${Buffer.concat([seed, key]).toString('base64')}\n`);
  writeFileSync(join(world, 'public'), `${key.toString('base64')}\n`);
}

/** Makes `source` with two commits of `main`, `user` with the first one, `empty` and `bare` with none, and `tree`, that is in none. */
export async function makeWorld(world: string): Promise<Ids> {
  mkdirSync(join(world, 'one/sub'), { recursive: true });
  for (let i = 0; i < 8; i++) writeFileSync(join(world, `one/sub/f${i}`), `content ${i}\n`);
  writeFileSync(join(world, 'one/large'), Buffer.alloc(200_000, 'large content '));
  const [two, three] = [join(world, 'two'), join(world, 'tree')];
  cpSync(join(world, 'one'), two, { recursive: true });
  for (let i = 0; i < 4; i++) writeFileSync(join(two, `sub/f${i}`), `changed ${i}\n`);
  writeFileSync(join(two, 'large'), Buffer.alloc(200_000, 'large content ').fill('x', 1000, 1100));
  cpSync(two, three, { recursive: true });
  mkdirSync(join(three, 'new'));
  for (let i = 0; i < 6; i++) writeFileSync(join(three, `new/n${i}`), `new ${i}\n`);
  const ostree = async (line: string): Promise<string> => (await run('ostree', line.split(' '), { cwd: world })).stdout.trim();
  for (const [name, mode] of [
    ['source', 'archive'],
    ['user', 'bare-user'],
    ['empty', 'archive'],
    ['bare', 'bare'],
  ] as const) {
    await ostree(`init --repo=${name} --mode=${mode}`);
    if (name !== 'source') await ostree(`remote add --repo=${name} --no-gpg-verify origin http://127.0.0.1:9/`);
  }
  const first = await ostree(`commit --repo=source -b main ${COMMIT} one`);
  const second = await ostree(`commit --repo=source -b main ${COMMIT} two`);
  await ostree(`pull-local --repo=user --remote=origin source ${first}`);
  await ostree(`refs --repo=user --create=origin:main ${first}`);
  return { first, second };
}
