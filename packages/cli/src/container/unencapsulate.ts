import {
  parseSignedReference,
  printContainerReference,
  type SignatureSource,
  type UnencapsulateEvent,
  type UnencapsulateOptions,
  unencapsulate,
} from '@cambium/bridge';
import { resolveImage } from '@cambium/oci';
import { Repo, readRemoteTrust, verifyCommitBytes } from '@cambium/ostree';
import { boundNativeMemory } from '@cambium/system';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { repoPlace } from '../commands/repo-place.ts';
import { cliError } from '../errors.ts';
import { PLATFORM_FLAGS, wantedPlatform, withImages } from '../image/image-places.ts';
import { formatBytes, type ProgressStatus } from '../progress.ts';

const flags = {
  repo: { kind: 'text', value: 'PATH', completes: 'directory', env: ['OSTREE_REPO'], help: 'Repository to import into' },
  'write-ref': { kind: 'text', value: 'REF', help: 'Ref that is to point at the commit' },
  platform: PLATFORM_FLAGS.platform,
  ...REGISTRY_FLAGS,
} as const;

export const command: Command = {
  summary: 'Import the OSTree commit inside a container image',
  description: [
    'The commit has the checksum that it had when the image was made. Images with layers on top of it are refused.',
    'With ostree-remote-image:REMOTE:IMAGE, or ostree-remote-registry:REMOTE:NAME, the commit must be signed as that remote of the repository wants it; ' +
      'with ostree-unverified-image:IMAGE, ostree-unverified-registry:NAME, or the image alone, nobody asks.',
  ],
  operands: [{ name: 'IMAGE', help: 'Image, as in docker://REFERENCE or oci:DIR:TAG, with or without what its signature must be' }],
  flags,
  examples: [
    {
      command: 'cambium container unencapsulate --repo=./repo --write-ref=os/stable docker://registry.example.com/os:stable',
      explains: 'Get a commit out of a registry',
    },
  ],
  json: '{ commit, ref?, unchanged, layers, objects }',
  async run(context, { values, operands }) {
    const { ui, environment, signal } = context;
    const [text] = operands as readonly [string];
    const { signature, place } = placeOf(text);
    boundNativeMemory();
    const repo = await Repo.open(repoPlace(values.repo, environment));
    const ref = values['write-ref'];
    const verify = signature.kind === 'remote' ? verifierOf(repo, signature.remote) : undefined;
    const result = await withImages(context, values, async ({ source }) => {
      const image = await resolveImage(await source(place), wantedPlatform(values.platform), { signal });
      return await unencapsulate(repo, image, { ref, verify, signal, on: events() });
    });
    ui.progress.clear();
    if (ui.json) ui.resultJson({ ...result, ...(ref === undefined ? {} : { ref }) });
    else ui.result(`Imported: ${ref === undefined ? '' : `${ref} => `}${result.commit}`);
    return undefined;

    function events(): (event: UnencapsulateEvent) => void {
      let total = 0;
      let done = 0;
      return ui.progress.watch<UnencapsulateEvent>((event): ProgressStatus => {
        if (event.type === 'plan') total = event.bytes;
        else {
          done += event.size;
          ui.detail(`${event.digest}  ${formatBytes(event.size)}  ${event.objects} objects`);
        }
        return { what: 'Importing', done, total, unit: 'bytes' };
      });
    }
  },
} satisfies Command<typeof flags>;

function placeOf(text: string): { signature: SignatureSource; place: string } {
  if (!text.startsWith('ostree-')) return { signature: { kind: 'unverified' }, place: text };
  const { signature, image } = parseSignedReference(text);
  if (signature.kind === 'signed') throw cliError('CLI_FEATURE_MISSING', 'Cannot check an image against containers-policy.json yet: ostree-image-signed');
  return { signature, place: printContainerReference(image) };
}

/** Checks a commit as the remote's config says; one that asks for nothing is refused, because the user asked for a check. */
function verifierOf(repo: Repo, remote: string): UnencapsulateOptions['verify'] {
  const trust = readRemoteTrust(repo, remote);
  if (!trust.gpg.commits && trust.sign.commits === undefined) {
    throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot check the commit: remote "${remote}" asks for no signatures`, {
      hint: `Set gpg-verify or sign-verify of the remote, or name the image as ostree-unverified-image:…`,
    });
  }
  return (checksum, commit, detached) => verifyCommitBytes(trust, checksum, commit, detached);
}
