import { readFileSync } from 'node:fs';
import { type CollectionRef, type FoundRemote, findRemotes, formatCollectionRef, pullFromRemotes, type Repo } from '@cambium/ostree';
import { lookUp } from '../environment.ts';
import { proxyRule } from '../proxies.ts';
import { collectionRefsOf } from './collection-operands.ts';
import { ostreeMessage } from './messages.ts';
import { remoteTrustOptions } from './remote-network.ts';
import { featureMissing, OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'cache-dir': { kind: 'text', value: 'DIR', help: 'Use custom cache dir', completes: 'directory' },
  'disable-fsync': { kind: 'flag', help: 'Do not invoke fsync()' },
  finders: { kind: 'text', value: 'FINDERS', help: 'Use the specified comma separated list of finders (e.g. config,lan,mount)' },
  pull: { kind: 'flag', help: 'Pull the updates after finding them' },
  mirror: { kind: 'flag', help: 'Do a mirror pull (see ostree pull --mirror)' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Find remotes to serve the given refs',
  operands: [
    { name: 'COLLECTION-ID', help: '' },
    { name: 'REF', help: '', many: true },
  ],
  usage: 'COLLECTION-ID REF [COLLECTION-ID REF...]',
  flags,
  examples: [{ command: 'cambium ostree find-remotes --repo=./repo com.example.Shop apps/shop', explains: 'Say which remotes and volumes have an app' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const refs = collectionRefsOf(operands);
    const finders = findersOf(repo, values.finders);
    const common = {
      cacheDirectory: values['cache-dir'],
      proxy: proxyRule(context.environment),
      trust: remoteTrustOptions(context),
      onFailure: (place: string, error: unknown) => context.ui.complain(`warning: ${place}: ${ostreeMessage(error)}\n`),
    };
    const places = await findRemotes(repo, refs, { ...common, config: finders.has('config'), mounts: finders.has('mount') ? volumes() : [] }, context.signal);
    if (places.length === 0) {
      context.ui.result('No results.');
      return undefined;
    }
    places.forEach((place, index) => {
      printPlace(context, place, index);
    });
    const found = printTotals(context, places, refs);
    if (!values.pull) return undefined;
    const bootId = lookUp(context.environment, ['OSTREE_BOOTID']);
    const fsync = values['disable-fsync'] ? { fsync: false } : {};
    const missing = await pullFromRemotes(repo, places, { ...common, ...fsync, bootId, mirror: values.mirror }, context.signal);
    if (missing.length > 0) throw new OstreeFailure(`Failed to pull some refs from the remotes: ${missing.map(formatCollectionRef).join(', ')}`);
    context.ui.result(`Pulled ${found}/${found} refs successfully.`);
    return undefined;
  },
};

function findersOf(repo: Repo, text: string | undefined): ReadonlySet<string> {
  const names = text === undefined ? (repo.config.list('core', 'default-repo-finders') ?? ['config', 'mount']) : text.split(',');
  const finders = new Set<string>();
  for (const name of names) {
    if (!['config', 'lan', 'mount'].includes(name) || finders.has(name)) {
      if (text === undefined) throw new OstreeFailure(`Invalid configured repo-finder '${name}'`);
      throw new UsageError(`Unknown or duplicate finder type given in --finders option: ‘${name}’`);
    }
    finders.add(name);
  }
  // A config may name it for others' sake.
  if (text !== undefined && finders.has('lan')) throw featureMissing('--finders=lan');
  return finders;
}

/** Volumes that people plug in are mounted below these. */
const VOLUMES = /^\/(?:media|run\/media|mnt)(?:\/|$)/;

function volumes(): string[] {
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const paths = lines.map((line) =>
    (line.split(' ')[1] ?? '').replace(/\\([0-7]{3})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
  );
  return [...new Set(paths.filter((path) => VOLUMES.test(path)))];
}

const FINDERS = { config: 'OstreeRepoFinderConfig', mount: 'OstreeRepoFinderMount' } as const;

function printPlace({ ui }: VerbContext, place: FoundRemote, index: number): void {
  const { lastModified } = place;
  ui.result(`Result ${index}: ${place.url}`);
  ui.result(` - Finder: ${FINDERS[place.finder]}`);
  ui.result(` - Keyring: ${place.remote}.trustedkeys.gpg`);
  ui.result(` - Priority: ${place.priority}`);
  ui.result(` - Summary last modified: ${lastModified === undefined ? 'unknown' : isoTime(lastModified)}`);
  ui.result(' - Refs:');
  for (const row of place.refs) ui.result(`    - ${formatCollectionRef(row)} = ${row.checksum ?? '(not found)'}`);
  ui.result('');
}

/** The last day of the year 9999: what a Date can show, and what no clock says. */
const LAST_SECOND = 253_402_300_799n;

function isoTime(seconds: bigint): string {
  return seconds > LAST_SECOND ? 'unknown' : new Date(Number(seconds) * 1000).toISOString().replace('.000Z', 'Z');
}

function printTotals({ ui }: VerbContext, places: readonly FoundRemote[], refs: readonly CollectionRef[]): number {
  const has = (wanted: CollectionRef): boolean =>
    places.some((place) => place.refs.some((row) => row.checksum !== undefined && row.collection === wanted.collection && row.ref === wanted.ref));
  const missing = refs.filter((ref) => !has(ref));
  const found = refs.length - missing.length;
  ui.result(`${found}/${refs.length} refs were found.`);
  if (missing.length > 0) ui.result(['Refs not found in any remote:', ...missing.map((ref) => ` - ${formatCollectionRef(ref)}`)].join('\n'));
  return found;
}
