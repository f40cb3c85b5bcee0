import { directoryTarget, type PushEvent, type PushResult, type PushTarget, push, sftpTarget } from '@cambium/ostree';
import { formatBytes, type ProgressStatus } from '../progress.ts';
import { UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'dry-run': { kind: 'flag', short: 'n', help: 'Say what would be sent; send nothing' },
  json: { kind: 'flag', help: 'Print the result as JSON' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Publish commits, deltas and the summary to a directory or over SSH',
  operands: [
    { name: 'DEST', help: '' },
    { name: 'REF', help: '', optional: true, many: true },
  ],
  flags,
  examples: [
    { command: 'cambium ostree push --repo=./repo /srv/www/repo os/stable', explains: 'Publish a ref to a directory' },
    { command: 'cambium ostree push --repo=./repo sftp://deploy@www.example.org/srv/repo', explains: 'Publish everything over SSH' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [destination, ...refs] = operands;
    if (destination === undefined) throw new UsageError('DEST must be specified');
    const result = await push(repo, openTarget(destination), { refs, dryRun: values['dry-run'] }, context.signal, draw(context));
    context.ui.progress.clear();
    if (values.json) context.ui.resultJson(result);
    else context.ui.write(formatResult(result));
    return undefined;
  },
};

/** A path, or `sftp://[USER@]HOST[:PORT]/PATH`. */
function openTarget(destination: string): PushTarget {
  if (!destination.startsWith('sftp://')) return directoryTarget(destination);
  const url = new URL(destination);
  const user = url.username === '' ? '' : `${decodeURIComponent(url.username)}@`;
  const host = url.hostname;
  // What begins with a dash would be taken for an option.
  if (host === '' || `${user}${host}`.startsWith('-') || url.password !== '') throw new UsageError(`Cannot use "${url.protocol}//${host}" as a destination`);
  return sftpTarget({
    arguments: [...(url.port === '' ? [] : ['-P', url.port]), `${user}${host}`],
    directory: decodeURIComponent(url.pathname).replace(/\/+$/, ''),
  });
}

function draw({ ui }: VerbContext): (event: PushEvent) => void {
  return ui.progress.watch<PushEvent>((event): ProgressStatus | undefined =>
    event.type === 'sent' ? { what: 'sent', done: event.bytes, total: event.total, unit: 'bytes' } : undefined,
  );
}

function formatResult(result: PushResult): string {
  const sent = result.dryRun ? 'would send' : 'sent';
  let text = `${result.target}: ${sent} ${result.objects} objects, ${formatBytes(result.objectBytes)}; ${result.present} are there already\n`;
  if (result.deltas.length > 0) text += `${sent} ${result.deltas.length} static deltas\n`;
  for (const { ref, from, to } of result.refs) text += `${ref}: ${from ?? 'new'} -> ${to}\n`;
  if (result.summary === 'sent') text += `${sent} the summary\n`;
  if (result.summary === 'other-refs') text += 'the summary names other refs than were pushed, and was left out\n';
  return text;
}
