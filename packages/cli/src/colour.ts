/**
 * Where colours appear: on a terminal, unless `NO_COLOR` is set to anything or the terminal is a dumb one.
 * Source: no-color.org.
 */
import { styleText } from 'node:util';
import { type Environment, lookUp } from './environment.ts';
import type { Output } from './ui.ts';

export function wantsColour(output: Pick<Output, 'isTTY'>, environment: Environment): boolean {
  return output.isTTY === true && lookUp(environment, ['NO_COLOR']) === undefined && environment.variables.TERM !== 'dumb';
}

/** Returns the text in a style, whatever stream it is for: Node would ask standard output, also for what goes to standard error. */
export function paint(format: Parameters<typeof styleText>[0], text: string): string {
  return styleText(format, text, { validateStream: false });
}
