import assert from 'node:assert/strict';
import test from 'node:test';
import { digestOf } from '@cambium/base';
import { OCI_MANIFEST } from './media-types.ts';
import { chooseFromIndex, parsePlatform, platformRank, printPlatform } from './platform.ts';
import type { Index, Platform } from './types.ts';

function indexOf(...platforms: (string | undefined)[]): Index {
  return {
    schemaVersion: 2,
    manifests: platforms.map((text, i) => {
      const [os, architecture, variant] = text?.split('/') ?? [];
      const platform = text === undefined ? undefined : ({ os, architecture, ...(variant === undefined ? {} : { variant }) } as Platform);
      return { mediaType: OCI_MANIFEST, digest: digestOf(`${i}`), size: i, ...(platform === undefined ? {} : { platform }) };
    }),
  };
}

test('architectures in the spellings of podman, Go, uname, Debian and Node', () => {
  const table: [arch: string, variant: string | undefined, printed: string][] = [
    ['amd64', undefined, 'linux/amd64'],
    ['x86_64', undefined, 'linux/amd64'],
    ['X64', undefined, 'linux/amd64'],
    ['amd64', 'v1', 'linux/amd64'],
    ['amd64', 'v3', 'linux/amd64/v3'],
    ['aarch64', undefined, 'linux/arm64'],
    ['arm64', 'v8', 'linux/arm64'],
    ['arm64', '8', 'linux/arm64'],
    ['arm64', 'v9', 'linux/arm64/v9'],
    ['arm', undefined, 'linux/arm'],
    ['arm', '7', 'linux/arm/v7'],
    ['arm', 'v6l', 'linux/arm/v6'],
    ['armv7l', undefined, 'linux/arm/v7'],
    ['armv6l', undefined, 'linux/arm/v6'],
    ['armhf', undefined, 'linux/arm/v7'],
    ['armhf', 'v6', 'linux/arm/v6'],
    ['armel', undefined, 'linux/arm/v6'],
    ['arm/v6', undefined, 'linux/arm/v6'],
    ['linux/arm/v5', undefined, 'linux/arm/v5'],
    ['linux/arm64', '', 'linux/arm64'],
    ['windows/amd64', undefined, 'windows/amd64'],
    ['i686', undefined, 'linux/386'],
    ['ppc64el', undefined, 'linux/ppc64le'],
    ['riscv64', undefined, 'linux/riscv64'],
  ];
  for (const [arch, variant, printed] of table) assert.equal(printPlatform(parsePlatform(arch, variant)), printed, `${arch} ${variant}`);
  for (const arch of ['', 'pdp11', 'linux/', 'linux/pdp11', 'linux/arm/v7/x', 'a b/arm'])
    assert.throws(() => parsePlatform(arch), { code: 'OCI_PLATFORM_INVALID' }, arch);
  assert.throws(() => parsePlatform('arm', 'v 7'), { code: 'OCI_PLATFORM_INVALID' });
});

test('the choice from an index', () => {
  const all = indexOf('linux/amd64', 'linux/arm/v5', 'linux/arm/v7', 'linux/arm64/v8', 'linux/arm/v6', 'windows/amd64', 'unknown/unknown');
  const best = (index: Index, arch: string, variant?: string): number | undefined => chooseFromIndex(index, parsePlatform(arch, variant), 'x')[0]?.size;
  assert.equal(best(all, 'amd64'), 0);
  assert.equal(best(all, 'arm'), 2);
  assert.equal(best(all, 'arm', 'v7'), 2);
  assert.equal(best(all, 'arm', 'v6'), 4);
  assert.equal(best(all, 'arm', 'v8'), 2);
  assert.equal(best(all, 'arm64'), 3);
  assert.equal(best(all, 'arm64', 'v9'), 3);
  assert.equal(best(all, 'windows/amd64'), 5);
  assert.equal(best(indexOf('linux/arm/v5', 'linux/arm/v6'), 'arm', 'v7'), 1);
  assert.equal(best(indexOf('linux/arm/v5', 'linux/arm'), 'arm', 'v7'), 0);
  assert.equal(best(indexOf('linux/arm'), 'arm', 'v6'), 0);
  assert.equal(best(indexOf('linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64'), 'amd64'), 2);
  assert.equal(best(indexOf('linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64'), 'amd64', 'v2'), 1);
  assert.equal(best(indexOf('linux/x86_64'), 'amd64'), 0);
  // Of equals the first; without a platform only after all that state one.
  assert.equal(best(indexOf(undefined, 'linux/amd64', 'linux/amd64'), 'amd64'), 1);
  assert.equal(best(indexOf('linux/arm64', undefined), 'amd64'), 1);
});

test('a missing platform names those there are, without attestations', () => {
  for (const arch of ['arm64', 'arm', 'amd64/v2']) {
    const index = indexOf('linux/amd64/v4', 's390x/s390x', 'linux/riscv64', 'unknown/unknown', 'linux/arm/v9');
    assert.throws(
      () => chooseFromIndex(index, parsePlatform(arch), 'the image'),
      (error: { code: string; hint: string; message: string }) => {
        assert.equal(error.code, 'OCI_PLATFORM_MISSING');
        assert.equal(error.hint, 'It has: linux/amd64/v4, s390x/s390x, linux/riscv64, linux/arm/v9');
        return true;
      },
    );
  }
  assert.throws(() => chooseFromIndex(indexOf('unknown/unknown'), parsePlatform('amd64'), 'x'), { code: 'OCI_PLATFORM_MISSING', hint: 'The index is empty' });
  assert.equal(platformRank(parsePlatform('arm', 'v6'), { os: 'linux', architecture: 'arm', variant: 'v7' }), undefined);
});
