/** What the tests of pack share: a project, its images, and how the real `ostree` sees what was packed. No tests. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isKnownError, sha256Hex } from '@cambium/base';
import { parsePlatform } from '@cambium/oci';
import { type BuiltLayout, buildImageLayout, type CleanUp, hostArchitecture, type LayerSpec, output, run, scratch } from '@cambium/testkit';
import { type PackOptions, type PackResult, packApp } from './index.ts';

export const BRANCH = 'apps/shop';

/** Writes a project called `shop` with one service per image. */
export function makeProject(t: CleanUp, images: readonly string[], files: Readonly<Record<string, string>> = {}): string {
  const project = join(scratch(t), 'shop');
  mkdirSync(project);
  setImages(project, images);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(project, path)), { recursive: true });
    writeFileSync(join(project, path), content);
  }
  return project;
}

export function setImages(project: string, images: readonly string[]): void {
  writeFileSync(join(project, 'docker-compose.yml'), `services:\n${images.map((image, i) => `  s${i}:\n    image: ${image}\n`).join('')}`);
  chmodSync(join(project, 'docker-compose.yml'), 0o644);
}

export function packOptions(project: string, repoPath: string, more: Partial<PackOptions> = {}): PackOptions {
  return {
    repoPath,
    branch: BRANCH,
    project: { workingDirectory: project, environment: {} },
    platform: parsePlatform(hostArchitecture()),
    timestamp: 1_700_000_000n,
    // Registries of tests are near: who waits long waits in vain.
    ...more,
    registry: { retry: { attempts: 3, backoffMs: 1, maxBackoffMs: 5, maxRetryAfterMs: 10 }, headersTimeoutMs: 400, stallTimeoutMs: 400, ...more.registry },
  };
}

export function pack(project: string, repoPath: string, more: Partial<PackOptions> = {}): Promise<PackResult> {
  return packApp(packOptions(project, repoPath, more));
}

/** Three layers: one all images may share, one of the image's own, one that tests change. */
export function shopLayers(name: string, change = ''): LayerSpec[] {
  return [
    { entries: [{ path: 'base/' }, { path: 'base/shared', content: noise('shared', 60_000) }, { path: 'base/su', content: 'su', mode: 0o4755 }] },
    { entries: [{ path: `own-${name}`, content: noise(name, 30_000) }] },
    { entries: [{ path: 'app/' }, { path: 'app/code', content: `${name}${change}${noise(name + change, 10_000)}` }] },
  ];
}

/** Text that compresses badly and is the same each time. */
export function noise(seed: string, bytes: number): string {
  let text = '';
  for (let i = 0; text.length < bytes; i++) text += sha256Hex(`${seed} ${i}`);
  return text.slice(0, bytes);
}

export async function shopImage(t: CleanUp, name: string, change: string = '', more: object = {}): Promise<BuiltLayout> {
  return await buildImageLayout(join(scratch(t), name), { images: [{ layers: shopLayers(name, change), config: { Cmd: [name] }, ...more }] });
}

/** Asserts that the real `ostree` finds nothing wrong. */
export async function fsck(repoPath: string): Promise<void> {
  await output('ostree', [`--repo=${repoPath}`, 'fsck', '--quiet']);
}

export async function refOf(repoPath: string, ref: string = BRANCH): Promise<string | undefined> {
  if (!existsSync(repoPath)) return undefined;
  const { status, stdout } = await run('ostree', [`--repo=${repoPath}`, 'rev-parse', ref], { accept: [0, 1] });
  return status === 0 ? stdout.trim() : undefined;
}

/** Returns the bytes of a file of a commit, by the real `ostree cat`. */
export async function cat(repoPath: string, commit: string, path: string): Promise<Buffer> {
  return (await run('ostree', [`--repo=${repoPath}`, 'cat', commit, path])).stdoutBytes;
}

export interface StoreImageJson {
  id: string;
  digest: string;
  layer: string;
  names: string[];
  'big-data-names': string[];
}

/** Returns the packed store's images; asserts that every document in it hashes to the digest that names it. */
export async function imagesOf(repoPath: string, commit: string): Promise<StoreImageJson[]> {
  const images = JSON.parse((await cat(repoPath, commit, '/storage/overlay-images/images.json')).toString()) as StoreImageJson[];
  for (const image of images) {
    for (const key of image['big-data-names']) {
      if (key === 'manifest') continue;
      const bytes = await cat(repoPath, commit, `/storage/overlay-images/${image.id}/=${Buffer.from(key).toString('base64')}`);
      assert.equal(`sha256:${sha256Hex(bytes)}`, key.replace(/^manifest-/, ''));
    }
    assert.ok(image['big-data-names'].includes(`sha256:${image.id}`), 'the config is there under its digest');
    assert.ok(image['big-data-names'].includes(`manifest-${image.digest}`), 'what the reference named is there');
  }
  return images;
}

/** Asserts that packing fails with a code, that the branch stays where it was, and that the repository is whole; returns message and hint. */
export async function packFails(promise: Promise<unknown>, code: string | RegExp, repoPath: string, branchAt: string | undefined): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  assert.ok(isKnownError(error), `expected ${code}, got ${error instanceof Error ? error.stack : String(error)}`);
  assert.match(error.code, typeof code === 'string' ? new RegExp(`^${code}$`) : code, error.message);
  assert.equal(await refOf(repoPath), branchAt);
  if (existsSync(repoPath)) await fsck(repoPath);
  return `${error.message}\n${error.hint ?? ''}`;
}
