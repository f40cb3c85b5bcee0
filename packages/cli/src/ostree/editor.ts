/** `ostree commit --editor`. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lookUp } from '../environment.ts';
import { OstreeFailure, type VerbContext } from './verb.ts';

/** Lets the user write the message: the first line is the subject, what follows the body, lines with `#` are dropped. */
export function editMessage({ environment }: VerbContext, branch: string | undefined): { subject: string; body: string | undefined } {
  const editor = lookUp(environment, ['OSTREE_EDITOR', 'VISUAL', 'EDITOR']) ?? 'vi';
  const directory = mkdtempSync(join(tmpdir(), 'cambium-message-'));
  try {
    const file = join(directory, 'COMMIT_MESSAGE');
    writeFileSync(
      file,
      `\n# Please enter the commit message for your changes. The first line will\n# become the subject, and the remainder the body. Lines starting\n# with '#' will be ignored, and an empty message aborts the commit.\n#\n# Branch: ${branch ?? ''}\n`,
    );
    const { status } = spawnSync('/bin/sh', ['-c', `${editor} "$1"`, editor, file], { stdio: 'inherit', env: environment.variables });
    if (status !== 0) throw new OstreeFailure('There was a problem with the editor');
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => !line.startsWith('#'));
    const first = lines.findIndex((line) => line.trim() !== '');
    if (first < 0) throw new OstreeFailure('Aborting commit due to empty commit subject.');
    const body = lines
      .slice(first + 1)
      .join('\n')
      .trim();
    return { subject: (lines[first] as string).trim(), body: body === '' ? undefined : body };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
