/** Completion scripts, complete in themselves: a shell must not start Node for each press of the Tab key. */

import { type CatalogueGroup, commandsOf, groupsOf } from './catalogue.ts';
import type { Flag } from './command.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export function renderCompletion(shell: Shell, root: CatalogueGroup): string {
  switch (shell) {
    case 'bash':
      return bash(root);
    case 'zsh':
      return zsh(root);
    case 'fish':
      return fish(root);
  }
}

function pathsOf(root: CatalogueGroup): string[] {
  return [...groupsOf(root).slice(1), ...commandsOf(root)].map((node) => node.path);
}

function lastWord(path: string): string {
  return path.slice(path.lastIndexOf(' ') + 1);
}

function shownFlags(flags: Readonly<Record<string, Flag>>): [string, Flag][] {
  return Object.entries(flags).filter(([, flag]) => flag.hidden !== true);
}

/** Walks the words before the cursor down the tree; the same few lines in each shell's language. */
function bash(root: CatalogueGroup): string {
  const known = pathsOf(root).map((path) => `'${path}'`);
  const cases = [
    ...groupsOf(root).map((group) => `    '${group.path}') words='${group.children.map((child) => lastWord(child.path)).join(' ')} --help' ;;`),
    ...commandsOf(root).map(
      (command) =>
        `    '${command.path}') words='${[...shownFlags(command.flags).map(([name, flag]) => `--${name}${flag.kind === 'flag' ? '' : '='}`), '--help'].join(' ')}' ;;`,
    ),
  ];
  return `# Completion of cambium for bash. To use it: source <(cambium completion bash)
_cambium() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path=cambium words= word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case "$path $word" in
    ${known.join('|')}) path="$path $word" ;;
    esac
  done
  case $path in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ \${COMPREPLY[0]-} == *= ]]; then compopt -o nospace; fi
}
complete -o default -o bashdefault -F _cambium cambium
`;
}

function zsh(root: CatalogueGroup): string {
  const known = pathsOf(root).map((path) => `'${path}'`);
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const inBrackets = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('[', '\\[').replaceAll(']', '\\]').replaceAll(':', '\\:');
  const cases = [
    ...groupsOf(root).map(
      (group) =>
        `    '${group.path}')\n      items=(${group.children.map((child) => quote(`${lastWord(child.path)}:${child.summary}`)).join(' ')})\n      _describe command items ;;`,
    ),
    ...commandsOf(root).map((command) => {
      const specs = shownFlags(command.flags).map(([name, flag]) => {
        const action =
          flag.choices !== undefined
            ? `(${flag.choices.join(' ')})`
            : flag.completes === undefined
              ? ' '
              : flag.completes === 'directory'
                ? '_directories'
                : '_files';
        const value = flag.kind === 'flag' ? '' : `:${flag.value ?? 'value'}:${action}`;
        return quote(`${flag.kind === 'texts' ? '*' : ''}--${name}${flag.kind === 'flag' ? '' : '='}[${inBrackets(flag.help)}]${value}`);
      });
      return `    '${command.path}') _arguments ${specs.join(' ')} '*:argument:_files' ;;`;
    }),
  ];
  return `#compdef cambium
# Completion of cambium for zsh. To use it: source <(cambium completion zsh)
_cambium() {
  # Not \`path\`: that is PATH to zsh.
  local at=cambium word
  local -a items
  local -i depth=0
  for word in \${words[2,CURRENT-1]}; do
    case "$at $word" in
    ${known.join('|')}) at="$at $word"; (( depth++ )) ;;
    esac
  done
  shift $depth words
  (( CURRENT -= depth ))
  case $at in
${cases.join('\n')}
  esac
}
compdef _cambium cambium
`;
}

function fish(root: CatalogueGroup): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = [
    ...groupsOf(root).flatMap((group) =>
      group.children.map(
        (child) => `complete -c cambium -n ${quote(`__cambium_at '${group.path}'`)} -f -a ${quote(lastWord(child.path))} -d ${quote(child.summary)}`,
      ),
    ),
    ...commandsOf(root).flatMap((command) =>
      shownFlags(command.flags).map(([name, flag]) => {
        const short = flag.short === undefined ? '' : ` -s ${flag.short}`;
        const value = flag.kind === 'flag' ? '' : flag.choices === undefined ? ' -r' : ` -x -a ${quote(flag.choices.join(' '))}`;
        return `complete -c cambium -n ${quote(`__cambium_at '${command.path}'`)}${short} -l ${name}${value} -d ${quote(flag.help)}`;
      }),
    ),
  ];
  return `# Completion of cambium for fish. To use it: cambium completion fish | source
function __cambium_at
    set -l path cambium
    for word in (commandline -opc)[2..-1]
        switch "$path $word"
            case ${pathsOf(root).map(quote).join(' ')}
                set path "$path $word"
        end
    end
    test "$path" = "$argv[1]"
end
${lines.join('\n')}
`;
}
