import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { buildImageLayout, type LayoutSpec, scratch } from '@cambium/testkit';
import { openImage } from '../places/open-image.ts';
import { type ValidateResult, validateImage } from './validate-image.ts';

const entries = [{ path: 'etc/file', content: 'x'.repeat(2000) }];

async function validate(t: TestContext, spec: LayoutSpec, change?: (blobPath: (digest: string) => string, layer: string) => void): Promise<ValidateResult> {
  const built = await buildImageLayout(join(scratch(t), 'image'), spec);
  change?.(built.blobPath, built.images[0]?.layers[0]?.digest as string);
  return await validateImage(await openImage(built.reference));
}

test('a sound image of two platforms is read once, all of it', async (t) => {
  const image = (architecture: string) => ({
    platform: { os: 'linux', architecture },
    layers: [{ entries }, { entries: [{ path: architecture, content: 'own' }], compression: 'zstd' as const }],
  });
  const { manifests, blobs, problems } = await validate(t, { images: [image('amd64'), image('arm64')] });
  assert.deepEqual({ manifests, blobs, problems }, { manifests: 2, blobs: 5, problems: [] });
});

test('what is wrong is named with its digest', async (t) => {
  const codes = async (spec: LayoutSpec['images'][number]['layers'][number], change?: Parameters<typeof validate>[2]): Promise<(string | undefined)[]> => {
    const { problems } = await validate(t, { images: [{ layers: [spec] }] }, change);
    assert.ok(problems.every(({ digest }) => digest.startsWith('sha256:')));
    return problems.map(({ code }) => code);
  };
  assert.deepEqual(await codes({ entries }, (path, layer) => writeFileSync(path(layer), 'other')), ['OCI_BLOB_MISMATCH']);
  assert.deepEqual(await codes({ entries, lie: { digest: `sha256:${'0'.repeat(64)}` } }), ['OCI_BLOB_UNKNOWN']);
  assert.deepEqual(await codes({ tar: Buffer.from('no archive at all, whatever it says'.repeat(40)) }), ['ARCHIVE_TAR_CHECKSUM']);
  const { problems } = await validate(t, {
    images: [
      {
        layers: [
          { entries, lie: { diffId: `sha256:${'1'.repeat(64)}` } },
          { entries, compression: 'zstd', mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
        ],
      },
    ],
  });
  assert.match(
    problems.map(({ what }) => what).join('\n'),
    /^The layer's content is not that of its diffID sha256:1+\nThe layer is compressed with zstd, its media type says gzip$/,
  );
});
