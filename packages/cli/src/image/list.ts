import { listImages } from '@cambium/oci';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { withImages } from './image-places.ts';

const flags = { ...REGISTRY_FLAGS } as const;

export const command: Command = {
  summary: 'List the images of a repository, layout or archive',
  operands: [{ name: 'PLACE', help: 'Repository in a registry (docker://NAME), or oci:DIR, oci-archive:FILE, docker-archive:FILE' }],
  flags,
  examples: [
    { command: 'cambium image list docker.io/library/nginx', explains: 'Tags in a registry' },
    { command: 'cambium image list oci:./images', explains: 'Images in a directory' },
  ],
  json: '[{ name?, digest?, mediaType?, size? }]',
  async run(context, { values, operands }) {
    const { ui, signal } = context;
    const [place] = operands as readonly [string];
    const images = await withImages(context, values, ({ registry }) => listImages(place, { registry, signal }));
    if (ui.json) ui.resultJson(images);
    else for (const { name, digest } of images) ui.result([shown(name ?? '<none>'), ...(digest === undefined ? [] : [digest])].join('  '));
    return undefined;
  },
} satisfies Command<typeof flags>;

/** Names of archives and layouts are whatever their maker wrote: none may begin a line, or speak to the terminal. */
function shown(name: string): string {
  return name.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, (character) => `\\x${(character.codePointAt(0) as number).toString(16).padStart(2, '0')}`);
}
