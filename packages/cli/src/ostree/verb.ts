/** What a verb of `cambium ostree` is: a command that gets at the repository the way libostree's do. */
import type { Repo } from '@cambium/ostree';
import type { Arguments, Command, Context, Flag, Flags } from '../command.ts';
import { cliError } from '../errors.ts';

export interface VerbContext extends Context {
  /** `--repo`, when given. */
  readonly repoPath: string | undefined;
  /** Opens the repository of `--repo`, the current directory, `OSTREE_REPO` or the system, in libostree's order. */
  openRepo(): Promise<Repo>;
  /** The directory that {@link openRepo} would open. */
  locateRepo(): string;
}

export interface Verb<F extends Flags = Flags> extends Command<F> {
  /** The verb works without a repository and has no `--repo`. */
  readonly withoutRepo?: boolean;
  /** libostree has no such verb: its help need not be libostree's, and shows the examples. */
  readonly beyond?: true;
  run(context: VerbContext, args: Arguments<F>): Promise<number | undefined>;
}

/** A wrong call: the verb's help goes to stderr before the message. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A failure that libostree words in its own way. */
export class OstreeFailure extends Error {
  override readonly name = 'OstreeFailure';
}

export const REPO_FLAG: Flag = {
  kind: 'text',
  value: 'PATH',
  completes: 'directory',
  help: 'Path to OSTree repository (defaults to current directory or /sysroot/ostree/repo)',
};

/** Of the verbs that say what they print with it: {@link Command.json}. */
export const JSON_FLAG: Flag = { kind: 'flag', help: 'Print the result as JSON' };

export const COMMON_FLAGS: Flags = {
  verbose: { kind: 'flag', short: 'v', help: 'Print debug information during command processing' },
  version: { kind: 'flag', help: 'Print version information and exit' },
};

/** Returns the failure for an option of libostree's that this version does not serve. */
export function featureMissing(option: string): Error {
  return cliError('CLI_FEATURE_MISSING', `Option ${option} is not available in this version`);
}
