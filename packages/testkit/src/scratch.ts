/** Directories of one test, gone when it ends. */
import { chmodSync, lstatSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a test context gives: `t` of `node:test` fits. */
export interface CleanUp {
  after(done: () => void | Promise<void>): void;
}

/** Returns a fresh directory that is removed when the test ends. */
export function scratch(t: CleanUp, prefix = 'cambium-test-'): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), prefix)));
  t.after(() => removeAll(directory));
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
