/**
 * Platforms: one spelling for many, and the choice of an image from an index.
 *
 * Source: OCI image-spec 1.1 image-index.md (platform variants); the order of compatible variants is podman's (containers/image `platform_matcher.go`).
 */
import { ociError } from '../errors.ts';
import type { Descriptor, Index, Platform } from './types.ts';

/** A platform asked for; `explicit` when a person named it, so that anything else is an error and not a surprise. */
export interface WantedPlatform extends Platform {
  explicit?: boolean;
}

/** Go's names by those of uname, Debian, RPM, Node and people. */
const ARCHITECTURES: ReadonlyMap<string, readonly [architecture: string, variant?: string]> = new Map<string, readonly [string, string?]>([
  ['amd64', ['amd64']],
  ['x86_64', ['amd64']],
  ['x86-64', ['amd64']],
  ['x64', ['amd64']],
  ['386', ['386']],
  ['i386', ['386']],
  ['i486', ['386']],
  ['i586', ['386']],
  ['i686', ['386']],
  ['x86', ['386']],
  ['ia32', ['386']],
  ['arm64', ['arm64']],
  ['aarch64', ['arm64']],
  ['armv8', ['arm64']],
  ['armv8l', ['arm64']],
  ['arm', ['arm']],
  ['armhf', ['arm', 'v7']],
  ['armv7', ['arm', 'v7']],
  ['armv7l', ['arm', 'v7']],
  ['armv7hl', ['arm', 'v7']],
  ['armv6', ['arm', 'v6']],
  ['armv6l', ['arm', 'v6']],
  ['armel', ['arm', 'v6']],
  ['armv5', ['arm', 'v5']],
  ['armv5tel', ['arm', 'v5']],
  ['ppc64le', ['ppc64le']],
  ['ppc64el', ['ppc64le']],
  ['ppc64', ['ppc64']],
  ['s390x', ['s390x']],
  ['riscv64', ['riscv64']],
  ['loong64', ['loong64']],
  ['loongarch64', ['loong64']],
  ['mips64le', ['mips64le']],
  ['mips64el', ['mips64le']],
  ['mipsle', ['mipsle']],
  ['mipsel', ['mipsle']],
  ['mips64', ['mips64']],
  ['mips', ['mips']],
  ['wasm', ['wasm']],
]);

/**
 * Returns the platform that `arch` and `variant` name, in Go's spelling.
 *
 * @param arch as in `amd64`, `x86_64`, `aarch64`, `armhf`, `arm/v6`, `linux/arm64`
 * @throws OCI_PLATFORM_INVALID
 * @example
 * parsePlatform('armv6l'); // { os: 'linux', architecture: 'arm', variant: 'v6' }
 */
export function parsePlatform(arch: string, variant?: string): Platform {
  const parts = arch.trim().toLowerCase().split('/');
  let os = 'linux';
  if (parts.length > 1 && !ARCHITECTURES.has(parts[0] as string)) os = parts.shift() as string;
  const known = ARCHITECTURES.get(parts[0] ?? '');
  if (known === undefined || parts.length > 2 || !/^[a-z0-9]+$/.test(os)) {
    throw ociError('OCI_PLATFORM_INVALID', `Cannot understand architecture "${arch.slice(0, 80)}"`, {
      hint: 'Use a name like amd64, arm64, arm (with variant v6 or v7), riscv64, ppc64le or s390x',
    });
  }
  const stated = variant === undefined || variant === '' ? parts[1] : variant.trim().toLowerCase();
  if (stated !== undefined && !/^[a-z0-9_.-]{1,32}$/.test(stated)) {
    throw ociError('OCI_PLATFORM_INVALID', `Cannot understand variant "${stated.slice(0, 80)}"`);
  }
  return normalizePlatform({ os, architecture: known[0], ...optionalVariant(stated ?? known[1]) });
}

