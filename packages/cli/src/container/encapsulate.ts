import { readFileSync } from 'node:fs';
import { machine } from 'node:os';
import { isRecord, parseJson } from '@cambium/base';
import { contentOf, type EncapsulateEvent, type EncapsulateOptions, encapsulate, ownersFromContentMeta } from '@cambium/bridge';
import { isIndex, type Manifest, parseManifestOrIndex, parsePlatform } from '@cambium/oci';
import { Repo } from '@cambium/ostree';
import { boundNativeMemory } from '@cambium/system';
import type { Command, Values } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { repoPlace } from '../commands/repo-place.ts';
import { cliError } from '../errors.ts';
import { withImages } from '../image/image-places.ts';
import { formatBytes, type ProgressStatus } from '../progress.ts';

const flags = {
  repo: { kind: 'text', value: 'PATH', completes: 'directory', env: ['OSTREE_REPO'], help: 'Repository that has the commit' },
  label: { kind: 'texts', short: 'l', value: 'KEY=VALUE', help: 'Label of the image' },
  copymeta: { kind: 'texts', value: 'KEY', help: "Copy this text of the commit's metadata into a label" },
  'copymeta-opt': { kind: 'texts', value: 'KEY', help: 'As --copymeta, where the commit has it' },
  cmd: { kind: 'texts', value: 'ARG', help: 'Command of the image, an argument each time' },
  config: { kind: 'text', value: 'FILE', completes: 'file', help: 'JSON of the "config" object to begin with' },
  arch: { kind: 'text', value: 'ARCH', help: 'Architecture of the image; that of this machine unless stated' },
  contentmeta: { kind: 'text', value: 'FILE', completes: 'file', help: 'JSON that says which object belongs into which layer' },
  'max-layers': { kind: 'int', value: 'N', help: 'Most chunk layers; 64 unless stated, or as many as the content metadata names' },
  'previous-build-manifest': { kind: 'text', value: 'FILE', completes: 'file', help: 'Manifest of the image of before: components stay in their layers' },
  'format-version': { kind: 'int', value: 'N', help: '1: chunk layers without parent directories; 2: with them' },
  'compression-fast': { kind: 'flag', help: 'Compress less, and faster' },
  ...REGISTRY_FLAGS,
} as const;

export const command: Command = {
  summary: 'Write an OSTree commit as a container image',
  description: [
    'As `ostree container encapsulate` does: the layers hold a repository with the commit, and its files as links into it, so the image runs as a ' +
      'container and gives back the same commit. The digest of the manifest is printed.',
  ],
  operands: [
    { name: 'REV', help: 'Commit or ref' },
    { name: 'IMAGE', help: 'Place to write to, as in registry:REFERENCE, docker://REFERENCE, oci:DIR[:TAG] or oci-archive:FILE' },
  ],
  flags,
  examples: [
    { command: 'cambium container encapsulate --repo=./repo os/stable docker://registry.example.com/os:stable', explains: 'Publish a commit in a registry' },
    { command: 'cambium container encapsulate --repo=./repo --contentmeta=meta.json os/stable oci:./images:os', explains: 'With a layer for each part' },
  ],
  json: '{ digest, commit, layers: [{ name, digest, diffId, size, components? }] }',
  async run(context, { values, operands }) {
    const { ui, environment, signal } = context;
    const [rev, place] = operands as readonly [string, string];
    boundNativeMemory();
    const repo = await Repo.open(repoPlace(values.repo, environment));
    const commit = repo.refs.resolve(rev);
    const options = { ...optionsOf(values), signal, on: events() };
    if (values.contentmeta !== undefined) {
      options.owners = ownersFromContentMeta(readFileSync(values.contentmeta), contentOf(repo, repo.readCommit(commit).root));
    }
    const result = await withImages(context, values, async ({ sink }) => await encapsulate(repo, commit, await sink(place), options));
    ui.progress.clear();
    if (ui.json) ui.resultJson({ ...result, commit });
    else ui.result(result.digest);
    return undefined;

    function events(): (event: EncapsulateEvent) => void {
      let total = 0;
      let done = 0;
      const watch = ui.progress.watch<EncapsulateEvent>((event): ProgressStatus => {
        if (event.type === 'plan') total = event.layers.length;
        else done++;
        return { what: 'Layers', done, total, unit: 'count', ...(event.type === 'layer' ? { detail: event.name } : {}) };
      });
      return (event) => {
        watch(event);
        if (event.type === 'layer') ui.detail(`${event.digest}  ${formatBytes(event.size)}  ${event.name}`);
      };
    }
  },
} satisfies Command<typeof flags>;

function optionsOf(values: Values<typeof flags>): EncapsulateOptions {
  const version = values['format-version'] ?? 1;
  if (version !== 1 && version !== 2) throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot write format version ${version}: there are 1 and 2`);
  return {
    platform: platformOf(values.arch),
    labels: Object.fromEntries(values.label.map(labelOf)),
    copyMeta: values.copymeta,
    copyMetaOptional: values['copymeta-opt'],
    formatVersion: version,
    maxLayers: values['max-layers'],
    ...(values.cmd.length === 0 ? {} : { cmd: values.cmd }),
    ...(values.config === undefined ? {} : { config: readObject(values.config) }),
    ...(values['previous-build-manifest'] === undefined ? {} : { previous: readManifest(values['previous-build-manifest']) }),
    ...(values['compression-fast'] ? { compressionLevel: 1 } : {}),
  };
}

function platformOf(arch: string | undefined): EncapsulateOptions['platform'] {
  const { os, architecture, variant } = parsePlatform(arch ?? machine());
  return { os, architecture, ...(variant === undefined || arch === undefined ? {} : { variant }) };
}

function labelOf(text: string): [string, string] {
  const equals = text.indexOf('=');
  if (equals <= 0) throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use "${text}" as a label`, { hint: 'Write it as KEY=VALUE' });
  return [text.slice(0, equals), text.slice(equals + 1)];
}

function readObject(path: string): Record<string, unknown> {
  const value = parseJson(readFileSync(path), `"${path}"`);
  if (!isRecord(value)) throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use "${path}": it is no JSON object`);
  return value;
}

function readManifest(path: string): Manifest {
  const document = parseManifestOrIndex(readFileSync(path), { what: `"${path}"` });
  if (isIndex(document)) throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use "${path}": it is an index, and not the manifest of one image`);
  return document.value as Manifest;
}
