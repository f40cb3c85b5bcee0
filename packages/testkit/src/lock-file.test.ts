import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { WORKSPACE } from './workspace.ts';

interface LockEntry {
  version?: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  hasInstallScript?: boolean;
  optional?: boolean;
  os?: string[] | string;
  cpu?: string[] | string;
  libc?: string[] | string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

const { packages } = JSON.parse(readFileSync(join(WORKSPACE, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockEntry> };
const external = Object.entries(packages).filter(([path, entry]) => path.startsWith('node_modules/') && entry.link !== true);

/**
 * Locked by version alone: the registry did not serve them when the file was written (scripts/complete-lock.mjs). Whoever writes the
 * file against one that does takes them off this list.
 */
const NOT_SERVED = ['node_modules/@napi-rs/lzma-linux-arm64-gnu'];

test('npm ci accepts the lock file: every optional package has an entry', () => {
  const missing = Object.values(packages).flatMap((entry) =>
    Object.keys(entry.optionalDependencies ?? {}).filter((name) => packages[`node_modules/${name}`] === undefined),
  );
  assert.deepEqual(missing, [], 'run: node scripts/complete-lock.mjs');
});

test('what is installed on Linux is locked by its content, and names no place', () => {
  const suits = (wanted: string[] | string | undefined, ...machine: string[]): boolean =>
    wanted === undefined || [wanted].flat().some((one) => machine.includes(one));
  const forLinux = external.filter(([, entry]) => suits(entry.os, 'linux') && suits(entry.cpu, 'x64', 'arm64') && suits(entry.libc, 'glibc'));
  assert.ok(forLinux.length > 50);
  assert.deepEqual(
    forLinux.filter(([, entry]) => entry.integrity === undefined).map(([path]) => path),
    NOT_SERVED,
  );
  assert.deepEqual(
    external.filter(([, entry]) => entry.resolved !== undefined).map(([path]) => path),
    [],
  );
});

test('versions of our direct dependencies are exact', () => {
  const own = Object.entries(packages).filter(([path]) => path === '' || path.startsWith('packages/'));
  const loose = own.flatMap(([path]) => {
    const manifest = JSON.parse(readFileSync(join(WORKSPACE, path, 'package.json'), 'utf8')) as Record<string, Record<string, string> | undefined>;
    return ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) =>
      Object.entries(manifest[kind] ?? {})
        .filter(([, range]) => !/^\d+\.\d+\.\d+$/.test(range))
        .map(([name, range]) => `${path}: ${name} ${range}`),
    );
  });
  assert.deepEqual(loose, []);
});
