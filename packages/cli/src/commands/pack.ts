import { machine, tmpdir } from 'node:os';
import { type PackEvent, type PackOptions, packApp } from '@cambium/compose';
import { parsePlatform } from '@cambium/oci';
import { boundNativeMemory } from '@cambium/system';
import type { Command, Values } from '../command.ts';
import { parseDate } from '../dates.ts';
import type { Environment } from '../environment.ts';
import { cliError } from '../errors.ts';
import type { ProgressStatus } from '../progress.ts';
import type { Ui } from '../ui.ts';
import { projectOptions } from './compose-project.ts';
import { printPackSummary } from './pack-summary.ts';
import { REGISTRY_FLAGS, registrySettings } from './registry-settings.ts';
import { repoPlace } from './repo-place.ts';

const flags = {
  repo: {
    kind: 'text',
    value: 'OSTREE',
    completes: 'directory',
    env: ['OSTREE_REPO'],
    help: 'OSTree repository to pack into; an archive repository is created when there is none',
  },
  'sign-by': { kind: 'text', value: 'KEYID', env: ['GPG_KEY_ID'], help: 'Sign the commit with this gpg key' },
  'gpg-homedir': { kind: 'text', value: 'DIR', completes: 'directory', help: 'Where gpg keeps its keys' },
  arch: { kind: 'text', value: 'ARCH', env: ['PRECOMPOSE_ARCH', 'CONTAINER_ARCH'], help: 'Architecture of the images; that of this machine unless stated' },
  variant: { kind: 'text', value: 'VARIANT', env: ['PRECOMPOSE_VARIANT', 'CONTAINER_VARIANT'], help: 'Variant of the architecture, as in v7' },
  file: { kind: 'texts', short: 'f', value: 'FILE', completes: 'file', help: 'Further compose file, merged over those before' },
  'env-file': { kind: 'texts', value: 'FILE', completes: 'file', help: 'File of variables, in place of .env' },
  profile: { kind: 'texts', value: 'NAME', help: 'Pack only services of this profile and those without; all services unless stated' },
  'project-directory': { kind: 'text', value: 'DIR', completes: 'directory', help: 'Where relative paths of the compose files start' },
  'project-name': { kind: 'text', short: 'p', value: 'NAME', help: 'Name of the project for interpolation' },
  'image-source': {
    kind: 'texts',
    value: 'IMAGE=PLACE',
    help: 'Read an image from another place than its name says: oci:DIR, oci-archive:FILE, docker-archive:FILE or docker://REFERENCE',
  },
  ...REGISTRY_FLAGS,
  timestamp: {
    kind: 'text',
    value: 'DATE',
    env: ['SOURCE_DATE_EPOCH'],
    help: 'Time of the commit, for reproducible commits: @SECONDS, or like 2026-11-20 10:30 +0000',
  },
  'include-secrets': { kind: 'flag', help: 'Pack the files of secrets too' },
  'dry-run': { kind: 'flag', help: 'Say what would be fetched and written; write nothing' },
  jobs: { kind: 'int', short: 'j', value: 'N', help: 'Layers fetched at a time' },
} as const;

type PackFlags = Values<typeof flags>;

