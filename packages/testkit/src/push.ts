/** Copies images with skopeo, so that what a registry holds was put there by someone else than us. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuiltLayout } from './image-layout.ts';
import { run } from './run.ts';
import { scratchDirectory } from './scratch.ts';

export interface CopyOptions {
  /** `user:password` for the destination. */
  credentials?: string | undefined;
  /** Further arguments of `skopeo copy`, as in `['--format', 'v2s2']`. */
  args?: readonly string[];
}

/**
 * Pushes a layout's image, all platforms of it, digests kept.
 *
 * @param reference where to: `HOST:PORT/NAME:TAG`, plain HTTP
 */
export async function pushLayout(layout: BuiltLayout, reference: string, options: CopyOptions = {}): Promise<void> {
  const work = scratchDirectory('cambium-push-');
  try {
    await skopeoCopy(writeDirTransport(layout, join(work, 'image')), `docker://${reference}`, {
      ...options,
      args: ['--all', '--preserve-digests', ...(options.args ?? [])],
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Lays an image out for skopeo's `dir:` transport, with links to the layout's blobs, and returns the reference.
 * Unlike `oci:` it also takes Docker media types. Source: containers/image, directory transport 1.1.
 */
export function writeDirTransport(layout: BuiltLayout, directory: string): string {
  mkdirSync(directory);
  writeFileSync(join(directory, 'version'), 'Directory Transport Version: 1.1\n');
  symlinkSync(layout.blobPath(layout.digest), join(directory, 'manifest.json'));
  const blobs = new Set<string>();
  for (const image of layout.images) {
    if (image.manifest !== layout.digest) symlinkSync(layout.blobPath(image.manifest), join(directory, `${image.manifest.slice(7)}.manifest.json`));
    for (const digest of [image.config, ...image.layers.map((layer) => layer.digest)]) blobs.add(digest);
  }
  for (const digest of blobs) symlinkSync(layout.blobPath(digest), join(directory, digest.slice(7)));
  return `dir:${directory}`;
}

/** Copies between any two of skopeo's transports, under an accept-all policy of its own. */
export async function skopeoCopy(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  const home = scratchDirectory('cambium-skopeo-');
  try {
    const policy = join(home, 'policy.json');
    writeFileSync(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
    await run(
      'skopeo',
      [
        '--policy',
        policy,
        'copy',
        '--quiet',
        '--src-tls-verify=false',
        '--dest-tls-verify=false',
        ...(options.credentials === undefined ? ['--dest-no-creds'] : ['--dest-creds', options.credentials]),
        ...(options.args ?? []),
        from,
        to,
      ],
      { env: { ...process.env, HOME: home, XDG_RUNTIME_DIR: home, REGISTRY_AUTH_FILE: '' } },
    );
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
