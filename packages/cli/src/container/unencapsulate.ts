import { type UnencapsulateEvent, unencapsulate } from '@cambium/bridge';
import { resolveImage } from '@cambium/oci';
import { Repo } from '@cambium/ostree';
import { boundNativeMemory } from '@cambium/system';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { repoPlace } from '../commands/repo-place.ts';
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
    'The commit has the checksum that it had when the image was made. Images with layers on top of it are refused. The commit is not looked at for ' +
      'signatures: the image is what you trust.',
  ],
  operands: [{ name: 'IMAGE', help: 'Image, as in docker://REFERENCE, oci:DIR:TAG or oci-archive:FILE' }],
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
    const [place] = operands as readonly [string];
    boundNativeMemory();
    const repo = await Repo.open(repoPlace(values.repo, environment));
    const ref = values['write-ref'];
    const result = await withImages(context, values, async ({ source }) => {
      const image = await resolveImage(await source(place), wantedPlatform(values.platform), { signal });
      return await unencapsulate(repo, image, { ref, signal, on: events() });
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
