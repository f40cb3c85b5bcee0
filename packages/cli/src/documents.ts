/** docs/commands.md, docs/exit-codes.md and the manual page, printed from the command tree. */
import { type CatalogueCommand, type CatalogueGroup, commandsOf } from './catalogue.ts';
import type { Flags } from './command.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';
import { describeFlag, renderFlag, renderOperands } from './help.ts';

const GENERATED = '<!-- Generated: npm run docs --workspace cambium -->';

export function renderCommandsPage(root: CatalogueGroup): string {
  const own = commandsOf(root).filter((command) => command.dialect === 'cambium');
  const verbs = commandsOf(root).filter((command) => command.dialect === 'ostree');
  const parts = [
    '# Commands',
    GENERATED,
    'Results go to stdout, everything else to stderr. Exit statuses are in [exit-codes.md](exit-codes.md).',
    'Every command of its own takes these, before or after its name:',
    flagTable(GLOBAL_FLAGS),
    ...own.map(section),
    '## cambium ostree',
    'The `ostree` command of libostree 2022.7, verb for verb and flag for flag: its output, its messages, and exit status 1 for every failure. ' +
      'Every verb takes `--repo=PATH`; without it the current directory is used when it is a repository, then `OSTREE_REPO`, then `/ostree/repo`. ' +
      'A link named `ostree` that leads to `cambium` is the same command. ' +
      'As in libostree `SOURCE_DATE_EPOCH`, `OSTREE_GPG_HOME`, `OSTREE_BOOTID` (the name of this boot in staging directories) and, for tests, ' +
      '`OSTREE_REPO_TEST_ERROR=pre-commit` (`commit` fails when all is staged) are obeyed.',
    ...verbs.map(section),
  ];
  return `${parts.join('\n\n')}\n`;
}

function section(entry: CatalogueCommand): string {
  const { command } = entry;
  const level = entry.dialect === 'ostree' ? '###' : '##';
  const operands = renderOperands(command);
  const parts = [
    `${level} ${entry.path}`,
    `    ${entry.path} [OPTION...]${operands === '' ? '' : ` ${operands}`}`,
    `${command.summary}.`,
    ...(command.description ?? []),
  ];
  const arguments_ = command.operands.filter((operand) => operand.help !== '');
  if (arguments_.length > 0) parts.push(arguments_.map((operand) => `- \`${operand.name}\`: ${operand.help}`).join('\n'));
  if (Object.keys(command.flags).length > 0) parts.push(flagTable(command.flags));
  if (command.json !== undefined) parts.push(`With \`--json\`: ${command.json}`);
  if (command.examples.length > 0) parts.push(`\`\`\`sh\n${command.examples.map((example) => `# ${example.explains}\n${example.command}`).join('\n')}\n\`\`\``);
  return parts.join('\n\n');
}

function flagTable(flags: Flags): string {
  const rows = Object.entries(flags)
    .filter(([, flag]) => flag.hidden !== true)
    .map(([name, flag]) => `| \`${renderFlag(name, flag)}\` | ${describeFlag(flag).replaceAll('|', '\\|')} |`);
  return ['| Option | Meaning |', '|---|---|', ...rows].join('\n');
}

export function renderExitCodesPage(): string {
  const rows = EXIT_CODES.map((row) => `| ${row.status} | ${row.kind === undefined ? '' : `\`${row.kind}\``} | ${row.meaning} |`);
  return `# Exit statuses\n\n${GENERATED}\n\nThe kind is that of the error's code; the codes are in [errors.md](errors.md).\n\n| Status | Kind | Meaning |\n|---|---|---|\n${rows.join('\n')}\n`;
}

/** Returns one manual page in man(7) macros. */
export function renderManualPage(root: CatalogueGroup, date: string): string {
  const roff = (text: string): string => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^\./gm, '\\&.');
  const lines = [
    `.TH CAMBIUM 1 "${date}"`,
    '.SH NAME',
    `cambium \\- ${roff(root.summary)}`,
    '.SH SYNOPSIS',
    '.B cambium',
    '.I COMMAND',
    '.RI [ OPTION... ]',
    '.SH COMMANDS',
  ];
  for (const node of root.children) lines.push('.TP', `.B ${roff(node.path)}`, roff(node.summary));
  for (const entry of commandsOf(root)) {
    lines.push(
      `.SH ${roff(entry.path.toUpperCase())}`,
      `.B ${roff(entry.path)}`,
      `[OPTION...] ${roff(renderOperands(entry.command))}`,
      '.PP',
      `${roff(entry.command.summary)}.`,
    );
    for (const paragraph of entry.command.description ?? []) lines.push('.PP', roff(paragraph));
    for (const [name, flag] of Object.entries(entry.command.flags)) {
      if (flag.hidden !== true) lines.push('.TP', `.B ${roff(renderFlag(name, flag))}`, roff(describeFlag(flag)));
    }
    for (const example of entry.command.examples) lines.push('.PP', `${roff(example.explains)}:`, '.PP', '.nf', roff(example.command), '.fi');
  }
  lines.push('.SH EXIT STATUS');
  for (const row of EXIT_CODES) lines.push('.TP', `.B ${row.status}`, roff(row.meaning));
  return `${lines.join('\n')}\n`;
}
