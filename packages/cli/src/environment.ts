/** The only place that reads the process's environment; commands get it as a value. */
import { homedir, userInfo } from 'node:os';
import { cliError } from './errors.ts';

export interface Environment {
  /** All variables, for Compose interpolation and child processes. */
  readonly variables: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly home: string;
  readonly uid: number;
  readonly stdoutIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
}

/** @throws CLI_WORKING_DIRECTORY_GONE */
export function readEnvironment(): Environment {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) variables[name] = value;
  return {
    variables,
    workingDirectory: workingDirectory(),
    home: homeOf(variables),
    uid: process.getuid?.() ?? 0,
    stdoutIsTerminal: process.stdout.isTTY === true,
    stderrIsTerminal: process.stderr.isTTY === true,
  };
}

/** Returns the first of `names` that is set and not empty. */
export function lookUp(environment: Environment, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = environment.variables[name];
    if (value !== undefined && value !== '') return value;
  }
  return undefined;
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (cause) {
    throw cliError('CLI_WORKING_DIRECTORY_GONE', 'Cannot work here: the current directory does not exist any more', { hint: 'Change to another one', cause });
  }
}

function homeOf(variables: Readonly<Record<string, string>>): string {
  if (variables.HOME !== undefined && variables.HOME !== '') return variables.HOME;
  try {
    return homedir();
  } catch {
    // A uid without a passwd entry and without HOME, as in minimal containers.
    return userInfoHome();
  }
}

function userInfoHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    return '/';
  }
}
