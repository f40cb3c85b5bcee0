/** Help in the form of GLib's `GOptionContext`, as libostree's command prints it. */
import { type Flags, type Group, isGroup } from '../command.ts';
import { renderExamples, renderFlag, renderOperands } from '../help.ts';
import { COMMON_FLAGS, JSON_FLAG, REPO_FLAG, type Verb } from './verb.ts';

const HELP_ROW: readonly [string, string] = ['-h, --help', 'Show help options'];
/** GLib's distance from the longest name to its text. */
const GAP = 5;

/** Returns all flags of a verb in the order of its help. */
export function flagsOfVerb(verb: Verb): Flags {
  const taken = new Set(Object.values(verb.flags).map(({ short }) => short));
  // A verb's own letter comes before that of an option of all verbs.
  const common = Object.entries(COMMON_FLAGS).map(
    ([name, { short, ...flag }]) => [name, short === undefined || taken.has(short) ? flag : { short, ...flag }] as const,
  );
  return {
    ...(verb.withoutRepo === true ? {} : { repo: REPO_FLAG }),
    ...verb.flags,
    ...(verb.json === undefined ? {} : { json: JSON_FLAG }),
    ...Object.fromEntries(common),
  };
}

/** @param name as typed after `ostree`: `remote add` */
export function renderVerbHelp(name: string, verb: Verb): string {
  const operands = renderOperands(verb);
  const examples = verb.beyond === true ? `\n${renderExamples(verb.examples)}\n` : '';
  return `Usage:\n  ostree ${name} [OPTION…]${operands === '' ? '' : ` ${operands}`}\n\n${verb.summary}\n\n${renderOptions([], flagRows(flagsOfVerb(verb)))}${examples}\n`;
}

/** @param name as typed after `ostree`; empty for all verbs */
export function renderOstreeHelp(name: string, group: Group): string {
  const verbs = group.children.filter((child) => isGroup(child) || child.hidden !== true).map((child) => [child.name, child.summary] as const);
  const [usage, summary, of] = name === '' ? ['ostree', '', ''] : [`ostree ${name}`, `${group.summary}\n\n`, `"${name}" `];
  return `Usage:\n  ${usage} [OPTION…] COMMAND\n\n${summary}${renderOptions(verbs, flagRows(COMMON_FLAGS), of)}\n`;
}

function flagRows(flags: Flags): (readonly [string, string])[] {
  return Object.entries(flags)
    .filter(([, flag]) => flag.hidden !== true)
    .map(([name, flag]) => [renderFlag(name, flag), flag.help]);
}

function renderOptions(verbs: readonly (readonly [string, string])[], flags: readonly (readonly [string, string])[], of = ''): string {
  const width = Math.max(...[HELP_ROW, ...verbs, ...flags].map(([name]) => name.length)) + GAP;
  const row = ([name, text]: readonly [string, string]): string => `  ${name.padEnd(width)}${text}\n`;
  const commands = verbs.length === 0 ? '' : `Builtin ${of}Commands:\n${verbs.map(row).join('')}\n`;
  return `${commands}Help Options:\n${row(HELP_ROW)}\nApplication Options:\n${flags.map(row).join('')}`;
}
