/**
 * `cambium ostree …`: libostree's command line. Every failure is `error: MESSAGE` and exit status 1, a wrong call
 * shows the help first, an unknown verb X runs the program `ostree-X` when there is one.
 */
import { spawn } from 'node:child_process';
import { paint, wantsColour } from '../colour.ts';
import { type Group, isGroup } from '../command.ts';
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
  const { verbName, rest } = takeVerb(args);
  const verbose = rest.some((arg) => arg === '-v' || arg === '--verbose');
  const ui = createUi({ ...invocation, quiet: false, verbose, json: false, progress: 'auto' });
  let usage = renderOstreeHelp(group);
  try {
    if (verbName === undefined) {
      const parsed = parseOptions(COMMON_FLAGS, rest);
      if (parsed.help) ui.write(usage);
      else if (parsed.values.version === true) ui.write(ostreeVersionText());
      else throw new UsageError('No command specified');
      return 0;
    }
    const leaf = group.children.find((child) => child.name === verbName);
    if (leaf === undefined || isGroup(leaf)) {
      const extension = findProgram(`ostree-${verbName}`, invocation.environment);
      if (extension !== undefined) return await runExtension(extension, rest, invocation);
      const parsed = parseOptions(COMMON_FLAGS, rest);
      if (parsed.help) {
        ui.write(usage);
        return 0;
      }
      throw new UsageError(`Unknown command '${verbName}'`);
    }
    // A verb's `run` takes the wider context that only this dispatcher gives.
    const verb = (await leaf.load()) as Verb;
    usage = renderVerbHelp(verbName, verb);
    const parsed = parseOptions(flagsOfVerb(verb), rest);
    if (parsed.help) {
      ui.write(usage);
      return 0;
    }
    if (parsed.values.version === true) {
      ui.write(ostreeVersionText());
      return 0;
    }
    const context = createVerbContext({ ui, invocation, repoPath: parsed.values.repo as string | undefined });
    return (await verb.run(context, parsed)) ?? 0;
  } catch (error) {
    if (error instanceof UsageError) ui.complain(`${usage}\n`);
    const prefix = wantsColour(invocation.stderr, invocation.environment) ? paint(['red', 'bold'], 'error:') : 'error:';
    ui.complain(`${prefix} ${ostreeMessage(error)}\n`);
    if (verbose && error instanceof Error && error.stack !== undefined) ui.complain(`${error.stack}\n`);
    return (invocation.signal.aborted ? invocation.interruptedStatus?.() : undefined) ?? EXIT_FAILURE;
  } finally {
    await ui.flush();
  }
}

/** The verb is the first argument without a dash, wherever it stands; the rest keeps its order. */
function takeVerb(args: readonly string[]): { verbName: string | undefined; rest: string[] } {
  const end = args.indexOf('--');
  const at = args.findIndex((arg, index) => !arg.startsWith('-') && (end === -1 || index < end));
  return at === -1 ? { verbName: undefined, rest: [...args] } : { verbName: args[at], rest: args.toSpliced(at, 1) };
}

function runExtension(path: string, args: readonly string[], invocation: Invocation): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { stdio: 'inherit', env: invocation.environment.variables });
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? EXIT_FAILURE));
  });
}
