/**
 * Commands as data: parsing, help, completion, manual pages and docs/commands.md are all made from these values.
 */
import type { Environment } from './environment.ts';
import type { Ui } from './ui.ts';

/**
 * - `flag`: present or not
 * - `text`: one value, the last given wins
 * - `texts`: every value given, in order
 * - `bool`: yes/no/true/false/1/0
 * - `int`: a 32-bit integer; decimal, 0x or 0 (octal)
 */
export type FlagKind = 'flag' | 'text' | 'texts' | 'bool' | 'int';

export interface Flag {
  readonly kind: FlagKind;
  /** One letter. */
  readonly short?: string;
  /** What the value is called in help. */
  readonly value?: string;
  readonly help: string;
  /** Environment variables that stand in for an absent flag: the first that is set and not empty. */
  readonly env?: readonly string[];
  readonly choices?: readonly string[];
  /** What the value names, for completion. */
  readonly completes?: 'file' | 'directory';
  readonly hidden?: boolean;
}

/** By long name, without the dashes. */
export type Flags = Readonly<Record<string, Flag>>;

interface ValueOfKind {
  flag: boolean;
  text: string | undefined;
  texts: readonly string[];
  bool: boolean | undefined;
  int: number | undefined;
}

export type Values<F extends Flags> = { readonly [Name in keyof F]: ValueOfKind[F[Name]['kind']] };

export interface Operand {
  readonly name: string;
  readonly help: string;
  readonly optional?: boolean;
  /** The last operand may take any number. */
  readonly many?: boolean;
  readonly completes?: 'file' | 'directory';
}

export interface Arguments<F extends Flags> {
  readonly values: Values<F>;
  readonly operands: readonly string[];
}

export interface Context {
  readonly ui: Ui;
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

export interface Example {
  readonly command: string;
  readonly explains: string;
}

/** A verb. `run` returns an exit status when it is not 0. */
export interface Command<F extends Flags = Flags> {
  readonly summary: string;
  /** Paragraphs after the summary. */
  readonly description?: readonly string[];
  readonly operands: readonly Operand[];
  /** Replaces what help says of the operands, when they are not a plain list. */
  readonly usage?: string;
  readonly flags: F;
  readonly examples: readonly Example[];
  /** The shape of what `--json` prints; commands without it do not take the flag. */
  readonly json?: string;
  // Method syntax: a table of commands holds commands of different flags.
  run(context: Context, args: Arguments<F>): Promise<number | undefined>;
}

/** A place in the tree: enough to list it, and a way to the rest that costs nothing until it is used. */
export interface Leaf {
  readonly name: string;
  readonly summary: string;
  readonly hidden?: boolean;
  load(): Promise<Command>;
}

export interface Group {
  readonly name: string;
  readonly summary: string;
  /** Verbs of `ostree`, at any depth, answer as libostree's command does: its help, its messages, its exit status. */
  readonly dialect?: 'ostree';
  readonly children: readonly (Leaf | Group)[];
}

export function isGroup(node: Leaf | Group): node is Group {
  return 'children' in node;
}
