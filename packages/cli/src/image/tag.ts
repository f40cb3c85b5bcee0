import { parsePlace, tagImage } from '@cambium/oci';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { cliError } from '../errors.ts';
import { withImages } from './image-places.ts';

const flags = { ...REGISTRY_FLAGS } as const;

export const command: Command = {
  summary: 'Give an image a further tag, where it is',
  description: ['Nothing but the manifest travels. What has the tag loses it.'],
  operands: [
    { name: 'IMAGE', help: 'Image in a registry, or oci:DIR:TAG' },
    { name: 'TAG', help: 'Tag to give it', many: true },
  ],
  flags,
  examples: [{ command: 'cambium image tag registry.example.com/app:1.4.2 1.4 latest', explains: 'Move two tags' }],
  json: '{ image, digest, tags }',
  async run(context, { values, operands }) {
    const { ui, signal } = context;
    const [image, ...tags] = operands as readonly [string, ...string[]];
    if (tags.length === 0) throw cliError('CLI_OPERANDS_WRONG', 'Cannot tag an image without a TAG');
    const digest = await withImages(context, values, async ({ registry }) => {
      let digest = '';
      for (const tag of tags) digest = await tagImage(parsePlace(image), tag, { registry, signal });
      return digest;
    });
    if (ui.json) ui.resultJson({ image, digest, tags });
    else ui.result(digest);
    return undefined;
  },
} satisfies Command<typeof flags>;
