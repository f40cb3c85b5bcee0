/** Help texts of Cambium's own commands. `cambium ostree` has libostree's form: `ostree/help.ts`. */
import { type Command, type Flag, type Flags, type Group, isGroup, type Operand } from './command.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';

/** Names up to this width share a line with their help; longer ones stand above it. */
const NAME_COLUMN = 30;
const WIDTH = 100;

export function renderOperands(command: Pick<Command, 'operands' | 'usage'>): string {
  return command.usage ?? command.operands.map(renderOperand).join(' ');
}

function renderOperand(operand: Operand): string {
  const name = operand.many === true ? `${operand.name}...` : operand.name;
  return operand.optional === true ? `[${name}]` : name;
}

/** Returns a flag as it is typed: `-b, --branch=BRANCH`. */
export function renderFlag(name: string, flag: Flag): string {
  const value = flag.kind === 'flag' || flag.value === undefined ? '' : `=${flag.value}`;
  return `${flag.short === undefined ? '' : `-${flag.short}, `}--${name}${value}`;
}

/** Returns the flags a command takes besides its own. */
export function globalFlagsFor(command: Pick<Command, 'json' | 'flags'>): Flags {
  return Object.fromEntries(Object.entries(GLOBAL_FLAGS).filter(([name]) => (name !== 'json' || command.json !== undefined) && !(name in command.flags)));
}

/** Returns the help of a command; `path` is how it is called, as in `cambium pack`. */
export function renderCommandHelp(path: string, command: Command): string {
  const hasFlags = Object.keys(command.flags).length > 0;
  const operands = renderOperands(command);
  const sections = [
    `Usage: ${path}${hasFlags ? ' [OPTION...]' : ''}${operands === '' ? '' : ` ${operands}`}`,
    `${command.summary}.`,
    ...(command.description ?? []).map((text) => wrap(text, WIDTH)),
  ];
  if (command.operands.some((operand) => operand.help !== '')) {
    sections.push(`Arguments:\n${rows(command.operands.map((operand) => [operand.name, operand.help]))}`);
  }
  if (hasFlags) sections.push(`Options:\n${rows(flagRows(command.flags))}`);
  sections.push(`Common options:\n${rows(flagRows(globalFlagsFor(command)))}`);
  if (command.examples.length > 0) sections.push(renderExamples(command.examples));
  sections.push(exitLine());
  return `${sections.join('\n\n')}\n`;
}

export function renderExamples(examples: Command['examples']): string {
  return `Examples:\n${examples.map((example) => `  # ${example.explains}\n  ${example.command}`).join('\n')}`;
}

export function renderGroupHelp(path: string, group: Group, examples: readonly string[] = []): string {
  const sections = [
    `Usage: ${path} COMMAND`,
    `${group.summary}.`,
    `Commands:\n${rows(group.children.filter((child) => isGroup(child) || child.hidden !== true).map((child) => [child.name, child.summary]))}`,
    `Common options${group.children.some((child) => isGroup(child) && child.dialect !== undefined) ? " (the verbs of ostree have libostree's, and --json where they show something)" : ''}:\n${rows(flagRows(GLOBAL_FLAGS))}`,
  ];
  if (examples.length > 0) sections.push(`Examples:\n${examples.map((line) => `  ${line}`).join('\n')}`);
  sections.push(`\`${path} COMMAND --help\` tells more of a command.`, exitLine());
  return `${sections.join('\n\n')}\n`;
}

function flagRows(flags: Flags): [string, string][] {
  const shown = Object.entries(flags).filter(([, flag]) => flag.hidden !== true);
  // Long names line up whether or not there is a letter before them.
  const indent = shown.some(([, flag]) => flag.short !== undefined) ? '    ' : '';
  return shown.map(([name, flag]) => [`${flag.short === undefined ? indent : ''}${renderFlag(name, flag)}`, describeFlag(flag)]);
}

/** Returns the help of a flag with its choices and the variables that stand in for it. */
export function describeFlag(flag: Flag): string {
  const choices = flag.choices === undefined ? '' : ` (${flag.choices.join(', ')})`;
  const repeated = flag.kind === 'texts' ? '; may be repeated' : '';
  const environment = flag.env === undefined ? '' : ` [env: ${flag.env.join(', then ')}]`;
  return `${flag.help}${choices}${repeated}${environment}`;
}

function rows(entries: readonly (readonly [string, string])[]): string {
  const column = Math.min(NAME_COLUMN, Math.max(...entries.map(([name]) => name.length)) + 2);
  return entries
    .map(([name, text]) => {
      const lines = wrap(text, WIDTH - column - 2).split('\n');
      const head = name.length + 2 > column ? `  ${name}\n${' '.repeat(column + 2)}` : `  ${name.padEnd(column)}`;
      return `${head}${lines.join(`\n${' '.repeat(column + 2)}`)}`.trimEnd();
    })
    .join('\n');
}

function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

function exitLine(): string {
  return wrap(
    `Exit status: ${EXIT_CODES.filter((row) => row.status === 0 || row.kind !== undefined)
      .map((row) => `${row.status} ${row.kind ?? row.meaning}`)
      .join(', ')}, 1 other failures (docs/exit-codes.md).`,
    WIDTH,
  );
}
