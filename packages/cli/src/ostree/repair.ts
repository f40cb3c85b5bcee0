import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  deltaSource,
  directorySource,
  openDelta,
  openRemoteSources,
  type RepairEvent,
  type RepairResult,
  type RepairSource,
  Repo,
  repair,
  repoDeltaSource,
  repoSource,
} from '@cambium/ostree';
import type { ProgressStatus } from '../progress.ts';
import { proxyRule } from '../proxies.ts';
import { ostreeUserAgent } from '../version.ts';
import { ostreeMessage } from './messages.ts';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  from: {
    kind: 'texts',
    value: 'SOURCE',
    help: 'The name of a remote, the URL or path of a repository, a static delta, or a directory with the same files; may be given more than once (default: all remotes)',
  },
  'dry-run': { kind: 'flag', short: 'n', help: 'Say what is damaged and what could be healed; change nothing' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Heal missing and corrupt objects from other places',
  operands: [{ name: 'COMMIT', help: '', optional: true, many: true }],
  flags,
  json: '{ dryRun, commits, objects, bad: [{ type, checksum, missing, message, healedFrom?, commits: [COMMIT], paths: [PATH], morePaths }], completed: [COMMIT], damaged: [COMMIT] }',
  beyond: true,
  examples: [
    { command: 'cambium ostree repair --repo=./repo --from=/mnt/backup/repo', explains: 'Heal from another repository' },
    { command: 'cambium ostree repair --repo=./repo --from=shop.delta --from=origin', explains: 'Heal from a static delta, and the rest from a remote' },
    { command: 'cambium ostree repair --repo=./repo --from=./checkout --dry-run', explains: 'See what a directory with the same files could heal' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const sources: RepairSource[] = [];
    try {
      for await (const source of openSources(context, repo, values.from)) sources.push(source);
      const commits = operands.length === 0 ? undefined : operands.map((rev) => repo.refs.resolve(rev));
      const result = await repair(repo, sources, { commits, dryRun: values['dry-run'] }, context.signal, draw(context));
      context.ui.progress.clear();
      if (context.ui.json) context.ui.resultJson(result);
      else context.ui.write(formatResult(result));
      return result.bad.some(({ healedFrom }) => healedFrom === undefined) ? 1 : undefined;
    } finally {
      for (const source of sources) await source.close?.();
    }
  },
};

/** What lies in the repository itself goes first: it costs nothing. */
async function* openSources(context: VerbContext, repo: Repo, names: readonly string[]): AsyncGenerator<RepairSource> {
  yield await repoDeltaSource(repo);
  const remotes = repo.config.groups().flatMap((group) => /^remote "(.+)"$/.exec(group)?.[1] ?? []);
  for (const name of names.length === 0 ? remotes : names) {
    try {
      if (remotes.includes(name) || /^https?:\/\//.test(name)) yield* await openRemote(context, repo, name);
      else yield* openPlace(repo, name.startsWith('file://') ? fileURLToPath(name) : name);
    } catch (error) {
      context.signal.throwIfAborted();
      // One of several that nobody named: the others may do.
      if (names.length > 0) throw error;
      context.ui.complain(`warning: ${name}: ${ostreeMessage(error)}\n`);
    }
  }
}

function openRemote({ environment, signal }: VerbContext, repo: Repo, name: string): Promise<RepairSource[]> {
  return openRemoteSources(repo, name, { userAgent: ostreeUserAgent(undefined), proxy: proxyRule(environment) }, signal);
}

async function* openPlace(repo: Repo, path: string): AsyncGenerator<RepairSource> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new OstreeFailure(`No repository, static delta or directory at "${path}"`);
  if (stat.isDirectory() && existsSync(join(path, 'objects')) && existsSync(join(path, 'config'))) {
    const other = await Repo.open(path);
    yield repoSource(other);
    yield await repoDeltaSource(repo, other);
  } else if (stat.isDirectory() && !existsSync(join(path, 'superblock'))) yield directorySource(path);
  else {
    // Once now, so that a file that is no delta is told of.
    openDelta(path);
    yield await deltaSource(repo, path, [() => openDelta(path)]);
  }
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
