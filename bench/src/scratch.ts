/**
 * Scratch space in which one run does not slow the next. ext4 passes over each inode deleted in the last minutes when it
 * looks for a free one: a command that makes 25,000 files where as many were just removed takes half as long again.
 * So nothing is deleted here before the end, and what a command under test deletes itself lies in block groups of its own.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';

export class Scratch {
  readonly path: string;
  /** ext4 chooses block groups by the names: with others than the last time it does not meet what was deleted then. */
  readonly #tag = randomBytes(4).toString('hex');
  #asides = 0;

  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true });
    // ext4 then spreads the directories in it; other file systems refuse, and need it not.
    spawnSync('chattr', ['+T', path]);
  }

  at(name: string): string {
    return join(this.path, `${name}-${this.#tag}`);
  }

  /** Makes a name free by moving what has it out of the way. */
  clear(name: string): void {
    if (!existsSync(this.at(name))) return;
    mkdirSync(this.at('aside'), { recursive: true });
    renameSync(this.at(name), join(this.at('aside'), String(this.#asides++)));
  }
}
