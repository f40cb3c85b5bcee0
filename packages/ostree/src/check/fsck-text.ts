/** What `ostree fsck` prints. */
import type { FsckEvent, FsckResult } from './fsck.ts';

/** Returns the lines that `ostree fsck` prints for an event, with line ends; '' for none. */
export function formatFsckEvent(event: FsckEvent): string {
  switch (event.type) {
    case 'phase':
      return { refs: 'Validating refs...\n', 'collection-refs': 'Validating refs in collections...\n', commits: 'Enumerating commits...\n' }[event.phase];
    case 'verifying':
      return `Verifying content integrity of ${event.commits} commit objects...\n`;
    case 'progress':
      return `fsck objects (${event.done}/${event.total}) ${event.total === 0 ? 100 : Math.floor((event.done * 100) / event.total)}%\n`;
    case 'bad': {
      const { type, checksum, commits, missing, message } = event.object;
      if (missing) return `Object missing in commits ${commits.join(', ')}: ${checksum}.${type}\n`;
      // A commit that a ref names is looked at before anything is known of commits.
      return `${commits.length === 0 ? '' : `In commits ${commits.join(', ')}: `}fsck ${type === 'file' ? `content object ${checksum}` : `${checksum}.${type}`}: ${message}\n`;
    }
    case 'partial':
      return `Marking commit as partial: ${event.commit}\n`;
    case 'tombstone':
      return `Adding tombstone for commit ${event.commit}\n`;
  }
}

/** Returns why a check failed, in libostree's words, or undefined when all is well. */
export function fsckFailure(result: FsckResult): string | undefined {
  if (result.bad.length > 0) return 'Repository corruption encountered';
  // libostree counts all partial ones here.
  if (result.damagedCommits > 0) return `${result.partialCommits} partial commits from fsck-detected corruption`;
  return undefined;
}

/** Returns what `ostree fsck` prints at the end of a check that did not throw. */
export function formatFsckResult(result: FsckResult): string {
  let text = result.partialCommits > 0 ? `${result.partialCommits} partial commits not verified\n` : '';
  if (fsckFailure(result) === undefined) text += `object fsck of ${result.commits} commits completed successfully - no errors found.\n`;
  return text;
}
