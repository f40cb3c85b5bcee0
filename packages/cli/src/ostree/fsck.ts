import { type FsckEvent, fsck } from '@cambium/ostree';
import type { ProgressStatus } from '../progress.ts';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'add-tombstones': { kind: 'flag', help: 'Add tombstones for missing commits' },
  quiet: { kind: 'flag', short: 'q', help: 'Only print error messages' },
  all: { kind: 'flag', short: 'a', help: "Don't stop on first error" },
  delete: { kind: 'flag', help: 'Remove corrupted objects' },
  'verify-bindings': { kind: 'flag', help: 'Verify ref bindings' },
  'verify-back-refs': { kind: 'flag', help: 'Verify back-references (implies --verify-bindings)' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Check the repository for consistency',
  operands: [],
  flags,
  examples: [{ command: 'cambium ostree fsck --repo=./repo', explains: 'Verify every object of every commit' }],
  async run(context, { values }) {
    const repo = await context.openRepo();
    const { ui } = context;
    const options = {
      all: values.all,
      delete: values.delete,
      addTombstones: values['add-tombstones'],
      verifyBindings: values['verify-bindings'],
      verifyBackRefs: values['verify-back-refs'],
    };
    const result = await fsck(repo, options, context.signal, report(context, values.quiet));
    ui.progress.clear();
    if (result.partialCommits > 0) ui.result(`${result.partialCommits} partial commits not verified`);
    if (result.bad.length > 0) throw new OstreeFailure('Repository corruption encountered');
    if (result.damagedCommits > 0) throw new OstreeFailure(`${result.damagedCommits} partial commits from fsck-detected corruption`);
    if (result.partialCommits === 0 || result.commits > 0) {
      ui.result(`object fsck of ${result.commits} commits completed successfully - no errors found.`);
    }
    return undefined;
  },
};

const PHASES = { refs: 'Validating refs...', 'collection-refs': 'Validating refs in collections...', commits: 'Enumerating commits...' } as const;

/** Returns what prints the check as it goes on, in libostree's words. */
function report({ ui, environment }: VerbContext, quiet: boolean): (event: FsckEvent) => void {
  const draw = ui.progress.watch<FsckEvent>((event): ProgressStatus | undefined =>
    event.type === 'progress' ? { what: 'fsck objects', done: event.done, total: event.total, unit: 'count' } : undefined,
  );
  let began = false;
  let ended = false;
  return (event) => {
    switch (event.type) {
      case 'phase':
        if (!quiet) ui.result(PHASES[event.phase]);
        break;
      case 'verifying':
        if (!quiet) ui.result(`Verifying content integrity of ${event.commits} commit objects...`);
        break;
      case 'progress': {
        draw(event);
        // Where there is no terminal libostree prints the first state and the last.
        if (environment.stdoutIsTerminal || event.total === 0) break;
        if (!began) ui.result(`fsck objects (1/${event.total}) ${Math.floor(100 / event.total)}%`);
        if (!ended && event.done === event.total && event.total > 1) {
          ui.result(`fsck objects (${event.total}/${event.total}) 100%`);
          ended = true;
        }
        began = true;
        break;
      }
      case 'bad': {
        const { type, checksum, missing, commits, message } = event.object;
        const where = commits.join(', ');
        const what = type === 'file' ? `content object ${checksum}` : `${checksum}.${type}`;
        ui.complain(missing ? `Object missing in commits ${where}: ${checksum}.${type}\n` : `In commits ${where}: fsck ${what}: ${message}\n`);
        break;
      }
      case 'partial':
        ui.complain(`Marking commit as partial: ${event.commit}\n`);
        break;
      default:
        break;
    }
  };
}
