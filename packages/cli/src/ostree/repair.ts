import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTransport, type Transport } from '@cambium/http';
import { directorySource, httpSource, type RepairEvent, type RepairResult, type RepairSource, Repo, repair, repoSource } from '@cambium/ostree';
import type { ProgressStatus } from '../progress.ts';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  from: {
    kind: 'texts',
    value: 'SOURCE',
    help: 'A repository, a directory with the same files, a URL of a repository, or the name of a remote; may be given more than once (default: all remotes)',
  },
  'dry-run': { kind: 'flag', short: 'n', help: 'Say what is damaged and what could be healed; change nothing' },
  json: { kind: 'flag', help: 'Print the result as JSON' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Heal missing and corrupt objects from other places',
  operands: [{ name: 'COMMIT', help: '', optional: true, many: true }],
  flags,
  examples: [
    { command: 'cambium ostree repair --repo=./repo --from=/mnt/backup/repo', explains: 'Heal from another repository' },
    { command: 'cambium ostree repair --repo=./repo --from=./checkout --dry-run', explains: 'See what a directory with the same files could heal' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const transport: { value?: Transport } = {};
    try {
      const sources = await openSources(repo, values.from, transport);
      const commits = operands.length === 0 ? undefined : operands.map((rev) => repo.refs.resolve(rev));
      const result = await repair(repo, sources, { commits, dryRun: values['dry-run'] }, context.signal, draw(context));
      context.ui.progress.clear();
      if (values.json) context.ui.resultJson(result);
      else context.ui.write(formatResult(result));
      return result.bad.some(({ healedFrom }) => healedFrom === undefined) ? 1 : undefined;
    } finally {
      await transport.value?.close();
    }
  },
};

async function openSources(repo: Repo, names: readonly string[], transport: { value?: Transport }): Promise<RepairSource[]> {
  const remotes = repo.config.groups().flatMap((group) => /^remote "(.+)"$/.exec(group)?.[1] ?? []);
  const sources: RepairSource[] = [];
  for (const name of names.length === 0 ? remotes : names) {
    const place = remotes.includes(name) ? repo.config.string(`remote "${name}"`, 'url') : name;
    // Mirror lists and metalinks are for pulling.
    if (place === undefined || place.startsWith('mirrorlist=')) {
      if (names.length === 0) continue;
      throw new OstreeFailure(`Remote "${name}" has no URL of its own`);
    }
    sources.push(await openSource(place, transport));
  }
  return sources;
}

async function openSource(place: string, transport: { value?: Transport }): Promise<RepairSource> {
  if (/^https?:\/\//.test(place)) {
    // Every object is verified, and nothing secret is sent.
    transport.value ??= createTransport({ plainHttp: 'any' });
    return httpSource(transport.value, new URL(place));
  }
  const path = place.startsWith('file://') ? fileURLToPath(place) : place;
  if (existsSync(join(path, 'objects')) && existsSync(join(path, 'config'))) return repoSource(await Repo.open(path));
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw new OstreeFailure(`No repository or directory at "${path}"`);
  return directorySource(path);
}

function draw({ ui }: VerbContext): (event: RepairEvent) => void {
  return ui.progress.watch<RepairEvent>((event): ProgressStatus | undefined =>
    event.type === 'progress' ? { what: 'verifying', done: event.done, total: event.total, unit: 'count' } : undefined,
  );
}

function formatResult(result: RepairResult): string {
  let text = '';
  for (const { type, checksum, missing, healedFrom, refused, paths, morePaths } of result.bad) {
    const verdict = healedFrom === undefined ? 'lost' : `${result.dryRun ? 'could be healed' : 'healed'} from ${healedFrom}`;
    text += `${checksum}.${type}: ${missing ? 'missing' : 'corrupt'}, ${verdict}\n`;
    for (const path of paths) text += `  ${path}\n`;
    if (morePaths) text += '  … and more\n';
    for (const reason of refused) text += `  not from ${reason}\n`;
  }
  for (const commit of result.completed) text += `Commit ${result.dryRun ? 'would be' : 'is'} complete again: ${commit}\n`;
  for (const commit of result.damaged) text += `Commit lacks objects: ${commit}\n`;
  const lost = result.bad.filter(({ healedFrom }) => healedFrom === undefined).length;
  return `${text}${result.objects} objects of ${result.commits} commits: ${result.bad.length} bad, ${result.bad.length - lost} ${result.dryRun ? 'could be healed' : 'healed'}\n`;
}
