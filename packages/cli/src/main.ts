/** From the command line to a command, and from what it returns or throws to an exit status. */
import { basename } from 'node:path';
import { wantsColour } from './colour.ts';
import { type Context, type Group, isGroup, type Leaf } from './command.ts';
import { type Environment, lookUp, readEnvironment } from './environment.ts';
import { cliError } from './errors.ts';
import { exitStatusOf } from './exit-codes.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';
import { globalFlagsFor, renderCommandHelp, renderGroupHelp } from './help.ts';
import { parseOptions } from './options.ts';
import { PROGRESS_MODES, type ProgressMode, toJsonLine } from './progress.ts';
import { listenForSignals } from './signals.ts';
import { suggest } from './suggest.ts';
import { COMMAND_TREE } from './tree.ts';
import { createUi, type Output, renderError, type Ui } from './ui.ts';
import { versionText } from './version.ts';

export interface Invocation {
  stdout: Output;
  stderr: Output;
  environment: Environment;
  signal: AbortSignal;
  /** The status to end with after an interruption. */
  interruptedStatus?: () => number | undefined;
}

/** Runs the process's command line and ends the process. @param argv as `process.argv` */
export async function main(argv: readonly string[]): Promise<void> {
  const interruption = listenForSignals();
  for (const output of [process.stdout, process.stderr]) {
    // The reader has gone (`cambium … | head`): end as a process that SIGPIPE kills would.
    output.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1));
  }
  const invocation = {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: environmentOrEnd(),
    signal: interruption.signal,
    interruptedStatus: interruption.status,
  };
  // A link named `ostree` makes the drop-in.
  const rest = basename(argv[1] ?? '') === 'ostree' ? ['ostree', ...argv.slice(2)] : argv.slice(2);
  const status = await execute(rest, invocation);
  process.exit(status);
}

function environmentOrEnd(): Environment {
  try {
    return readEnvironment();
  } catch (error) {
    process.stderr.write(renderError(error, { verbose: false, colour: false }));
    process.exit(exitStatusOf(error));
  }
}

/** Runs one command line and returns its exit status; all output has left when it returns. */
export async function execute(args: readonly string[], invocation: Invocation): Promise<number> {
  const { leading, rest } = splitAtCommand(args);
  const globals = globalSettings(leading);
  if (rest[0] === 'ostree') {
    const { executeOstree } = await import('./ostree/dispatch.ts');
    return executeOstree([...leading, ...rest.slice(1)], invocation);
  }
  const settings: Settings = 'error' in globals ? { quiet: false, verbose: false, json: false, progress: 'auto' } : globals;
  let ui = createUi({ ...invocation, ...settings });
  try {
    if ('error' in globals) throw globals.error;
    if (leading.includes('--version')) {
      ui.write(versionText());
      return 0;
    }
    const found = findCommand(rest);
    if (isGroup(found.node)) {
      if (found.unknown !== undefined) throw unknownCommand(found.path, found.node, found.unknown);
      const text = renderGroupHelp(found.path, found.node, found.node === COMMAND_TREE ? TOP_EXAMPLES : []);
      const asked = leading.some(isHelp) || found.rest.some(isHelp);
      if (asked) ui.write(text);
      else ui.complain(text);
      return asked ? 0 : 2;
    }
    const command = await found.node.load();
    const flags = { ...command.flags, ...globalFlagsFor(command) };
    const tail = [...leading, ...found.rest];
    const parsed = parseOptions(flags, tail, (names) => lookUp(invocation.environment, names));
    ui = createUi({ ...invocation, ...settingsOf(parsed.values) });
    if (parsed.help) {
      ui.write(renderCommandHelp(found.path, command));
      return 0;
    }
    const least = command.operands.filter((operand) => operand.optional !== true).length;
    const most = command.operands.at(-1)?.many === true ? Number.POSITIVE_INFINITY : command.operands.length;
    if (parsed.operands.length < least || parsed.operands.length > most)
      throw wrongOperands(
        found.path,
        command.operands.map((operand) => operand.name),
        parsed.operands,
      );
    const context: Context = { ui, environment: invocation.environment, signal: invocation.signal };
    return (await command.run(context, parsed)) ?? 0;
  } catch (error) {
    return reportFailure(error, ui, invocation);
  } finally {
    await ui.flush();
  }
}