/** Returns the platform with the one spelling of its variant; a variant that says nothing is dropped. */
export function normalizePlatform(platform: Platform): Platform {
  const known = ARCHITECTURES.get(platform.architecture.toLowerCase());
  const architecture = known?.[0] ?? platform.architecture;
  let variant = platform.variant === undefined || platform.variant === '' ? known?.[1] : platform.variant.toLowerCase();
  if (variant !== undefined && /^[0-9]/.test(variant)) variant = `v${variant}`;
  if (architecture === 'arm') variant = variant?.replace(/^(v[0-9]+)(?:l|hf|hl|tel|te|el)$/, '$1');
  // The first version of these is what every processor of the kind has.
  if (architecture === 'arm64' && (variant === 'v8' || variant === 'v8.0')) variant = undefined;
  if (architecture === 'amd64' && variant === 'v1') variant = undefined;
  const { variant: _, ...rest } = platform;
  return { ...rest, os: platform.os.toLowerCase(), architecture, ...optionalVariant(variant) };
}

function optionalVariant(variant: string | undefined): { variant?: string } {
  return variant === undefined || variant === '' ? {} : { variant };
}

/** Returns `linux/arm/v7`. */
export function printPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return `${os || 'unknown'}/${architecture || 'unknown'}${variant === undefined || variant === '' ? '' : `/${variant}`}`;
}

/** Returns the variants that run on `wanted`, best first; undefined stands for an image that states none. */
function compatibleVariants(wanted: Platform): readonly (string | undefined)[] {
  const lower = (from: number, to: number): string[] => Array.from({ length: from - to + 1 }, (_, i) => `v${from - i}`);
  const level = /^v([0-9]{1,2})$/.exec(wanted.variant ?? '')?.[1];
  switch (wanted.architecture) {
    case 'arm':
      // No variant asked for: v7, which is what docker and containerd take it for.
      if (wanted.variant === undefined) return [...lower(7, 5), undefined];
      if (level !== undefined && Number(level) >= 5) return [...lower(Math.min(Number(level), 8), 5), undefined];
      return [wanted.variant];
    case 'amd64':
    case 'arm64': {
      const first = wanted.architecture === 'amd64' ? 1 : 8;
      if (wanted.variant === undefined) return [undefined];
      if (level !== undefined && Number(level) > first) return [...lower(Number(level), first + 1), undefined];
      return [wanted.variant, undefined];
    }
    default:
      return wanted.variant === undefined ? [undefined] : [wanted.variant, undefined];
  }
}

/** Returns how well an image for `offered` suits `wanted`: 0 is best, undefined not at all. */
export function platformRank(wanted: Platform, offered: Platform): number | undefined {
  const want = normalizePlatform(wanted);
  const have = normalizePlatform(offered);
  if (want.os !== have.os || want.architecture !== have.architecture) return undefined;
  const rank = compatibleVariants(want).indexOf(have.variant);
  return rank < 0 ? undefined : rank;
}

/** Returns whether an entry of an index is something about an image, not an image: BuildKit's attestations. */
export function isAttestation(descriptor: Descriptor): boolean {
  if (descriptor.annotations?.['vnd.docker.reference.type'] !== undefined) return true;
  return descriptor.platform?.os === 'unknown' && descriptor.platform.architecture === 'unknown';
}

/**
 * Returns the entries of an index that suit `wanted`, best first; entries that state no platform come last, to be judged by their config.
 *
 * @throws OCI_PLATFORM_MISSING with the platforms there are
 */
export function chooseFromIndex(index: Index, wanted: Platform, reference: string): Descriptor[] {
  const images = index.manifests.filter((descriptor) => !isAttestation(descriptor));
  const ranked: { descriptor: Descriptor; rank: number }[] = [];
  for (const descriptor of images) {
    const rank = descriptor.platform === undefined ? Number.MAX_SAFE_INTEGER : platformRank(wanted, descriptor.platform);
    if (rank !== undefined) ranked.push({ descriptor, rank });
  }
  if (ranked.length === 0) throw platformMissing(images, wanted, reference);
  // The sort is stable: of equals the first in the index wins, as with every other client.
  return ranked.sort((a, b) => a.rank - b.rank).map(({ descriptor }) => descriptor);
}

export function platformMissing(images: readonly Descriptor[], wanted: Platform, reference: string): Error {
  const available = [...new Set(images.map(({ platform }) => (platform === undefined ? 'unknown' : printPlatform(normalizePlatform(platform)))))];
  return ociError('OCI_PLATFORM_MISSING', `Cannot use ${reference}: it has no image for ${printPlatform(normalizePlatform(wanted))}`, {
    hint: available.length === 0 ? 'The index is empty' : `It has: ${available.slice(0, 30).join(', ')}`,
    data: { wanted: printPlatform(normalizePlatform(wanted)), available },
  });
}
