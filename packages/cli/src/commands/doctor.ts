import { paint, wantsColour } from '../colour.ts';
import type { Command } from '../command.ts';
import { type CheckStatus, runChecks } from '../doctor/checks.ts';
import { EXIT_CODES } from '../exit-codes.ts';

const COLOURS: Readonly<Record<CheckStatus, 'green' | 'yellow' | 'red'>> = { ok: 'green', warn: 'yellow', missing: 'red' };
const STATUS_WIDTH = 8;

export const command: Command = {
  summary: 'Check what this machine has and lacks',
  description: ['Every line is `ok`, `warn` (something optional is not there) or `missing` (cambium cannot work); the exit status tells of `missing` only.'],
  operands: [],
  flags: {},
  examples: [{ command: 'cambium doctor', explains: 'See what is there and what to install' }],
  json: '{ ok: BOOLEAN, checks: [{ name, status: "ok" | "warn" | "missing", found, advice? }] }',
  async run({ ui, environment, signal }) {
    const checks = await runChecks(environment, signal);
    const missing = checks.some((check) => check.status === 'missing');
    if (ui.json) ui.resultJson({ ok: !missing, checks });
    else {
      const colour = wantsColour({ isTTY: environment.stdoutIsTerminal }, environment);
      const width = Math.max(...checks.map((check) => check.name.length)) + 2;
      for (const { name, status, found, advice } of checks) {
        const shown = status.padEnd(STATUS_WIDTH);
        ui.result(`${colour ? paint(COLOURS[status], shown) : shown}${name.padEnd(width)}${found}`);
        if (advice !== undefined) ui.result(`${' '.repeat(STATUS_WIDTH + width)}${advice}`);
      }
    }
    return missing ? EXIT_CODES.find((row) => row.kind === 'environment')?.status : undefined;
  },
};