interface Settings {
  quiet: boolean;
  verbose: boolean;
  json: boolean;
  progress: ProgressMode;
}

function settingsOf(values: Readonly<Record<string, unknown>>): Settings {
  const mode = values.progress ?? 'auto';
  if (!PROGRESS_MODES.includes(mode as ProgressMode)) {
    throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot use "${String(mode)}" for --progress`, { hint: `Choose one of: ${PROGRESS_MODES.join(', ')}` });
  }
  return { quiet: values.quiet === true, verbose: values.verbose === true, json: values.json === true, progress: mode as ProgressMode };
}

/** Options before the command are global ones, written in one word each, so that the command can be told from a value. */
function splitAtCommand(args: readonly string[]): { leading: string[]; rest: string[] } {
  const at = args.findIndex((arg) => !arg.startsWith('-'));
  return at === -1 ? { leading: [...args], rest: [] } : { leading: args.slice(0, at), rest: args.slice(at) };
}

function globalSettings(leading: readonly string[]): Settings | { error: unknown } {
  try {
    const own = leading.filter((arg) => arg !== '--version' && !isHelp(arg));
    return settingsOf(parseOptions(GLOBAL_FLAGS, own).values);
  } catch (error) {
    return { error };
  }
}

interface Found {
  /** The command, or the group at which the way ended. */
  node: Leaf | Group;
  path: string;
  rest: string[];
  unknown?: string;
}

export function findCommand(words: readonly string[]): Found {
  let node: Leaf | Group = COMMAND_TREE;
  let path = COMMAND_TREE.name;
  let at = 0;
  while (isGroup(node)) {
    const word = words[at];
    if (word === undefined || word.startsWith('-')) return { node, path, rest: words.slice(at) };
    const child: Leaf | Group | undefined = node.children.find((candidate) => candidate.name === word);
    if (child === undefined) return { node, path, rest: words.slice(at), unknown: word };
    node = child;
    path += ` ${word}`;
    at++;
  }
  return { node, path, rest: words.slice(at) };
}

function isHelp(arg: string): boolean {
  return arg === '-h' || arg === '--help' || arg === '-?';
}

export function unknownCommand(path: string, group: Group, word: string): Error {
  const near = suggest(
    word,
    group.children.map((child) => child.name),
  );
  return cliError('CLI_COMMAND_UNKNOWN', `Unknown command "${word}"`, {
    hint: near === undefined ? `${path} --help lists the commands` : `Did you mean: ${path} ${near}?`,
  });
}

function wrongOperands(path: string, names: readonly string[], got: readonly string[]): Error {
  const missing = names[got.length];
  const message = missing !== undefined ? `Missing argument ${missing}` : `Unexpected argument "${got[names.length]}"`;
  return cliError('CLI_OPERANDS_WRONG', message, { hint: `${path} --help shows how it is called` });
}

/** Tells of a failure on stderr and returns the exit status. */
export function reportFailure(error: unknown, ui: Ui, invocation: Invocation): number {
  const interrupted = invocation.signal.aborted ? invocation.interruptedStatus?.() : undefined;
  const text = renderError(error, { verbose: ui.verbose, colour: wantsColour(invocation.stderr, invocation.environment) });
  ui.complain(ui.jsonLines ? toJsonLine({ type: 'error', error }) : text);
  return interrupted ?? exitStatusOf(error);
}

const TOP_EXAMPLES = ['cambium pack --repo ./repo apps/shop ./shop/docker-compose.yml', 'cambium ostree --repo=./repo ls apps/shop', 'cambium doctor'];
