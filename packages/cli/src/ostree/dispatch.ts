/**
 * `cambium ostree …`: libostree's command line. Every failure is `error: MESSAGE` and exit status 1, a wrong call
 * shows the help first, an unknown verb X runs the program `ostree-X` when there is one.
 */
import { isKnownError } from '@cambium/base';
import { paint, wantsColour } from '../colour.ts';
import { type Group, isGroup, type Leaf } from '../command.ts';
import { EXIT_FAILURE } from '../exit-codes.ts';
import type { Invocation } from '../main.ts';
import { parseOptions } from '../options.ts';
import { findProgram } from '../programs.ts';
import { COMMAND_TREE } from '../tree.ts';
import { createUi } from '../ui.ts';
import { ostreeVersionText } from '../version.ts';
import { flagsOfVerb, renderOstreeHelp, renderVerbHelp } from './help.ts';
import { ostreeMessage } from './messages.ts';
import { createVerbContext } from './repo.ts';
import { COMMON_FLAGS, UsageError, type Verb } from './verb.ts';

/** @param args what follows `ostree` on the command line */
export async function executeOstree(args: readonly string[], invocation: Invocation): Promise<number> {
  const group = COMMAND_TREE.children.find((child): child is Group => isGroup(child) && child.dialect === 'ostree') as Group;
  const { node, name, unknown, rest } = findVerb(group, args);
  const verbose = rest.some((arg) => arg === '-v' || arg === '--verbose');
  const settings = { ...invocation, quiet: false, verbose, json: false, progress: 'auto' } as const;
  let ui = createUi(settings);
  let usage = '';
  try {
    if (isGroup(node)) {
      usage = renderOstreeHelp(name, node);
      const extension = node === group && unknown !== undefined ? findProgram(`ostree-${unknown}`, invocation.environment) : undefined;
      if (extension !== undefined) return await runExtension(extension, rest, invocation);
      const parsed = parseOptions(COMMON_FLAGS, rest);
      if (parsed.help) ui.write(usage);
      else if (parsed.values.version === true) ui.write(ostreeVersionText());
      else throw new UsageError(unknown === undefined ? `No ${name === '' ? '' : `"${name}" sub`}command specified` : unknownVerb(name, unknown));
      return 0;
    }
    // A verb's `run` takes the wider context that only this dispatcher gives.
    const verb = (await node.load()) as Verb;
    usage = renderVerbHelp(name, verb);
    const parsed = parseOptions(flagsOfVerb(verb), rest);
    if (parsed.help) {
      ui.write(usage);
      return 0;
    }
    if (parsed.values.version === true) {
      ui.write(ostreeVersionText());
      return 0;
    }
    if (parsed.values.json === true) ui = createUi({ ...settings, json: true });
    const context = createVerbContext({ ui, invocation, repoPath: parsed.values.repo as string | undefined });
    return (await verb.run(context, parsed)) ?? 0;
  } catch (error) {
    if (error instanceof UsageError) ui.complain(`${usage}\n`);
    const prefix = wantsColour(invocation.stderr, invocation.environment) ? paint(['red', 'bold'], 'error:') : 'error:';
    ui.complain(`${prefix} ${ostreeMessage(error)}\n`);
    // Scripts read libostree's messages from the last line: what it never says is for people.
    if (verbose || invocation.stderr.isTTY === true) ui.complain(hintText(error, invocation));
    if (verbose && error instanceof Error && error.stack !== undefined) ui.complain(`${error.stack}\n`);
    return (invocation.signal.aborted ? invocation.interruptedStatus?.() : undefined) ?? EXIT_FAILURE;
  } finally {
    await ui.flush();
  }
}

/** Returns what the user can do, as Cambium's own commands say it; a message in libostree's words may stand before the failure that knows. */
function hintText(error: unknown, { stderr, environment }: Invocation): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (!isKnownError(at) || at.hint === undefined) continue;
    return `${wantsColour(stderr, environment) ? paint('cyan', 'hint:') : 'hint:'} ${at.hint}\n`;
  }
  return '';
}

interface FoundVerb {
  node: Leaf | Group;
  /** The words that led there: `remote add`. */
  name: string;
  /** The word that leads nowhere from a group. */
  unknown: string | undefined;
  rest: string[];
}

/** At each group the verb is the first argument without a dash, wherever it stands; the rest keeps its order. */
function findVerb(group: Group, args: readonly string[]): FoundVerb {
  const words: string[] = [];
  let node: Leaf | Group = group;
  let rest = [...args];
  while (isGroup(node)) {
    const end = rest.indexOf('--');
    const at = rest.findIndex((arg, index) => !arg.startsWith('-') && (end === -1 || index < end));
    const word = rest[at];
    const child: Leaf | Group | undefined = node.children.find((candidate) => candidate.name === word);
    if (word !== undefined) rest = rest.toSpliced(at, 1);
    if (child === undefined) return { node, name: words.join(' '), unknown: word, rest };
    words.push(child.name);
    node = child;
  }
  return { node, name: words.join(' '), unknown: undefined, rest };
}

function unknownVerb(name: string, word: string): string {
  return name === '' ? `Unknown command '${word}'` : `Unknown "${name}" subcommand '${word}'`;
}

async function runExtension(path: string, args: readonly string[], invocation: Invocation): Promise<number> {
  const { spawn } = await import('node:child_process');
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { stdio: 'inherit', env: invocation.environment.variables });
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? EXIT_FAILURE));
  });
}
