import { type BadObject, type FsckEvent, formatFsckEvent, formatFsckResult, fsck, fsckFailure } from '@cambium/ostree';
import type { ProgressStatus } from '../progress.ts';
import { corruptionText } from './messages.ts';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'add-tombstones': { kind: 'flag', help: 'Add tombstones for missing commits' },
  quiet: { kind: 'flag', short: 'q', help: 'Only print error messages' },
  all: { kind: 'flag', short: 'a', help: "Don't stop on first error" },
  delete: { kind: 'flag', help: 'Remove corrupted objects' },
  'verify-bindings': { kind: 'flag', help: 'Verify ref bindings' },
  'verify-back-refs': { kind: 'flag', help: 'Verify back-references (implies --verify-bindings)' },
  resume: { kind: 'flag', help: 'Keep a record of what was found sound; go on from where an interrupted check with this option stopped' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Check the repository for consistency',
  operands: [],
  flags,
  json: '{ sound, commits, objects, resumed, partialCommits, damagedCommits, bad: [{ type, checksum, missing, message, actual?, commits: [COMMIT], paths: [PATH], morePaths }] }; all is checked, as with --all, and the exit status is 1 unless sound',
  examples: [{ command: 'cambium ostree fsck --repo=./repo', explains: 'Verify every object of every commit' }],
  async run(context, { values }) {
    const repo = await context.openRepo();
    const options = {
      all: values.all,
      delete: values.delete,
      addTombstones: values['add-tombstones'],
      verifyBindings: values['verify-bindings'],
      verifyBackRefs: values['verify-back-refs'],
      resume: values.resume,
    };
    if (context.ui.json) {
      const result = await fsck(repo, { ...options, all: true }, context.signal);
      context.ui.resultJson({ sound: fsckFailure(result) === undefined, ...result });
      return fsckFailure(result) === undefined ? undefined : 1;
    }
    const report = createReport(context, values.quiet);
    const result = await fsck(repo, options, context.signal, report.event);
    report.end();
    if (result.resumed > 0 && !values.quiet) context.ui.write(`${result.resumed} content objects were verified by the interrupted check\n`);
    context.ui.write(formatFsckResult(result));
    const failure = fsckFailure(result);
    if (failure !== undefined) throw new OstreeFailure(failure);
    return undefined;
  },
};

/** Prints the check as it goes on, in libostree's words. */
function createReport({ ui, environment }: VerbContext, quiet: boolean): { event: (event: FsckEvent) => void; end: () => void } {
  const draw = ui.progress.watch<FsckEvent>((event): ProgressStatus | undefined =>
    event.type === 'progress' ? { what: 'fsck objects', done: event.done, total: event.total, unit: 'count' } : undefined,
  );
  // Where there is no terminal libostree prints the first state and, unless the check breaks off, the last.
  let total = 0;
  const last = (): void => {
    if (total > 1) ui.write(formatFsckEvent({ type: 'progress', done: total, total }));
    total = 0;
  };
  return {
    event: (event) => {
      draw(event);
      switch (event.type) {
        case 'phase':
        case 'verifying':
          if (!quiet) ui.write(formatFsckEvent(event));
          break;
        case 'progress':
          if (environment.stdoutIsTerminal || event.total === 0) break;
          if (total === 0) ui.write(formatFsckEvent({ type: 'progress', done: 1, total: event.total }));
          total = event.total;
          break;
        default:
          last();
          ui.complain(corruptionText(formatFsckEvent(event), event.type === 'bad' ? event.object.actual : undefined));
          if (event.type === 'bad') ui.complain(hurtPaths(event.object));
      }
    },
    end: () => {
      last();
      ui.progress.clear();
    },
  };
}

/** Where users meet the damage: libostree names the commits only. */
function hurtPaths({ paths, morePaths }: BadObject): string {
  return `${paths.map((path) => `  ${path}\n`).join('')}${morePaths ? '  … and more\n' : ''}`;
}
