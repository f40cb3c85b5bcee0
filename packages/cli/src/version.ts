/** The version of this package, and what `ostree --version` should say. */
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}

export function versionText(): string {
  return `cambium ${packageVersion()}\n`;
}

/** The libostree whose command line, output and formats are matched. */
const COMPATIBLE_LIBOSTREE = '2022.7';

/** Returns what servers are told: who counts or filters clients of theirs knows libostree's. @param more `--append-user-agent` */
export function ostreeUserAgent(more: string | undefined): string {
  return `libostree/${COMPATIBLE_LIBOSTREE}${more === undefined ? '' : ` ${more}`}`;
}

/**
 * Returns what scripts that ask for libostree's features read: lines of `  - NAME`.
 * Only what works here is listed; libostree's own test suite skips the rest by this list.
 */
export function ostreeVersionText(): string {
  const features = ['gpgme', 'libarchive'];
  return `libostree:\n Version: '${COMPATIBLE_LIBOSTREE}'\n Cambium: '${packageVersion()}'\n Features:\n${features.map((name) => `  - ${name}\n`).join('')}`;
}
