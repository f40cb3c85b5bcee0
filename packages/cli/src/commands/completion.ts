import { loadCatalogue } from '../catalogue.ts';
import type { Command } from '../command.ts';
import { renderCompletion, SHELLS, type Shell } from '../completion.ts';
import { cliError } from '../errors.ts';

export const command: Command = {
  summary: 'Print a completion script for a shell',
  operands: [{ name: 'SHELL', help: 'bash, zsh or fish' }],
  flags: {},
  examples: [
    { command: 'source <(cambium completion bash)', explains: 'Use it in this shell' },
    { command: 'cambium completion bash > ~/.local/share/bash-completion/completions/cambium', explains: 'Use it in every bash from now on' },
  ],
  async run({ ui }, { operands }) {
    const shell = operands[0] as Shell;
    if (!SHELLS.includes(shell)) throw cliError('CLI_OPERANDS_WRONG', `Cannot complete for shell "${shell}"`, { hint: `Choose one of: ${SHELLS.join(', ')}` });
    ui.write(renderCompletion(shell, await loadCatalogue()));
    return undefined;
  },
};
