import { loadCatalogue } from '../catalogue.ts';
import { type Command, type Group, isGroup } from '../command.ts';
import { renderCommandsPage, renderExitCodesPage, renderManualPage } from '../documents.ts';
import { renderCommandHelp, renderGroupHelp } from '../help.ts';
import { findCommand, unknownCommand } from '../main.ts';
import { renderOstreeHelp, renderVerbHelp } from '../ostree/help.ts';

const flags = {
  format: {
    kind: 'text',
    value: 'FORMAT',
    choices: ['text', 'markdown', 'man', 'exit-codes'],
    help: 'Print all of it as text, docs/commands.md, a manual page, or docs/exit-codes.md',
  },
} as const;

export const command: Command<typeof flags> = {
  summary: 'Tell about a command',
  operands: [{ name: 'COMMAND', help: 'The command to tell about; all of them without it', optional: true, many: true }],
  flags,
  examples: [
    { command: 'cambium help pack', explains: 'Read about one command' },
    { command: 'cambium help --format=man > cambium.1', explains: 'Make the manual page' },
  ],
  async run({ ui }, { operands, values }) {
    if (values.format === 'exit-codes') ui.write(renderExitCodesPage());
    else if (values.format === 'markdown') ui.write(renderCommandsPage(await loadCatalogue()));
    else if (values.format === 'man') ui.write(renderManualPage(await loadCatalogue(), new Date().toISOString().slice(0, 10)));
    else ui.write(await helpOf(operands));
    return undefined;
  },
};

async function helpOf(words: readonly string[]): Promise<string> {
  const found = findCommand(words);
  if (found.unknown !== undefined) throw unknownCommand(found.path, found.node as Group, found.unknown);
  const { node, path } = found;
  // The words after `cambium ostree`, where another dialect is spoken.
  const verb = path === OSTREE ? '' : path.startsWith(`${OSTREE} `) ? path.slice(OSTREE.length + 1) : undefined;
  if (isGroup(node)) return verb === undefined ? renderGroupHelp(path, node) : renderOstreeHelp(verb, node);
  const leaf = await node.load();
  return verb === undefined ? renderCommandHelp(path, leaf) : renderVerbHelp(verb, leaf);
}

const OSTREE = 'cambium ostree';