export const command: Command = {
  summary: 'Put a Compose app, images included, into an OSTree repository',
  description: [
    'The commit holds the compose file with pinned images, the files it refers to, and a store that podman runs the images from. ' +
      'Layers that the repository knows are not fetched again. Only the checksum of the commit is printed on stdout.',
  ],
  operands: [
    { name: 'BRANCH', help: 'Ref to write, as in apps/shop' },
    { name: 'COMPOSE', help: 'Compose file, or the directory it is in', completes: 'file' },
  ],
  flags,
  examples: [
    { command: 'cambium pack --repo ./repo apps/shop ./shop/docker-compose.yml', explains: 'Pack an app' },
    { command: 'cambium pack --repo ./repo --arch arm64 --dry-run apps/shop ./shop', explains: 'See what packing for another machine would fetch' },
  ],
  json: '{ commit?, branch, app, repoPath, repoCreated, unchanged, dryRun, images: [{ reference, pinned, digest, layers, fetchBytes, estimatedWriteBytes, … }], fetchBytes, estimatedWriteBytes, hostPaths, leftOut, notPacked: [{ reference, services }], variableFiles, composeForm, variables, stats?, seconds }',
  async run({ ui, environment, signal }, { values, operands }) {
    const [branch, compose] = operands as readonly [string, string];
    const startMs = performance.now();
    boundNativeMemory();
    const options = packOptions(branch, compose, values, environment);
    const result = await packApp({ ...options, registry: registrySettings(values, environment, ui), signal, on: packEvents(ui) });
    ui.progress.clear();
    printPackSummary(result, { compose, seconds: (performance.now() - startMs) / 1000, ui });
    return undefined;
  },
} satisfies Command<typeof flags>;

/** Returns what the flags and the environment ask for. @throws CLI_OPTION_VALUE_INVALID, CLI_DATE_INVALID, OCI_PLATFORM_INVALID */
function packOptions(branch: string, compose: string, values: PackFlags, environment: Environment): PackOptions {
  if (values.jobs !== undefined && values.jobs < 1) throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot fetch ${values.jobs} layers at a time`);
  const imageSources = parseImageSources(values['image-source']);
  return {
    repoPath: repoPlace(values.repo, environment),
    branch,
    project: projectOptions(values, compose, environment),
    platform: { ...parsePlatform(values.arch ?? machine(), values.variant), explicit: values.arch !== undefined },
    timestamp: values.timestamp === undefined ? BigInt(Math.floor(Date.now() / 1000)) : parseTimestamp(values.timestamp, environment),
    registry: registrySettings(values, environment),
    includeSecrets: values['include-secrets'],
    dryRun: values['dry-run'],
    temporaryDirectory: tmpdir(),
    ...(imageSources.size === 0 ? {} : { imageSources }),
    ...(values['sign-by'] === undefined
      ? {}
      : { signBy: { keyId: values['sign-by'], ...(values['gpg-homedir'] === undefined ? {} : { homeDirectory: values['gpg-homedir'] }) } }),
    ...(values.jobs === undefined ? {} : { concurrency: values.jobs }),
  };
}

/** `SOURCE_DATE_EPOCH` is a bare number of seconds, small ones included; for the flag a short one is a date like 20261120. */
function parseTimestamp(text: string, environment: Environment): bigint {
  const seconds = text === environment.variables.SOURCE_DATE_EPOCH ? /^\d{1,12}$/ : /^\d{9,12}$/;
  return seconds.test(text) ? BigInt(text) : parseDate(text);
}

function parseImageSources(texts: readonly string[]): Map<string, string> {
  const sources = new Map<string, string>();
  for (const text of texts) {
    const equals = text.indexOf('=');
    if (equals <= 0 || equals === text.length - 1) {
      throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use "${text}" for --image-source`, { hint: 'Write it as IMAGE=PLACE, like web:latest=oci:./web' });
    }
    sources.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return sources;
}

/** Returns the callback that keeps count: all that must be fetched is known once every image is resolved. */
function packEvents(ui: Ui): (event: PackEvent) => void {
  let total = 0;
  let done = 0;
  let stored = 0;
  const watch = ui.progress.watch<PackEvent>((event): ProgressStatus | undefined => {
    switch (event.type) {
      case 'image-resolved':
        total += event.fetchBytes;
        return { what: 'Resolving', done: total, unit: 'bytes', detail: event.reference };
      case 'layer-progress':
        done += event.bytes;
        break;
      case 'layer-stored':
        stored++;
        break;
      default:
        return undefined;
    }
    return { what: 'Fetching', done, total, unit: 'bytes', detail: `${stored} layers stored` };
  });
  return (event) => {
    watch(event);
    if (event.type === 'warning') ui.warn(event.message);
    if (event.type === 'repo-created') ui.note(`NOTICE: initialized ostree repo in ${event.path}`);
  };
}
