/** Directories of one test, gone when it ends. */
import { randomBytes } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a test context gives: `t` of `node:test` fits. */
export interface CleanUp {
  after(done: () => void | Promise<void>): void;
}

const stacks = new WeakMap<CleanUp, (() => void | Promise<void>)[]>();

/**
 * Runs `done` when the test ends: what was started last ends first, and each runs though another failed.
 * (`t.after` alone runs them in the order of the calls and stops at the first failure.)
 */
export function defer(t: CleanUp, done: () => unknown): void {
  const present = stacks.get(t);
  const step = async (): Promise<void> => void (await done());
  if (present !== undefined) {
    present.push(step);
    return;
  }
  const stack = [step];
  stacks.set(t, stack);
  t.after(async () => {
    const failures: unknown[] = [];
    for (let last = stack.pop(); last !== undefined; last = stack.pop()) {
      try {
        await last();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  });
}

/** Returns a fresh directory that is removed when the test ends. */
export function scratch(t: CleanUp, prefix = 'cambium-test-'): string {
  const directory = scratchDirectory(prefix);
  defer(t, () => removeAll(directory));
  return directory;
}

/**
 * Returns a fresh directory that the caller removes. Its name is in lower case, unlike that of `mkdtemp`:
 * podman takes `oci:/tmp/Xy` apart as if it were a repository name and refuses capitals.
 */
export function scratchDirectory(prefix: string): string {
  const directory = join(realpathSync(tmpdir()), `${prefix}${randomBytes(5).toString('hex')}`);
  mkdirSync(directory, { mode: 0o700 });
  return directory;
}

/** Removes a directory tree, also one whose directories nobody may enter. */
export function removeAll(directory: string): void {
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch {
    // Images hold directories of mode 0000; open them and try once more.
    unlock(directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

function unlock(directory: string): void {
  if (!lstatSync(directory).isDirectory()) return;
  chmodSync(directory, 0o700);
  for (const entry of readdirSync(directory, { withFileTypes: true })) if (entry.isDirectory()) unlock(join(directory, entry.name));
}
