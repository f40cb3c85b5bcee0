import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs, { existsSync, mkdirSync, readdirSync, readlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import test from 'node:test';
import { scratch } from '@cambium/testkit';
import { fileChecksum } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import type { FileHeader, RepoMode } from '../format/types.ts';
import { ObjectWriter } from './object-writer.ts';

const PLAIN: FileHeader = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] };

/** Lets the n-th write of `run` fail as on a full disk; later ones work again. */
function withFullDisk(failAt: number, run: () => void): void {
  const write = fs.writeSync;
  let count = 0;
  fs.writeSync = ((...args: Parameters<typeof write>) => {
    if (++count === failAt) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
    return write(...args);
  }) as typeof write;
  syncBuiltinESMExports();
  try {
    run();
  } finally {
    fs.writeSync = write;
    syncBuiltinESMExports();
  }
}

function openFilesBelow(path: string): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The one that listed them.
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(path));
}

test('content with a gap never gets the name of the whole', (t) => {
  const content = randomBytes(6_000_000);
  for (const mode of ['archive', 'bare-user-only'] satisfies RepoMode[]) {
    const checksum = fileChecksum(PLAIN, content);
    for (let failAt = 1; failAt <= 6; failAt++) {
      const staging = join(scratch(t), 'staging');
      mkdirSync(staging);
      const target = { mode, disableXattrs: false, staging, destination: staging, present: [], zlibLevel: 1, syncEach: false, umask: 0o022 };
      const writer = new ObjectWriter(target, 'main', undefined);
      const failures: unknown[] = [];
      const attempt = <T>(step: () => T): T | undefined => {
        try {
          return step();
        } catch (error) {
          failures.push(error);
          return undefined;
        }
      };
      // As the threads of a transaction do: the next task comes whatever became of the last.
      withFullDisk(failAt, () => {
        const stream = attempt(() => writer.begin(PLAIN, content.byteLength));
        for (let at = 0; at < content.byteLength; at += 1_000_000) attempt(() => stream?.write(content.subarray(at, at + 1_000_000)));
        attempt(() => stream?.end());
      });
      assert.equal((failures[0] as { code?: string }).code, 'SYSTEM_NO_SPACE', `${mode} ${failAt}`);
      assert.equal(existsSync(join(staging, loosePath('file', checksum, mode))), false, `${mode} ${failAt}`);
      assert.deepEqual(readdirSync(join(staging, 'writer-main')), []);
      assert.deepEqual(openFilesBelow(staging), []);
    }
  }
});
